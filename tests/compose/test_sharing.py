"""Whose network namespace a container lives in, and namespaces that are kept for guests."""

from __future__ import annotations

import os
from pathlib import Path

from compose.engine.sharing import Held, find_owner, owner_id
from compose.model.places import Places
from compose.model.service import Service
from compose.plan.launch import Launch
from runtime.spec import ContainerSpec, Namespaces

OWN = Path("/proc/self/ns/net")


def launch(id: str, name: str, network: str = "private") -> Launch:
    spec = ContainerSpec(
        id=id * 64,
        name=name,
        argv=("true",),
        layers=(),
        hostname=f"{name}-host",
        etc=f"/etc-of-{name}",
        namespaces=Namespaces(network=network),
    )
    return Launch(spec=spec, service=name)


def places(tmp_path: Path) -> Places:
    directories = {"PYCOMPOSE_RUN": str(tmp_path / "run"), "PYCOMPOSE_DATA": str(tmp_path / "data")}
    return Places.from_environment(directories)


def test_a_guest_names_its_owner_and_others_have_none() -> None:
    assert owner_id(launch("b", "app", f"container:{'a' * 64}")) == "a" * 64
    assert [owner_id(launch("b", "app", mode)) for mode in ("private", "host", "none")] == ["", "", ""]


def test_a_kept_namespace_is_where_owner_and_guests_start() -> None:
    held, owner, guest = Held(), launch("a", "vpn"), launch("b", "app", f"container:{'a' * 64}")
    assert held.into(owner.spec) is owner.spec
    held.hold(owner.spec.id, OWN)
    held.hold(owner.spec.id, Path("/nowhere"))  # kept already
    for spec in (owner.spec, guest.spec):
        path = held.into(spec).namespaces.network.removeprefix("path:")
        assert Path(path).stat().st_ino == OWN.stat().st_ino
    handle = int(held.path(owner.spec.id).rpartition("/")[2])
    held.drop(owner.spec.id)
    held.drop(owner.spec.id)
    assert held.path(owner.spec.id) == ""
    assert not Path(f"/proc/{os.getpid()}/fd/{handle}").exists()
    assert held.into(guest.spec) is guest.spec


def test_a_namespace_that_is_gone_is_not_kept() -> None:
    held = Held()
    held.hold("a" * 64, Path("/proc/nobody/ns/net"))
    assert held.path("a" * 64) == ""


def test_a_guest_takes_over_the_files_and_names_of_its_owner(tmp_path: Path) -> None:
    vpn = launch("a", "vpn")
    service = Service(name="app", network_mode="service:vpn")
    found = find_owner(places(tmp_path), service, [vpn], {"vpn": vpn.spec.id})
    assert (found.id, found.etc, found.hostname) == ("a" * 64, "/etc-of-vpn", "vpn-host")
    assert find_owner(places(tmp_path), Service(name="app"), [vpn], {"vpn": vpn.spec.id}).id == ""
    elsewhere = Service(name="app", network_mode="container:nobody")
    assert find_owner(places(tmp_path), elsewhere, [vpn], {}).id == ""
