"""Names and isolation as the containers see them, ports as the host sees them."""

from __future__ import annotations

import os
import socket

import pytest

from tests.e2e.stack import Stack, free_port


def resolves(stack: Stack, service: str, name: str) -> bool:
    return stack("exec", service, "nslookup", name, check=False).returncode == 0


def test_each_container_sees_the_names_of_its_own_networks(stack: Stack) -> None:
    stack("up", "-d")
    assert resolves(stack, "front", "web") and resolves(stack, "back", "web")
    assert resolves(stack, "front", f"{stack.name}-web-1")
    assert resolves(stack, "front", "site") and not resolves(stack, "back", "site")
    assert not resolves(stack, "front", "back")
    assert resolves(stack, "web", "front") and resolves(stack, "web", "back")


def test_names_lead_to_services_and_networks_are_apart(stack: Stack) -> None:
    stack("up", "-d")
    page = stack("exec", "web", "cat", "/etc/hostname").stdout
    for client in ("front", "back"):
        assert stack("exec", client, "ping", "-c", "1", "-W", "1", "web").returncode == 0
        # By address: wget of Debian's static busybox crashes when it has to resolve a name.
        found = stack("exec", client, "nslookup", "web").stdout.split("Address:")[-1].split()[0]
        assert stack("exec", client, "wget", "-q", "-O", "-", f"http://{found}/hostname").stdout == page
    back = stack("exec", "back", "hostname", "-i").stdout.split()[0]
    assert stack("exec", "front", "ping", "-c", "1", "-W", "1", back, check=False).returncode != 0
    assert stack("exec", "web", "ping", "-c", "1", "-W", "1", back).returncode == 0


def test_a_busy_port_is_refused_before_anything_starts_and_names_its_holder(stack: Stack) -> None:
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        port = holder.getsockname()[1]
        refused = stack("up", "-d", env={"PORT": str(port)}, check=False)
    assert refused.returncode == 1
    assert str(port) in refused.stderr and f"{os.getpid()}" in refused.stderr
    assert not [row for row in stack.ps().values() if row["State"] == "running"]


def test_a_port_held_by_another_project_names_that_project(
    stack: Stack, make_stack: object, request: pytest.FixtureRequest
) -> None:
    stack.environment["PORT"] = str(free_port())
    stack("up", "-d", "web")
    other: Stack = make_stack(request.path.parent)  # type: ignore[operator]
    other.environment["PORT"] = stack.environment["PORT"]
    refused = other("up", "-d", check=False)
    assert refused.returncode == 1
    assert stack.name in refused.stderr, refused.stderr
    assert stack.get(int(stack.environment["PORT"]), "/hostname")
