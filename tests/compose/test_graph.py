"""The start order, its levels, circles, and parts of a project."""

from __future__ import annotations

import json

import pytest

from compose.errors import UsageError
from compose.graph import CycleFound, Order, select, start_order
from compose.model.project import Project
from compose.model.service import Build, Condition, Dependency, Service


def project(**services: Service) -> Project:
    return Project(name="shop", working_dir="/shop", services=services, disabled=("debug",))


def service(name: str, *needs: str, **fields: object) -> Service:
    return Service(name=name, image="x", depends_on={n: Dependency() for n in needs}, **fields)  # type: ignore[arg-type]


SHOP = project(
    web=service("web", "api"), api=service("api", "db", "cache"), db=service("db"), cache=service("cache")
)


def test_a_dependency_starts_before_its_dependants() -> None:
    assert start_order(SHOP).nodes == ("db", "cache", "api", "web")


def test_services_that_need_nothing_keep_the_order_of_the_file() -> None:
    assert start_order(project(b=service("b"), a=service("a"), c=service("c"))).nodes == ("b", "a", "c")


def test_levels_are_waves_that_may_start_together() -> None:
    assert start_order(SHOP).levels() == (("db", "cache"), ("api",), ("web",))


def test_ready_are_those_whose_dependencies_are_done() -> None:
    order = start_order(SHOP)
    assert order.ready(()) == ("db", "cache")
    assert order.ready({"db", "cache"}) == ("api",)


def test_an_edge_tells_condition_required_and_restart() -> None:
    needs = {"db": Dependency(condition=Condition.HEALTHY, required=False, restart=True)}
    order = start_order(project(web=Service(name="web", image="x", depends_on=needs), db=service("db")))
    edge = order.needs("web")[0]
    assert (edge.condition, edge.required, edge.restart) == (Condition.HEALTHY, False, True)
    assert order.needed_by("db") == (edge,)


@pytest.mark.parametrize(
    "fields",
    [
        {"links": ("db:database",)},
        {"volumes_from": ("db:ro",)},
        {"network_mode": "service:db"},
        {"ipc": "service:db"},
        {"pid": "service:db"},
    ],
)
def test_what_implies_a_dependency_is_an_edge(fields: dict[str, object]) -> None:
    order = start_order(project(web=service("web", **fields), db=service("db")))
    assert order.nodes == ("db", "web")


def test_the_image_of_a_context_is_needed_and_not_its_service() -> None:
    build = Build(context="/x", additional_contexts={"base": "service:db"})
    assert start_order(project(web=service("web", build=build), db=service("db"))).edges == ()


def test_a_container_of_another_project_is_no_edge() -> None:
    web = service("web", volumes_from=("container:x",), network_mode="container:y")
    assert start_order(project(web=web)).edges == ()


def test_a_dependency_that_is_not_active_is_no_edge() -> None:
    assert start_order(project(web=service("web", "debug"))).edges == ()


def test_a_circle_is_printed() -> None:
    circle = project(z=service("z", "a"), a=service("a", "b"), b=service("b", "c"), c=service("c", "a"))
    with pytest.raises(CycleFound) as caught:
        start_order(circle)
    assert caught.value.cycle == ("a", "b", "c", "a")
    assert "a -> b -> c -> a" in caught.value.message


def test_an_order_survives_json() -> None:
    order = start_order(SHOP)
    assert Order.from_json(json.loads(json.dumps(order.to_json()))) == order


def test_a_part_of_an_order_keeps_its_edges() -> None:
    part = start_order(SHOP).only({"api", "db"})
    assert part.nodes == ("db", "api")
    assert [(e.service, e.dependency) for e in part.edges] == [("api", "db")]


def test_select_takes_what_is_named_with_all_it_needs() -> None:
    assert list(select(SHOP, ["api"], with_dependencies=True).services) == ["api", "db", "cache"]


def test_select_without_dependencies_takes_only_what_is_named() -> None:
    assert list(select(SHOP, ["api"], with_dependencies=False).services) == ["api"]


def test_select_of_nothing_is_everything() -> None:
    assert select(SHOP, [], with_dependencies=True) is SHOP


def test_an_unknown_service_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(UsageError) as caught:
        select(SHOP, ["cahce"], with_dependencies=True)
    assert caught.value.message == "no such service: cahce"
    assert caught.value.hint == "did you mean 'cache'?"


def test_a_thousand_services_in_a_chain_are_ordered() -> None:
    names = [f"s{n}" for n in range(1000)]
    services = {n: service(n, *names[i + 1 : i + 2]) for i, n in enumerate(names)}
    assert start_order(project(**services)).nodes == tuple(reversed(names))
