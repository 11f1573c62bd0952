"""From a service and its image to one container: everything the runtime and the network need.

Comes in:  a Project, one of its services, the image's facts, host directories.
Goes out:  a Launch.
Not here:  resource and security words (``confine``), mounts (``mounts``).
Source: Compose Specification; docker run, section "override image defaults".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from compose import LIKE
from compose.errors import ComposeError
from compose.load.units import size
from compose.model.project import Project
from compose.model.service import NOTHING, Healthcheck, Hook, NetworkAttachment, Port, Service
from compose.plan import admission, confine
from compose.plan import observed as label
from compose.plan.fingerprint import service_hash
from compose.plan.launch import ImageFacts, Launch
from compose.plan.mounts import Ground, mounted
from compose.plan.networks import Owner
from compose.plan.reconcile import container_name
from compose.plan.values import hardware_address, link_sysctls, signal_number
from netns.spec import EndpointSpec, PortSpec
from runtime.policy.health import HealthSpec
from runtime.spec import ContainerSpec, Device, ExecSpec, Mount
from schemas.frozen import dataclass, field, replace

DEFAULT_GRACE = 10.0
BINDING = "com.docker.network.bridge.host_binding_ipv4"
ENDPOINT = "com.docker.network.endpoint"
PREFIX = "com.docker.network.container_iface_prefix"
FORWARDING = ("net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding", "net.ipv6.conf.all.forwarding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where this one container is made.

    id:         64 hex digits. record: DATA/projects/<project>/containers/<id>. logs: the log directory.
    containers: ids of existing containers by service name and by container name.
    owner:      of the network namespace it lives in. host: this machine's name.
    inherited:  mounts of the containers named in ``volumes_from``, with whether read-only.
    """

    id: str
    record: str
    logs: str
    ground: Ground
    containers: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    inherited: tuple[tuple[tuple[Mount, ...], bool], ...] = ()
    owner: Owner = Owner()
    host: str = ""
    carry: Mapping[str, str] = field(default_factory=lambda: NOTHING)


def translate(project: Project, service: Service, number: int, image: ImageFacts, site: Site) -> Launch:
    """Say what container ``number`` of ``service`` is. Raises ComposeError for what cannot be done."""
    admission.admit_one(service, project.working_dir)
    security = confine.security(service, project.working_dir)
    spaces = confine.namespaces(service, site.containers)
    name = container_name(project, service, number)
    mounts = mounted(service, project, image.volumes, site.ground, site.carry, site.inherited, image.mounted)
    log, size, count = _log(service, site.logs, name)
    shares_network = spaces.network.startswith("container:")
    own_name = site.host if spaces.network == "host" else "" if spaces.uts == "host" else site.id[:12]
    hostname = site.owner.hostname if shares_network else service.hostname or own_name
    spec = ContainerSpec(
        id=site.id,
        name=name,
        argv=argv(service, image),
        layers=image.layers,
        env=environment(service, image),
        working_dir=service.working_dir or image.working_dir or "/",
        user=service.user or image.user,
        groups=service.group_add,
        hostname=hostname,
        domainname=site.owner.domainname if shares_network else service.domainname,
        mounts=mounts.ordered(),
        read_only=service.read_only,
        tty=service.tty,
        stdin_open=service.stdin_open,
        log=log,
        log_size=size,
        log_files=count,
        init=service.init,
        privileged=service.privileged,
        capabilities=security.capabilities,
        no_new_privileges=security.no_new_privileges,
        seccomp=security.seccomp,
        masked=security.masked,
        readonly_paths=security.readonly_paths,
        namespaces=spaces,
        limits=confine.limits(service),
        ulimits=confine.ulimits(service),
        devices=_devices(service),
        sysctls=sysctls(service, spaces.network),
        oom_score_adj=service.oom_score_adj,
        shm_size=service.shm_size or 64 * 1024 * 1024,
        stop_signal=signal_number(service.stop_signal or image.stop_signal or "SIGTERM"),
        stop_grace=seconds(service.stop_grace_period, DEFAULT_GRACE),
        etc=site.owner.etc if shares_network else f"{site.record}/etc",
        labels=_labels(project, service, number, image),
        annotations=service.annotations,
    )
    return Launch(
        spec=spec,
        service=service.name,
        number=number,
        endpoints=endpoints(project, service, site.id, name, routes=_routes(spec))
        if spaces.network == "private"
        else (),
        ports=_ports(project, service) if spaces.network == "private" else (),
        health=health(service, image),
        restart=confine.restart_policy(service),
        volumes=tuple(mounts.volumes),
        binds=mounts.binds,
        files=tuple(mounts.files),
        hosts=service.extra_hosts,
        links=_links(service),
        dns=service.dns,
        dns_search=service.dns_search,
        dns_opt=service.dns_opt,
        post_start=tuple(_hook(hook) for hook in service.post_start),
        pre_stop=tuple(_hook(hook) for hook in service.pre_stop),
        seccomp_file=security.seccomp_file,
    )


