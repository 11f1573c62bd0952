"""Which services are built together, and what of a file a build gets."""

from __future__ import annotations

import pytest

from compose.engine.builds import BuildFlags, build_spec, platform_of
from compose.errors import ComposeError
from compose.model.project import FileObject, Project
from compose.model.service import Build, FileMount, Service
from compose.plan.building import bake, closure
from runtime.image.manifest import host_platform


def service(name: str, *needs: str, **build: object) -> Service:
    contexts = {other: f"service:{other}" for other in needs}
    told = Build(context="/src", additional_contexts=contexts, **build)  # type: ignore[arg-type]
    return Service(name=name, build=told)


def project(*services: Service, **more: object) -> Project:
    return Project(name="shop", working_dir="/work", services={s.name: s for s in services}, **more)  # type: ignore[arg-type]


def test_what_a_build_needs_comes_before_it_and_once() -> None:
    shop = project(service("web", "base", "lib"), service("lib", "base"), service("base"), service("other"))
    chosen = closure([shop.services["web"], shop.services["lib"]], shop.services)
    assert [s.name for s in chosen] == ["base", "lib", "web"]


def test_builds_in_a_circle_or_without_a_build_are_refused() -> None:
    shop = project(service("a", "b"), service("b", "a"))
    with pytest.raises(ComposeError, match="a -> b -> a"):
        closure([shop.services["a"]], shop.services)
    plain = project(service("a", "image"), Service(name="image", image="x"))
    with pytest.raises(ComposeError, match="'image', which is not built"):
        closure([plain.services["a"]], plain.services)


def test_a_file_s_words_reach_the_build() -> None:
    one = service(
        "web",
        args={"A": "1", "B": None, "C": None},
        ssh=("default", "key=./id"),
        cache_from=("type=local,src=./cache", "plain/ref"),
        cache_to=("type=local,dest=/abs,mode=max",),
        extra_hosts=("far=192.0.2.1",),
        secrets=(FileMount(source="s", target="id", uid="5", mode=0o440),),
        entitlements=("network.host",),
    )
    shop = project(one, secrets={"s": FileObject(key="s", name="s", file="/s")})
    environment = {"B": "caller", "SSH_AUTH_SOCK": "/agent"}
    spec = build_spec(shop, one, BuildFlags(args={"A": "flag"}, memory=1 << 20), {}, environment)
    assert spec.args == {"A": "flag", "B": "caller"}
    assert spec.ssh == {"default": "/agent", "key": "/work/id"}
    assert spec.cache_from == ("type=local,src=/work/cache", "plain/ref")
    assert spec.cache_to == ("type=local,dest=/abs,mode=max",)
    assert spec.extra_hosts == ("far:192.0.2.1",) and spec.tags == ("shop-web",)
    secret = spec.secrets["id"]
    assert (secret.file, secret.uid, secret.gid, secret.mode) == ("/s", 5, None, 0o440)
    with pytest.raises(ComposeError, match="SSH_AUTH_SOCK is not set"):
        build_spec(shop, one, BuildFlags(), {}, {})


def test_this_machine_s_platform_is_taken_from_several() -> None:
    other = "linux/riscv64" if "riscv" not in host_platform() else "linux/amd64"
    several = service("a", platforms=(other, host_platform()))
    assert several.build is not None and platform_of(several.build, several) == host_platform()
    foreign = service("a", platforms=(other,))
    assert foreign.build is not None and platform_of(foreign.build, foreign) == other


def test_the_bake_file_has_only_what_is_set() -> None:
    shop = project(service("web", "base", network="host", tags=("t:1",)), service("base"))
    document = bake(shop, [shop.services["web"]], args={"X": None}, environment={"X": "y"}, push=True)
    assert document["group"]["default"]["targets"] == ["web", "base"]
    assert document["target"]["web"] == {
        "context": "/src",
        "contexts": {"base": "target:base"},
        "dockerfile": "/src/Dockerfile",
        "args": {"X": "y"},
        "labels": {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"},
        "tags": ["t:1", "shop-web"],
        "network": "host",
        "output": ["type=docker"],
    }
