"""From a service and its image to one container."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from compose.errors import ComposeError
from compose.model.project import FileObject, Network, Project, Volume
from compose.model.service import (
    Deploy,
    FileMount,
    Healthcheck,
    Logging,
    NetworkAttachment,
    Port,
    RestartPolicy,
    Service,
    Ulimit,
    VolumeMount,
)
from compose.plan.launch import ImageFacts, Launch
from compose.plan.mounts import Ground
from compose.plan.translate import BINDING, Site, _ports, translate
from compose.plan.values import signal_number
from runtime.spec import from_json, to_json

IMAGE = ImageFacts(
    id="sha256:1",
    name="web:1",
    layers=("/l/1",),
    env=("PATH=/bin", "A=image"),
    entrypoint=("/entry",),
    cmd=("serve",),
    user="app",
    working_dir="/srv",
    stop_signal="SIGINT",
)


def launch(image: ImageFacts = IMAGE, site: dict[str, Any] | None = None, **attributes: Any) -> Launch:
    attributes.setdefault("networks", {"default": NetworkAttachment()})
    service = Service(name="web", image="web:1", **attributes)
    project = Project(
        name="shop",
        working_dir="/w",
        services={"web": service},
        networks={"default": Network(key="default", name="shop_default")},
        volumes={"data": Volume(key="data", name="shop_data")},
        secrets={
            "password": FileObject(key="password", name="shop_password", content="hush"),
            "key": FileObject(key="key", name="shop_key", file="/w/key"),
        },
    )
    ground = Ground(volumes="/v", files="/f", name=iter(["anon1", "anon2"]).__next__)
    where = Site(id="ab" * 32, record="/r", logs="/logs", ground=ground, **(site or {}))
    return translate(project, service, 2, image, where)


def test_the_image_decides_where_the_file_is_silent() -> None:
    spec = launch().spec
    assert spec.argv == ("/entry", "serve")
    assert (spec.user, spec.working_dir, spec.stop_signal) == ("app", "/srv", 2)
    assert spec.name == "shop-web-2" and spec.hostname == "ab" * 6


def test_an_entrypoint_of_the_file_drops_the_image_command() -> None:
    assert launch(entrypoint=("sh",)).spec.argv == ("sh",)
    assert launch(entrypoint=("sh",), command=("-c", "x")).spec.argv == ("sh", "-c", "x")
    assert launch(command=("other",)).spec.argv == ("/entry", "other")


def test_nothing_to_run_is_an_error() -> None:
    with pytest.raises(ComposeError, match="no command specified"):
        launch(ImageFacts(id="sha256:2"))


def test_environment_goes_over_the_image_and_none_removes() -> None:
    assert launch(environment={"A": "file", "PATH": None, "B": ""}).spec.env == ("A=file", "B=")


def test_docker_defaults_confine_it() -> None:
    spec = launch().spec
    assert len(spec.capabilities) == 14 and "NET_RAW" in spec.capabilities
    assert spec.seccomp == "default" and "/proc/kcore" in spec.masked and "/proc/sys" in spec.readonly_paths


def test_privileged_opens_it() -> None:
    spec = launch(privileged=True).spec
    assert spec.masked == () and spec.seccomp == "unconfined" and "SYS_ADMIN" in spec.capabilities


def test_a_seccomp_file_is_found_from_the_project_directory() -> None:
    assert launch(security_opt=("seccomp=profile.json",)).seccomp_file == "/w/profile.json"
    assert launch(security_opt=("seccomp:unconfined",)).spec.seccomp == "unconfined"
    with pytest.raises(ComposeError, match="security_opt 'nonsense=1', which is not known"):
        launch(security_opt=("nonsense=1",))


def test_an_unknown_capability_is_an_error_with_its_path() -> None:
    with pytest.raises(ComposeError, match="no capability") as caught:
        launch(cap_add=("NET_ADMINS",))
    assert caught.value.path == "services.web.cap_add"


def test_named_volumes_are_seeded_and_binds_must_exist() -> None:
    made = launch(
        volumes=(
            VolumeMount(type="volume", source="data", target="/data/"),
            VolumeMount(type="bind", source="/w/src", target="/src", read_only=True),
            VolumeMount(type="tmpfs", target="/t", size=1024, mode=0o700),
        )
    )
    assert [(m.target, m.source, m.read_only, m.seed, m.options) for m in made.spec.mounts] == [
        ("/data", "/v/shop_data/_data", False, True, ""),
        ("/src", "/w/src", True, False, ""),
        ("/t", "", False, False, "size=1024,mode=700"),
    ]
    assert made.binds == {"/w/src": False}


def test_volumes_of_the_image_become_anonymous_ones_that_are_carried_over() -> None:
    image = ImageFacts(id="i", cmd=("x",), volumes=("/data",))
    assert [v.name for v in launch(image).volumes] == ["anon1"]
    assert [v.name for v in launch(image, {"carry": {"/data": "old"}}).volumes] == ["old"]


def test_secrets_are_files_below_run_secrets() -> None:
    made = launch(
        secrets=(FileMount(source="password", uid="5", mode=0o400), FileMount(source="key", mode=0o400))
    )
    assert [(m.target, m.source) for m in made.spec.mounts] == [
        ("/run/secrets/key", "/w/key"),
        ("/run/secrets/password", "/f/secrets-0"),
    ]
    assert (made.files[0].uid, made.files[0].mode) == (5, 0o400)


def test_names_on_the_network_are_service_container_and_short_id() -> None:
    made = launch(networks={"default": NetworkAttachment(aliases=("api",), ipv4_address="10.0.0.9")})
    (endpoint,) = made.endpoints
    assert endpoint.names == ("web", "shop-web-2", "ab" * 6, "api") and endpoint.ipv4 == "10.0.0.9"


def test_ports_come_with_ranges_and_addresses() -> None:
    made = launch(
        ports=(Port(target=80, published="8080-8090", host_ip="127.0.0.1"), Port(target=53, protocol="udp"))
    )
    assert (made.ports[0].published, made.ports[0].last_published) == (8080, 8090)
    assert (made.ports[1].published, made.ports[1].protocol) == (0, "udp")


def test_the_network_of_another_service_takes_neither_ports_nor_names() -> None:
    made = launch(
        site={"containers": {"db": "cd" * 32}},
        network_mode="service:db",
        networks={},
    )
    assert made.spec.namespaces.network == "container:" + "cd" * 32
    assert made.endpoints == () and made.ports == ()
    with pytest.raises(ComposeError, match="gives 'ports' and has the network of another"):
        launch(network_mode="service:db", networks={}, ports=(Port(target=80, published="80"),))


def test_health_merges_file_and_image() -> None:
    image = ImageFacts(id="i", cmd=("x",), health_test=("CMD-SHELL", "true"), health={"interval": 7.0})
    found = launch(image, healthcheck=Healthcheck(timeout=timedelta(seconds=2))).health
    assert found is not None
    assert (found.test, found.interval, found.timeout, found.retries) == (
        ("/bin/sh", "-c", "true"),
        7.0,
        2.0,
        3,
    )
    assert launch(image, healthcheck=Healthcheck(disable=True)).health is None
    assert launch(image, healthcheck=Healthcheck(test=("NONE",))).health is None


def test_deploy_speaks_where_short_attributes_are_silent() -> None:
    made = launch(
        deploy=Deploy(
            limit_memory=64 << 20,
            limit_pids=9,
            restart_policy=RestartPolicy(condition="on-failure", max_attempts=3),
        ),
        ulimits={"nofile": Ulimit(soft=1, hard=2)},
    )
    assert made.spec.limits.memory == 64 << 20 and made.spec.limits.pids == 9
    assert made.restart == "on-failure:3" and made.spec.ulimits[0].name == "nofile"


def test_an_owner_is_a_number() -> None:
    with pytest.raises(ComposeError, match="uid 'joe' of 'password' is not a number"):
        launch(secrets=(FileMount(source="password", uid="joe"),))


def test_logs_rotate() -> None:
    made = launch(logging=Logging(driver="json-file", options={"max-size": "10m", "max-file": "3"}))
    assert (made.spec.log, made.spec.log_size, made.spec.log_files) == ("/logs/shop-web-2.log", 10485760, 3)
    assert launch(logging=Logging(driver="none")).spec.log == ""


def test_what_cannot_be_done_is_refused_by_name() -> None:
    with pytest.raises(ComposeError, match="'use_api_socket', which is not supported"):
        launch(use_api_socket=True)


@pytest.mark.parametrize(("text", "number"), [("SIGTERM", 15), ("quit", 3), ("9", 9), ("SIGRTMIN+1", 35)])
def test_signals_are_read_in_every_form(text: str, number: int) -> None:
    assert signal_number(text) == number


def test_a_bad_signal_is_an_error() -> None:
    with pytest.raises(ComposeError, match="invalid signal 'SIGNOPE'"):
        signal_number("SIGNOPE")


def test_a_launch_survives_json() -> None:
    made = launch(volumes=(VolumeMount(type="volume", source="data", target="/d"),), ports=(Port(target=1),))
    assert from_json(Launch, to_json(made)) == made


def test_options_of_an_attachment_name_its_link_and_set_its_parameters() -> None:
    sysctls = ("net.ipv4.conf.IFNAME.log_martians=1", "net.ipv6.conf.IFNAME.accept_ra=0")
    options = {
        "com.docker.network.endpoint.ifname": "lan",
        "com.docker.network.endpoint.sysctls": ", ".join(sysctls),
    }
    (end,) = launch(networks={"default": NetworkAttachment(driver_opts=options)}).endpoints
    assert (end.interface, end.sysctls) == ("lan", sysctls)


def test_a_network_binds_ports_that_give_no_address() -> None:
    back = Network(key="back", name="shop_back", driver_opts={BINDING: "127.0.0.1"})
    ports = (Port(target=80, published="80"), Port(target=81, published="81", host_ip="192.0.2.1"))
    service = Service(name="web", image="x", ports=ports, networks={"back": NetworkAttachment()})
    shop = Project(name="shop", working_dir="/w", services={"web": service}, networks={"back": back})
    assert [port.host_ip for port in _ports(shop, service)] == ["127.0.0.1", "192.0.2.1"]
