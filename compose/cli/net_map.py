"""``pycompose net map``: who is on which network, with addresses, names, ports, bytes, and who spoke to whom.

Comes in:  the records under RUN, counters of links, the connections that the kernel tracks.
Goes out:  text, JSON or SVG.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from compose.cli import report
from compose.cli.scope import Scope
from compose.cli.table import as_json, table

Row = dict[str, Any]
_LINKS = Path("/sys/class/net")


def show(scope: Scope, format: str) -> int:
    """Print the map."""
    found = collect(scope)
    report.put({"text": text, "json": as_json, "svg": svg}[format](found))
    return 0


def collect(scope: Scope) -> Row:
    """The networks of the project with everybody on them, and conversations between those."""
    from netns.network import Networks

    networks, project = Networks(scope.places.run), scope.identity().name
    rows = []
    for network in networks.all():
        links = networks.links(network.spec.name)
        ends = networks.endpoints(network.spec.name)
        if network.spec.project != project and not any(_of(end, scope, project) for end in ends):
            continue
        rows.append(
            {
                "Name": network.spec.name,
                "Driver": network.spec.driver,
                "Link": network.bridge or network.spec.parent,
                "Internal": network.spec.internal,
                "Subnets": [subnet for subnet in (network.subnet4, network.subnet6) if subnet],
                "Endpoints": [_endpoint(end, links, networks) for end in ends],
            }
        )
    networks.close()
    return {"Project": project, "Networks": rows, "Conversations": _named(_conversations(), rows)}


def _of(end: Any, scope: Scope, project: str) -> bool:
    return bool((scope.places.project_data(project) / "containers" / end.spec.container).exists())


def _endpoint(end: Any, links: Mapping[str, str], networks: Any) -> Row:
    link = links.get(end.spec.container, "")
    short = end.spec.container[:12]
    ports = networks.published(end.spec.container)
    return {
        "Container": end.spec.container_name or short,
        "Addresses": [address for address in (end.ipv4, end.ipv6) if address],
        "MAC": end.mac,
        "Names": [name for name in end.spec.names if name != short],
        "Ports": [_port(port) for port in ports],
        "Sent": _counter(link, "rx_bytes"),  # what the host receives the container has sent
        "Received": _counter(link, "tx_bytes"),
    }


def _port(port: Any) -> str:
    return f"{port.host_ip or '*'}:{port.published}->{port.target}/{port.protocol}"


def _counter(link: str, name: str) -> int:
    try:
        return int((_LINKS / link / "statistics" / name).read_text()) if link else 0
    except (OSError, ValueError):
        return 0


def _conversations() -> list[tuple[str, str, int]]:
    """Source, destination and port of what the kernel tracks; nothing without the right to ask."""
    try:
        from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

        with NFCTSocket() as tracked:
            return [found for entry in tracked.dump() if (found := _tuple(entry))]
    except (ImportError, OSError):
        return []
    except Exception as error:  # pyroute2's own errors have no common root
        report.warn(f"the connections that the kernel tracks cannot be read: {error}")
        return []


def _tuple(entry: Any) -> tuple[str, str, int] | None:
    """The addresses as the receiver sees them: what a translated connection was led to."""
    back = entry.get_attr("CTA_TUPLE_REPLY")
    ends = back.get_attr("CTA_TUPLE_IP") if back else None
    proto = back.get_attr("CTA_TUPLE_PROTO") if back else None
    if ends is None or proto is None:
        return None
    for family in ("V4", "V6"):
        server, client = ends.get_attr(f"CTA_IP_{family}_SRC"), ends.get_attr(f"CTA_IP_{family}_DST")
        if server:
            return str(client), str(server), int(proto.get_attr("CTA_PROTO_SRC_PORT") or 0)
    return None


def _named(found: Iterable[tuple[str, str, int]], networks: Sequence[Row]) -> list[Row]:
    """Conversations of which one end at least is on the map, by name, with how many connections. Pure."""
    names = {a: end["Container"] for n in networks for end in n["Endpoints"] for a in end["Addresses"]}
    counted: dict[tuple[str, str, int], int] = {}
    for client, server, port in found:
        if client in names or server in names:
            key = (names.get(client, client), names.get(server, server), port)
            counted[key] = counted.get(key, 0) + 1
    rows = sorted(counted.items())
    return [{"From": a, "To": b, "Port": port, "Connections": n} for (a, b, port), n in rows]


def text(found: Row) -> str:
    """Tables for people. Pure."""
    from compose.cli.humane import size

    out = ""
    for network in found["Networks"]:
        kind = " (internal)" if network["Internal"] else ""
        words = (network["Driver"], network["Link"], *network["Subnets"])
        out += f"{network['Name']}{kind}  {' '.join(words)}\n"
        rows = [["CONTAINER", "ADDRESSES", "NAMES", "PORTS", "SENT", "RECEIVED"]]
        for end in network["Endpoints"]:
            words = (end["Addresses"], end["Names"], end["Ports"])
            joined = [", ".join(word) or "-" for word in words]
            rows.append([end["Container"], *joined, size(end["Sent"]), size(end["Received"])])
        out += table(rows) + "\n"
    if found["Conversations"]:
        rows = [["FROM", "TO", "PORT", "CONNECTIONS"]]
        rows += [[r["From"], r["To"], str(r["Port"]), str(r["Connections"])] for r in found["Conversations"]]
        out += table(rows)
    return out


def svg(found: Row) -> str:
    """A picture: a box for each network, its containers in it. Pure."""
    parts, top, width = [], 10, 640
    for network in found["Networks"]:
        height = 40 + 34 * max(1, len(network["Endpoints"]))
        parts.append(f'<rect x="10" y="{top}" width="{width - 20}" height="{height}" rx="8" class="net"/>')
        title = f"{network['Name']}  {' '.join(network['Subnets'])}"
        parts.append(f'<text x="24" y="{top + 24}" class="title">{escape(title)}</text>')
        for number, end in enumerate(network["Endpoints"]):
            y = top + 40 + 34 * number
            words = [end["Container"], *end["Addresses"], *end["Ports"]]
            parts.append(f'<rect x="24" y="{y}" width="{width - 48}" height="26" rx="4" class="box"/>')
            parts.append(f'<text x="34" y="{y + 18}">{escape("   ".join(words))}</text>')
        top += height + 14
    for row in found["Conversations"]:
        line = f"{row['From']} → {row['To']}:{row['Port']}  ({row['Connections']})"
        parts.append(f'<text x="24" y="{top + 14}">{escape(line)}</text>')
        top += 20
    style = (
        "text{font:13px sans-serif}.title{font-weight:bold}.net{fill:#eef4fb;stroke:#5b8cc0}"
        ".box{fill:#fff;stroke:#9ab}"
    )
    body = "\n".join(parts)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top + 10}">'
    return f"{head}\n<style>{style}</style>\n{body}\n</svg>\n"
