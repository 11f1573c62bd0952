"""What ``net`` and ``dns`` say, without a machine."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from compose.cli import dns, net, net_map
from compose.errors import UsageError

NETWORKS = [
    {
        "Name": "shop_default",
        "Driver": "bridge",
        "Link": "pc-1",
        "Internal": True,
        "Subnets": ["10.1.0.0/24"],
        "Endpoints": [
            {
                "Container": "shop-web-1",
                "Addresses": ["10.1.0.2"],
                "MAC": "02:42:0a:01:00:02",
                "Names": ["web", "<a&b>"],
                "Ports": ["*:80->80/tcp"],
                "Sent": 2048,
                "Received": 0,
            }
        ],
    }
]


@pytest.mark.parametrize("text, value", [("200ms", 0.2), ("1.5s", 1.5), ("2m", 120.0), ("10us", 1e-5)])
def test_times_are_read(text: str, value: float) -> None:
    assert net.seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text, value", [("5%", 50), ("0.5%", 5), ("100%", 1000), ("0.01%", 1)])
def test_shares_are_read(text: str, value: int) -> None:
    assert net.share(text) == value


@pytest.mark.parametrize("text", ["5", "0%", "101%", "-1%", "x%"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a share"):
        net.share(text)


def test_a_time_without_a_unit_is_refused() -> None:
    with pytest.raises(UsageError, match="is not a time"):
        net.seconds("200")


def test_the_map_names_who_spoke_to_whom() -> None:
    tracked = [("10.1.0.2", "192.0.2.1", 443)] * 2 + [
        ("192.0.2.9", "10.1.0.2", 80),
        ("192.0.2.9", "192.0.2.8", 1),
    ]
    found = net_map._named(tracked, NETWORKS)
    assert [(row["From"], row["To"], row["Port"], row["Connections"]) for row in found] == [
        ("192.0.2.9", "shop-web-1", 80, 1),
        ("shop-web-1", "192.0.2.1", 443, 2),
    ]
    lines = net_map.text({"Project": "shop", "Networks": NETWORKS, "Conversations": found}).splitlines()
    assert lines[0] == "shop_default (internal)  bridge pc-1 10.1.0.0/24"
    assert "2.05kB" in lines[2]
    assert lines[-1].split() == ["shop-web-1", "192.0.2.1", "443", "2"]


def test_the_picture_is_well_formed_whatever_names_are() -> None:
    networks = [NETWORKS[0] | {"Name": "<shop>&"}]
    picture = net_map.svg({"Project": "shop", "Networks": networks, "Conversations": []})
    assert "<shop>& " in "".join(ElementTree.fromstring(picture).itertext())


def test_a_failed_look_up_has_the_nearest_name_and_no_control_characters() -> None:
    rows = [
        {"container": "c" * 64, "name": "wbe", "at": 0.0},
        {"container": "c" * 64, "name": "\x1b[2J", "at": 0.0},
    ]
    failed = dns.failures(rows, {"shop_default": {"web": [], "db": []}}, [])
    assert [row["Nearest"] for row in failed] == ["web", ""]
    text = dns.text({"shop_default": {"web": ["10.1.0.2"], "db": []}}, failed, 60.0)
    assert "not running" in text
    assert "\x1b" not in text