def sysctls(service: Service, network: str) -> Mapping[str, str]:
    """Kernel parameters; with a network of its own every user may bind low ports and ping, as in Docker."""
    own = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
    return {**(own if network in ("private", "none") else {}), **service.sysctls}


def argv(service: Service, image: ImageFacts) -> tuple[str, ...]:
    """Entrypoint and command joined; an entrypoint of the file drops the image's command."""
    entrypoint = image.entrypoint if service.entrypoint is None else service.entrypoint
    command = service.command
    if command is None:
        command = image.cmd if service.entrypoint is None else ()
    words = (*entrypoint, *command)
    if not words:
        raise ComposeError(
            f"service '{service.name}': no command specified, and its image has none",
            hint="add 'command:'",
            path=f"services.{service.name}.command",
        )
    return words


def environment(service: Service, image: ImageFacts) -> tuple[str, ...]:
    """The image's variables under the service's; None removes one."""
    table: dict[str, str | None] = {}
    for text in image.env:
        name, _, value = text.partition("=")
        table[name] = value
    table.update(service.environment)
    return tuple(f"{name}={value}" for name, value in table.items() if value is not None)


def seconds(value: timedelta | None, default: float) -> float:
    """A duration of the file as float seconds."""
    return default if value is None else value.total_seconds()


def health(service: Service, image: ImageFacts) -> HealthSpec | None:
    """The service's check over the image's; None when there is none or it is switched off."""
    own = service.healthcheck or Healthcheck()
    test = own.test or image.health_test
    if own.disable or not test or test[0] == "NONE":
        return None
    command = ("/bin/sh", "-c", test[1]) if test[0] == "CMD-SHELL" else tuple(test[1:])
    base = HealthSpec(test=command)
    told = image.health
    return HealthSpec(
        test=command,
        interval=seconds(own.interval, told.get("interval") or base.interval),
        timeout=seconds(own.timeout, told.get("timeout") or base.timeout),
        retries=own.retries or int(told.get("retries") or base.retries),
        start_period=seconds(own.start_period, told.get("start_period") or base.start_period),
        start_interval=seconds(own.start_interval, told.get("start_interval") or base.start_interval),
    )


def _routes(spec: ContainerSpec) -> bool:
    """Whether the container may send packets of others: it can change addresses and routes, or forwards."""
    forwards = (spec.sysctls.get(name) == "1" for name in FORWARDING)
    return "NET_ADMIN" in spec.capabilities or any(forwards)


def endpoints(
    project: Project, service: Service, id: str, name: str, *, routes: bool = False
) -> tuple[EndpointSpec, ...]:
    """One endpoint per network of the service, highest priority first."""
    found = [
        replace(
            _endpoint(project.networks[key].name, attachment, service, id, name),
            routes=routes,
            prefix=project.networks[key].driver_opts.get(PREFIX, "eth"),
        )
        for key, attachment in service.networks.items()
        if key in project.networks
    ]
    return tuple(sorted(found, key=lambda endpoint: (-endpoint.priority, endpoint.network)))


