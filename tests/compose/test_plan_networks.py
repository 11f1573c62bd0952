"""Networks of the file in the words of netns: every spelling, every wrong value with its place."""

from __future__ import annotations

import pytest

from compose.errors import ComposeError
from compose.model.project import Network
from compose.plan.networks import network_spec

ICC = "com.docker.network.bridge.enable_icc"


def network(**options: object) -> Network:
    return Network(key="back", name="shop_back", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_every_spelling_of_false_isolates_containers(text: str) -> None:
    assert network_spec("shop", network(driver_opts={ICC: text})).icc is False


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_every_spelling_of_true_lets_them_talk(text: str) -> None:
    assert network_spec("shop", network(driver_opts={ICC: text})).icc is True


def test_a_word_that_is_no_truth_value_is_refused_at_its_place() -> None:
    with pytest.raises(ComposeError, match="enable_icc' is 'no'") as caught:
        network_spec("shop", network(driver_opts={ICC: "no"}))
    assert caught.value.path == f"networks.back.driver_opts.{ICC}"
