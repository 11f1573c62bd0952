"""Plans asserted as the text a person would read."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from compose.errors import ComposeError
from compose.model.project import Network, Project, Volume
from compose.model.service import Condition, Dependency, NetworkAttachment, Service, VolumeMount
from compose.plan.fingerprint import network_hash, service_hash
from compose.plan.observed import CONFIG_HASH, DEPENDS_ON, NETWORK, PROJECT, VOLUME, Container, Observed
from compose.plan.reconcile import UpOptions, changed_volumes, reconcile
from compose.plan.teardown import DownOptions, down, remove, restart, start, stop

NETWORKS = {"default": Network(key="default", name="shop_default")}


def service(name: str, **more: Any) -> Service:
    return Service(name=name, image="busybox", networks={"default": NetworkAttachment()}, **more)


def project(*services: Service, **more: Any) -> Project:
    table = {s.name: s for s in services}
    return Project(name="shop", working_dir="/w", services=table, networks=NETWORKS, **more)


def seen(p: Project, *containers: Container, **more: Any) -> Observed:
    label = {PROJECT: "shop", NETWORK: "default", CONFIG_HASH: network_hash(NETWORKS["default"])}
    return Observed(containers=containers, networks={"shop_default": label}, **more)


def running(p: Project, name: str, number: int = 1, **more: Any) -> Container:
    values: dict[str, Any] = {
        "id": f"{name}{number}",
        "name": f"shop-{name}-{number}",
        "service": name,
        "number": number,
        "status": "running",
        "networks": ("shop_default",),
        "config_hash": service_hash(p.services[name], p) if name in p.services else "",
        "depends_on": tuple(p.services[name].depends_on) if name in p.services else (),
    }
    return Container(**{**values, **more})


def lines(plan: Any) -> list[str]:
    return [" ".join(line.split()) for line in plan.render().splitlines()]


def test_an_empty_machine_gets_network_volume_and_containers() -> None:
    web = service("web", depends_on={"db": Dependency(condition=Condition.HEALTHY)})
    db = service("db", volumes=(VolumeMount(type="volume", source="data", target="/d"),))
    p = project(web, db, volumes={"data": Volume(key="data", name="shop_data")})
    assert lines(reconcile(p, ["db", "web"], Observed())) == [
        "1. network shop_default missing",
        "2. volume shop_data missing",
        "3. create shop-db-1 missing (after 1, 2)",
        "4. start shop-db-1 missing (after 3)",
        "5. create shop-web-1 missing (after 1, 2)",
        "6. start shop-web-1 missing (when db service_healthy) (after 5)",
    ]


def test_nothing_changed_means_no_step() -> None:
    p = project(service("web"))
    plan = reconcile(p, ["web"], seen(p, running(p, "web")))
    assert plan.steps == () and plan.kept == ("shop-web-1",)


def test_a_changed_service_is_replaced_and_keeps_its_number() -> None:
    p = project(service("web", hostname="new"))
    assert lines(reconcile(p, ["web"], seen(p, running(p, "web", 2, config_hash="old")))) == [
        "1. stop shop-web-2 configuration changed",
        "2. remove shop-web-2 configuration changed (after 1)",
        "3. create shop-web-2 configuration changed (after 2)",
        "4. start shop-web-2 configuration changed (after 3)",
    ]


def test_a_new_image_replaces_the_container() -> None:
    p = project(service("web"))
    there = seen(p, running(p, "web", image="sha256:old"))
    plan = reconcile(p, ["web"], there, UpOptions(images={"web": "sha256:new"}))
    assert lines(plan)[0] == "1. stop shop-web-1 image busybox changed"


def test_scaling_down_removes_the_highest_numbers() -> None:
    p = project(service("web"))
    there = seen(p, *(running(p, "web", n) for n in (1, 2, 3)))
    assert lines(reconcile(p, ["web"], there, UpOptions(scale={"web": 1}))) == [
        "1. stop shop-web-2 scaled to 1",
        "2. remove shop-web-2 scaled to 1 (after 1)",
        "3. stop shop-web-3 scaled to 1",
        "4. remove shop-web-3 scaled to 1 (after 3)",
    ]


def test_scaling_up_fills_free_numbers() -> None:
    p = project(service("web", scale=3))
    plan = reconcile(p, ["web"], seen(p, running(p, "web", 2)))
    assert [s.name for s in plan.steps if s.kind == "create"] == ["shop-web-1", "shop-web-3"]


def test_a_dependent_with_restart_follows_the_replacement() -> None:
    p = project(service("db", hostname="new"), service("web", depends_on={"db": Dependency(restart=True)}))
    there = seen(p, running(p, "db", config_hash="old"), running(p, "web"))
    assert [f"{s.kind} {s.name}" for s in reconcile(p, ["db", "web"], there).steps] == [
        "stop shop-db-1",
        "remove shop-db-1",
        "create shop-db-1",
        "start shop-db-1",
        "stop shop-web-1",
        "start shop-web-1",
    ]


def test_who_shares_a_namespace_is_replaced_too() -> None:
    p = project(
        service("db", hostname="new"),
        Service(name="side", image="b", network_mode="service:db", depends_on={"db": Dependency()}),
    )
    there = seen(p, running(p, "db", config_hash="old"), running(p, "side", networks=()))
    plan = reconcile(p, ["db", "side"], there)
    assert [s.name for s in plan.steps if s.kind == "remove"] == ["shop-side-1", "shop-db-1"]


def test_orphans_are_named_or_removed() -> None:
    p = project(service("web"))
    there = seen(p, running(p, "web"), running(p, "old"))
    assert reconcile(p, ["web"], there).orphans == ("shop-old-1",)
    plan = reconcile(p, ["web"], there, UpOptions(remove_orphans=True))
    assert [s.kind for s in plan.steps] == ["stop", "remove"]


def test_a_changed_network_is_made_anew_with_all_its_containers() -> None:
    p = project(service("web"))
    there = Observed(
        containers=(running(p, "web"),),
        networks={"shop_default": {PROJECT: "shop", NETWORK: "default", CONFIG_HASH: "old"}},
    )
    assert [f"{s.kind} {s.name}" for s in reconcile(p, ["web"], there).steps] == [
        "stop shop-web-1",
        "remove shop-web-1",
        "drop-network shop_default",
        "network shop_default",
        "create shop-web-1",
        "start shop-web-1",
    ]


def test_a_missing_external_network_is_an_error() -> None:
    p = Project(
        name="shop",
        working_dir="/w",
        services={"web": service("web")},
        networks={"default": Network(key="default", name="front", external=True)},
    )
    with pytest.raises(ComposeError, match="network 'front' is declared as external"):
        reconcile(p, ["web"], Observed())


def test_an_exited_container_is_started_again() -> None:
    p = project(service("web"))
    plan = reconcile(p, ["web"], seen(p, running(p, "web", status="exited")))
    assert lines(plan) == ["1. start shop-web-1 is exited"]


def test_anonymous_volumes_are_carried_over_unless_renewed() -> None:
    p = project(service("web", hostname="new"))
    there = seen(p, running(p, "web", config_hash="old", anonymous={"/d": "v1"}))
    create = next(s for s in reconcile(p, ["web"], there).steps if s.kind == "create")
    assert create.carry == {"/d": "v1"}
    plan = reconcile(p, ["web"], there, UpOptions(renew_anonymous=True))
    assert next(s for s in plan.steps if s.kind == "create").carry == {}


def test_down_stops_dependents_first_and_keeps_volumes() -> None:
    p = project(service("web", depends_on={"db": Dependency()}), service("db"))
    there = seen(
        p, running(p, "db"), running(p, "web"), volumes={"shop_data": {PROJECT: "shop", VOLUME: "data"}}
    )
    assert lines(down(p, there, DownOptions())) == [
        "1. stop shop-web-1 down",
        "2. stop shop-db-1 down (after 1)",
        "3. remove shop-db-1 down (after 2)",
        "4. remove shop-web-1 down (after 1)",
        "5. drop-network shop_default down (after 3, 4)",
    ]
    assert "drop-volume" in down(p, there, DownOptions(volumes=True)).render()


def test_down_leaves_the_network_of_an_orphan() -> None:
    p = project(service("web"))
    there = seen(p, running(p, "web"), running(p, "old"))
    plan = down(p, there, DownOptions())
    assert plan.orphans == ("shop-old-1",) and "drop-network" not in plan.render()


def test_restart_stops_in_reverse_and_starts_in_order() -> None:
    p = project(service("web", depends_on={"db": Dependency()}), service("db"))
    there = seen(p, running(p, "db"), running(p, "web"))
    plan = restart(p, ["db", "web"], there.containers, None)
    assert [f"{s.kind} {s.service}" for s in plan.steps] == ["stop web", "stop db", "start db", "start web"]
    assert len(stop(there.containers, None).steps) == 2


def test_a_container_that_waits_for_its_restart_is_stopped_too() -> None:
    p = project(service("web"))
    waiting = dataclasses.replace(running(p, "web"), status="restarting")
    assert [s.kind for s in stop([waiting], None).steps] == ["stop"]
    assert not remove([waiting], stop_first=False, timeout=None).steps


def test_scale_and_dependencies_do_not_change_the_fingerprint() -> None:
    one = service("web")
    two = service("web", scale=3, depends_on={"db": Dependency()}, profiles=("x",))
    assert service_hash(one) == service_hash(two) != service_hash(service("web", user="1"))
    assert DEPENDS_ON.startswith("com.docker.compose")


def test_a_missing_external_resource_that_no_started_service_uses_is_none_of_its_business() -> None:
    other = Service(name="other", image="x", networks={"front": NetworkAttachment()})
    networks = {**NETWORKS, "front": Network(key="front", name="front", external=True)}
    p = Project(
        name="shop",
        working_dir="/w",
        services={"web": service("web"), "other": other},
        networks=networks,
        volumes={"kept": Volume(key="kept", name="kept", external=True)},
    )
    assert "create shop-web-1" in lines(reconcile(p, ["web"], seen(p)))[0]
    with pytest.raises(ComposeError, match="'front'"):
        reconcile(p, ["web", "other"], seen(p))


def test_renewed_anonymous_volumes_take_a_new_container() -> None:
    p = project(service("web"), service("plain"))
    there = seen(p, running(p, "web", anonymous={"/data": "0a"}), running(p, "plain"))
    plan = reconcile(p, ["web", "plain"], there, UpOptions(renew_anonymous=True))
    assert lines(plan)[0] == "1. stop shop-web-1 anonymous volumes renewed"
    assert all(not step.carry for step in plan.steps)
    assert plan.kept == ("shop-plain-1",)


def test_a_changed_volume_is_made_anew_when_that_is_wanted() -> None:
    web = service("web", volumes=(VolumeMount(type="volume", source="data", target="/d"),))
    p = project(web, volumes={"data": Volume(key="data", name="shop_data", labels={"v": "2"})})
    labels = {"shop_data": {PROJECT: "shop", VOLUME: "data", CONFIG_HASH: "of another"}}
    there = seen(p, running(p, "web"), volumes=labels)
    assert changed_volumes(p, ["web"], labels) == ["shop_data"]
    assert changed_volumes(p, [], labels) == []
    assert changed_volumes(p, ["web"], {"shop_data": {PROJECT: "other", CONFIG_HASH: "x"}}) == []
    assert reconcile(p, ["web"], there).steps == ()
    assert lines(reconcile(p, ["web"], there, UpOptions(renew_volumes=("shop_data",))))[:4] == [
        "1. stop shop-web-1 volume shop_data changed",
        "2. remove shop-web-1 volume shop_data changed (after 1)",
        "3. drop-volume shop_data changed (after 2)",
        "4. volume shop_data changed (after 3)",
    ]


def test_all_resources_and_the_separator_of_names() -> None:
    p = dataclasses.replace(
        project(service("web"), volumes={"data": Volume(key="data", name="shop_data")}),
        all_resources=True,
        separator="_",
    )
    assert lines(reconcile(p, ["web"], seen(p)))[:2] == [
        "1. volume shop_data missing",
        "2. create shop_web_1 missing (after 1)",
    ]


def test_a_paused_container_cannot_be_started() -> None:
    p = project(service("web"))
    there = seen(p, running(p, "web", status="paused"))
    with pytest.raises(ComposeError, match=r"try unpause instead: shop-web-1"):
        reconcile(p, ["web"], there)
    with pytest.raises(ComposeError, match="try unpause"):
        start(p, ["web"], there.containers)
    assert reconcile(p, ["web"], there, UpOptions(no_start=True)).kept == ("shop-web-1",)
    forced = lines(reconcile(p, ["web"], there, UpOptions(force_recreate=True)))
    assert forced[0] == "1. stop shop-web-1 forced"