def _endpoint(
    network: str,
    attachment: NetworkAttachment,
    service: Service,
    id: str,
    name: str,
) -> EndpointSpec:
    own = (service.hostname,) if service.hostname else ()
    options = attachment.driver_opts
    names = dict.fromkeys((service.name, name, id[:12], *own, *attachment.aliases))
    return EndpointSpec(
        network=network,
        container=id,
        container_name=name,
        names=tuple(names),
        ipv4=attachment.ipv4_address,
        ipv6=attachment.ipv6_address,
        link_local=attachment.link_local_ips,
        mac=hardware_address(attachment.mac_address or service.mac_address),
        interface=attachment.interface_name or options.get(f"{ENDPOINT}.ifname", ""),
        sysctls=link_sysctls(options.get(f"{ENDPOINT}.sysctls", "")),
        priority=attachment.priority,
        gw_priority=attachment.gw_priority,
    )


def _links(service: Service) -> dict[str, str]:
    """What this service alone calls others, in lower case: alias to service or container."""
    pairs = (text.partition(":") for text in (*service.links, *service.external_links))
    return {alias.lower(): target.lower() for target, _, alias in pairs if alias and alias != target}


def _ports(project: Project, service: Service) -> tuple[PortSpec, ...]:
    """Ports that give no address have the one that the first of the service's networks gives, if any."""
    networks = (project.networks[key] for key in service.networks if key in project.networks)
    bound = next(filter(None, (network.driver_opts.get(BINDING, "") for network in networks)), "")
    ports = (port if port.host_ip else replace(port, host_ip=bound) for port in service.ports)
    return tuple(_port(port, carried=service.ports_obey_firewall) for port in ports)


def _port(port: Port, *, carried: bool = False) -> PortSpec:
    first, _, last = port.published.partition("-")
    return PortSpec(
        target=port.target,
        published=int(first or 0),
        last_published=int(last or 0),
        protocol=port.protocol or "tcp",
        host_ip=port.host_ip,
        carried=carried,
    )


def _devices(service: Service) -> tuple[Device, ...]:
    for device in service.devices:
        if not device.source.startswith("/"):
            raise ComposeError(
                f"service '{service.name}': device '{device.source}' is not a path; CDI is not supported",
                path=f"services.{service.name}.devices",
            )
    return tuple(
        Device(source=d.source, target=d.target or d.source, access=d.permissions or "rwm")
        for d in service.devices
    )


def _log(service: Service, directory: str, name: str) -> tuple[str, int, int]:
    logging = service.logging
    driver = logging.driver if logging else ""
    if driver == "none":
        return "", 0, 1
    options = logging.options if logging else NOTHING
    return f"{directory}/{name}.log", _size(options.get("max-size", "")), _count(options)


def _count(options: Mapping[str, str]) -> int:
    text = str(options.get("max-file", "1"))
    return max(1, int(text)) if text.isdigit() else 1


def _size(text: str) -> int:
    """Docker's log sizes: "10m", "1gb", "200k", plain bytes; -1 or "" for none."""
    return max(0, size(text)) if text else 0


def _labels(project: Project, service: Service, number: int, image: ImageFacts) -> dict[str, str]:
    depends = (f"{n}:{d.condition}:{str(d.restart).lower()}" for n, d in service.depends_on.items())
    return {
        **image.labels,
        **service.labels,
        label.PROJECT: project.name,
        label.SERVICE: service.name,
        label.NUMBER: str(number),
        label.ONEOFF: "False",
        label.CONFIG_HASH: service_hash(service, project),
        label.IMAGE: image.id,
        label.IMAGE_NAME: image.name or service.image,
        label.DEPENDS_ON: ",".join(depends),
        label.WORKING_DIR: project.working_dir,
        label.CONFIG_FILES: ",".join(project.files),
        label.VERSION: LIKE,
        **({label.ENVIRONMENT_FILE: ",".join(project.env_files)} if project.env_files else {}),
    }


def _hook(hook: Hook) -> ExecSpec:
    return ExecSpec(
        argv=hook.command,
        env=tuple(f"{name}={value}" for name, value in hook.environment.items() if value is not None),
        user=hook.user,
        working_dir=hook.working_dir,
        privileged=hook.privileged,
    )
