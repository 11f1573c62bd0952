"""What means nothing, or asks for a protection that cannot be given, is refused before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose.errors import ComposeError, Several
from compose.load.project import LoadRequest, load
from compose.plan.admission import Host, admit, check_name

HOST = Host(
    processors=2, kind=lambda path: {"/dev/null": "device", "/etc/hostname": "file"}.get(path, "missing")
)
LONG = "a" * 65


def refused(tmp_path: Path, attributes: str, more: str = "") -> list[tuple[str, str]]:
    """(path, message) of every reason why a service with ``attributes`` is refused."""
    text = f"name: shop\nservices:\n  a: {{image: x, {attributes}}}\n  b: {{image: y}}\n{more}"
    (tmp_path / "compose.yaml").write_text(text)
    project = load(LoadRequest(cwd=str(tmp_path)), store=tmp_path / "store").project
    try:
        admit(project, ["a"], HOST)
    except ComposeError as failure:
        parts = failure.errors if isinstance(failure, Several) else (failure,)
        assert all(isinstance(one, ComposeError) and one.hint for one in parts), parts
        return [(one.path, one.message) for one in parts if isinstance(one, ComposeError)]
    return []


@pytest.mark.parametrize(
    "attributes",
    [
        "security_opt: [no-new-privileges]", "security_opt: ['no-new-privileges:t']",
        "security_opt: [no-new-privileges=FALSE]", "security_opt: [apparmor=unconfined]",
        "security_opt: ['label:disable', 'systempaths=unconfined', 'seccomp=unconfined']",
        "runtime: runc", "runtime: io.containerd.runc.v2", "isolation: default", "userns_mode: host",
        "ipc: shareable", "ipc: private", "pid: host", "uts: host", "pid: 'service:b'",
        "cpus: 2", "cpus: 0.01", "cpu_quota: -1", "mem_swappiness: -1", "mem_swappiness: 0", "pids_limit: -1",
        "tmpfs: ['/x:size=50%,mode=1770,uid=5,noexec,rw']", "tmpfs: /x",
        "mem_limit: 6m", "mem_limit: 64m, memswap_limit: -1", "cpuset: '0,1'", "ulimits: {locks: 5}",
        "ulimits: {nofile: {soft: 5, hard: -1}}", "sysctls: {kernel.domainname: x}", "devices: [/dev/null]",
        "device_cgroup_rules: ['c 1:* rwm']", "mac_address: 02-42-AC-11-00-02", "hostname: a_b.c",
        "logging: {options: {max-size: 10mb, max-file: '3'}}", "container_name: a-b_c.d", "stop_signal: '9'",
        "restart: 'on-failure:3'", "healthcheck: {test: ['NONE']}", "healthcheck: {interval: 1ms}",
    ],
)  # fmt: skip
def test_what_docker_takes_is_taken(tmp_path: Path, attributes: str) -> None:
    assert refused(tmp_path, attributes) == []


@pytest.mark.parametrize(
    ("attributes", "path"),
    [
        ("security_opt: ['no-new-privileges: true']", "security_opt[0]"),
        ("security_opt: [no-new-privileges=yes]", "security_opt[0]"),
        ("security_opt: ['no-new-privileges:']", "security_opt[0]"),
        ("security_opt: [no-new-privileges, ' no-new-privileges']", "security_opt[1]"),
        ("security_opt: [apparmor=strict]", "security_opt[0]"),
        ("security_opt: ['label=type:svirt_t']", "security_opt[0]"),
        ("security_opt: [systempaths=confined]", "security_opt[0]"),
        ("runtime: runsc", "runtime"),
        ("isolation: hyperv", "isolation"),
        ("userns_mode: auto", "userns_mode"),
        ("storage_opt: {size: 1G}", "storage_opt"),
        ("cpu_percent: 5", "cpu_percent"),
        ("cpu_count: 1", "cpu_count"),
        (
            "deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}",
            "deploy.resources.reservations.devices",
        ),
        ("ipc: bogus", "ipc"),
        ("ipc: 'container:'", "ipc"),
        ("pid: private", "pid"),
        ("uts: private", "uts"),
        ("cpus: -1", "cpus"),
        ("cpus: 0.001", "cpus"),
        ("cpus: 3", "cpus"),
        ("deploy: {resources: {limits: {cpus: '3'}}}", "deploy.resources.limits.cpus"),
        ("cpus: 0.5, cpu_quota: 20000", "cpu_quota"),
        ("cpu_quota: 500", "cpu_quota"),
        ("cpu_shares: 1", "cpu_shares"),
        ("cpuset: 0-9", "cpuset"),
        ("cpuset: x", "cpuset"),
        ("mem_limit: 512k", "mem_limit"),
        ("mem_limit: 64m, mem_reservation: 128m", "mem_reservation"),
        ("mem_limit: 64m, memswap_limit: 32m", "memswap_limit"),
        ("memswap_limit: 64m", "memswap_limit"),
        ("mem_swappiness: 200", "mem_swappiness"),
        ("mem_swappiness: -2", "mem_swappiness"),
        ("pids_limit: -5", "pids_limit"),
        ("shm_size: -5", "shm_size"),
        ("mem_limit: -5", "mem_limit"),
        ("mem_limit: 64m, memswap_limit: -2", "memswap_limit"),
        ("blkio_config: {weight_device: [{path: /dev/null, weight: 5}]}", "blkio_config"),
        ("blkio_config: {device_read_bps: [{path: sda, rate: 1m}]}", "blkio_config"),
        ("blkio_config: {device_read_bps: [{path: /etc/hostname, rate: 1m}]}", "blkio_config"),
        ("tmpfs: ['/x:bogus']", "tmpfs[0]"),
        ("tmpfs: ['/x', '/y:size=-5']", "tmpfs[1]"),
        ("tmpfs: ['/x:mode=9']", "tmpfs[0]"),
        ("tmpfs: [rel]", "tmpfs[0]"),
        ("volumes: ['/tmp:rel']", "volumes[0]"),
        ("volumes: ['/tmp:/']", "volumes[0]"),
        ("volumes: [{type: bind, source: /tmp, target: a/../../b}]", "volumes[0]"),
        ("security_opt: [seccomp=/nonexistent]", "security_opt[0]"),
        ('dns_opt: ["a\\nb"]', "dns_opt"),
        ('user: "a\\nb"', "user"),
        ("blkio_config: {weight: 5}", "blkio_config.weight"),
        ("ulimits: {nofile: {soft: 20, hard: 10}}", "ulimits.nofile"),
        ("ulimits: {nofile: {soft: -1, hard: 10}}", "ulimits.nofile"),
        ("ulimits: {bogus: 1}", "ulimits.bogus"),
        ("uts: host, hostname: x", "hostname"),
        ("hostname: a b", "hostname"),
        (f"hostname: {LONG}", "hostname"),
        ('hostname: "a\\nb"', "hostname"),
        ("network_mode: 'service:b', hostname: x", "hostname"),
        ("network_mode: 'service:b', dns: 1.1.1.1", "dns"),
        ("network_mode: 'service:b', ports: ['80']", "ports"),
        ("mac_address: zz:zz", "mac_address"),
        ("mac_address: 01:00:5e:00:00:01", "mac_address"),
        ("networks: {default: {mac_address: 02:11:22}}", "networks.default.mac_address"),
        ("networks: {default: {ipv4_address: 1.2.3}}", "networks.default.ipv4_address"),
        ("networks: {default: {ipv4_address: 'fd00::1'}}", "networks.default.ipv4_address"),
        ("networks: {default: {ipv6_address: foo}}", "networks.default.ipv6_address"),
        ("networks: {default: {link_local_ips: [10.1.1.1]}}", "networks.default.link_local_ips"),
        ("networks: {default: {link_local_ips: [foo]}}", "networks.default.link_local_ips"),
        ("volumes: [{type: bind, source: /tmp, target: /v, bind: {propagation: bogus}}]", "volumes[0]"),
        ("devices: ['/etc/hostname:/dev/x']", "devices[0]"),
        ("devices: ['/dev/nonesuch:/dev/x']", "devices[0]"),
        ("device_cgroup_rules: ['c 1:3 q']", "device_cgroup_rules[0]"),
        ("sysctls: {kernel.hostname: x}", "sysctls.kernel.hostname"),
        ("sysctls: {net.core.somaxconn: 1}, network_mode: host", "sysctls.net.core.somaxconn"),
        ("stop_signal: BOGUS", "stop_signal"),
        ("stop_grace_period: -5s", "stop_grace_period"),
        ("healthcheck: {test: [CMD, 'true'], interval: 1us}", "healthcheck.interval"),
        ("healthcheck: {test: [CMD]}", "healthcheck.test"),
        ("working_dir: rel", "working_dir"),
        ("cgroup_parent: ../../x", "cgroup_parent"),
        ('environment: {"A\\nB": x}', "environment"),
        ('command: ["a\\0b"]', "command"),
        ("container_name: ab/../../b", "container_name"),
        ('container_name: "ab\\ncd"', "container_name"),
        (f"container_name: {LONG * 4}", "container_name"),
        ("logging: {options: {max-size: much}}", "logging.options.max-size"),
        ("logging: {options: {max-file: '0'}}", "logging.options.max-file"),
    ],
)
def test_what_means_nothing_is_refused_at_its_path(tmp_path: Path, attributes: str, path: str) -> None:
    assert [found for found, _ in refused(tmp_path, attributes)] == [f"services.a.{path}"]


@pytest.mark.parametrize("name", ["../x", "a/b", "-a", "'a\\nb'", "''"])
def test_the_names_of_volumes_and_networks_lead_nowhere(tmp_path: Path, name: str) -> None:
    name = name.replace("'", '"') if name != "''" else '"/"'
    volumes = f"volumes: {{v: {{name: {name}}}}}\n"
    assert [p for p, _ in refused(tmp_path, "volumes: ['v:/v']", volumes)] == ["volumes.v"]
    networks = f"networks: {{n: {{name: {name}}}}}\n"
    assert [p for p, _ in refused(tmp_path, "networks: [n]", networks)] == ["networks.n"]


def test_options_of_a_network_that_keep_others_out_are_refused(tmp_path: Path) -> None:
    options = "driver_opts: {com.docker.network.bridge.gateway_mode_ipv4: isolated}"
    found = refused(tmp_path, "networks: [n]", f"networks: {{n: {{{options}}}}}\n")
    assert [path for path, _ in found] == [
        "networks.n.driver_opts.com.docker.network.bridge.gateway_mode_ipv4"
    ]


@pytest.mark.parametrize(
    ("mtu", "more"), [("abc", ""), ("9", ""), ("70000", ""), ("1000", "enable_ipv6: true, ")]
)
def test_an_mtu_is_a_number_that_the_protocols_allow(tmp_path: Path, mtu: str, more: str) -> None:
    options = f"{more}driver_opts: {{com.docker.network.driver.mtu: '{mtu}'}}"
    (found,) = refused(tmp_path, "networks: [n]", f"networks: {{n: {{{options}}}}}\n")
    assert found[0] == "networks.n.driver_opts.com.docker.network.driver.mtu"
    assert refused(tmp_path, "networks: [n]", f"networks: {{n: {{{options.replace(mtu, '1500')}}}}}\n") == []


def test_all_reasons_are_told_at_once(tmp_path: Path) -> None:
    assert len(refused(tmp_path, "ipc: bogus, pid: bogus, cpus: -1")) == 3


def test_other_services_are_not_asked(tmp_path: Path) -> None:
    assert refused(tmp_path, "init: true", "x-a: {}\n") == []


@pytest.mark.parametrize("name", ["", "a", "..", "a/b", "a\n", "-ab", "a b", "\x1b]0;x"])
def test_a_name_by_flag_is_a_name(name: str) -> None:
    with pytest.raises(ComposeError, match="container name"):
        check_name(name)


@pytest.mark.parametrize(
    "text", ["net./etc/passwd=1", "kernel.x=1", "net.ipv4.conf.eth0.x=1", "net.ipv4.conf.IFNAME.x=a"]
)
def test_an_attachment_sets_parameters_of_its_own_link_only(tmp_path: Path, text: str) -> None:
    option = "com.docker.network.endpoint.sysctls"
    words = f"networks: {{n: {{driver_opts: {{{option}: '{text}'}}}}}}"
    found = refused(tmp_path, words, "networks: {n: }\n")
    assert [path for path, _ in found] == [f"services.a.networks.n.driver_opts.{option}"]
