"""Peers that nobody touched: what improves there alike at the same moment was not done by the mitigation."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.response.peers import recovered_alike
from quell.response.playbook import RecoveryRule

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
RULE = RecoveryRule(signal="errors", below=0.02, hold=timedelta(seconds=15))
NAN = float("nan")
OWN = [0.3] * 6 + [0.0] * 3


def _alike(own: list[float], peers: dict[str, list[float]]) -> str:
    times = NOW.timestamp() - 5 * np.arange(len(own) - 1, -1, -1)
    return recovered_alike(
        RULE, times, np.array(own), {name: np.array(values) for name, values in peers.items()}, limit=0.02, now=NOW
    )


@pytest.mark.parametrize(
    ("peers", "is_alike"),
    [
        pytest.param({}, False, id="nobody to compare with"),
        pytest.param({"catalog": OWN}, True, id="the same recovery"),
        pytest.param({"catalog": [0.2] * 6 + [0.0] * 3}, True, id="two thirds of it"),
        pytest.param({"catalog": [0.1] * 6 + [0.0] * 3}, False, id="a third of it"),
        pytest.param({"catalog": [0.0] * 9}, False, id="well all the time"),
        pytest.param({"catalog": [0.3] * 9}, False, id="bad all the time"),
        pytest.param({"catalog": [0.3] * 1 + [0.0] * 8}, False, id="it recovered long before"),
        pytest.param({"catalog": [NAN] * 9}, False, id="without samples"),
        pytest.param({"catalog": [0.3] * 6 + [NAN] * 3}, False, id="silent since"),
        pytest.param({"a": OWN, "b": [0.0] * 9, "c": [0.0] * 9}, False, id="one of three recovered too"),
        pytest.param({"a": OWN, "b": OWN, "c": [0.0] * 9}, True, id="two of three recovered too"),
    ],
)
def test_an_improvement_that_peers_show_alike_is_not_ours(peers: dict[str, list[float]], is_alike: bool) -> None:
    said = _alike(OWN, peers)
    assert bool(said) is is_alike
    assert not said or (said.startswith("peers recovered alike: errors fell by 0.3, untouched peers (") and "%" in said)


@pytest.mark.parametrize(
    ("peer", "counts"),
    [
        pytest.param([NAN] * 3 + [0.3] * 3 + [0.0] * 3, True, id="three of six before"),
        pytest.param([NAN] * 4 + [0.3] * 2 + [0.0] * 3, False, id="two of six before"),
        pytest.param([0.3] * 6 + [NAN, 0.0, 0.0], False, id="two of three after"),
        pytest.param([NAN, 0.3] * 3 + [0.0] * 3, True, id="every second one"),
    ],
)
def test_a_peer_counts_with_three_samples_on_either_side(peer: list[float], *, counts: bool) -> None:
    """Two samples are no level: a peer that has just been added, or was scraped once, must not take the credit away."""
    assert bool(_alike(OWN, {"catalog": peer})) is counts


@pytest.mark.parametrize(("there", "counts"), [(9, False), (10, True)])
def test_of_a_long_trouble_a_peer_must_have_seen_half(there: int, *, counts: bool) -> None:
    own = [0.3] * 20 + [0.0] * 3
    assert bool(_alike(own, {"catalog": [NAN] * (20 - there) + [0.3] * there + [0.0] * 3})) is counts


def test_where_there_are_fewer_moments_a_peer_must_have_seen_all_of_them() -> None:
    """A trouble of two samples still has peers: else a recovery of everybody would be taken for ours."""
    own = [0.0] * 4 + [0.3] * 2 + [0.0] * 3
    assert _alike(own, {"catalog": own}) != ""
    assert _alike(own, {"catalog": [0.0] * 4 + [NAN, 0.3] + [0.0] * 3}) == ""


def test_a_peer_with_too_few_samples_is_no_peer_in_the_median_either() -> None:
    few = [NAN] * 5 + [0.0] + [NAN] * 3
    said = _alike(OWN, {"catalog": OWN, "few": few, "fewer": few})
    assert "untouched peers (catalog)" in said


def test_own_trouble_that_was_never_outside_cannot_be_compared() -> None:
    assert _alike([0.0] * 9, {"catalog": OWN}) == ""


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=9, max_size=9), min_size=1, max_size=5), st.floats(-0.5, 0.5), st.data()
)
def test_neither_the_level_of_peers_nor_their_order_matters(
    values: list[list[float]], level: float, data: st.DataObject
) -> None:
    """Only differences count: a peer that always has some errors is as good a peer."""
    peers = {f"p{n}": np.round(one, 3).tolist() for n, one in enumerate(values)}
    order = data.draw(st.permutations(list(peers)))
    shifted = {name: (np.array(peers[name]) + round(level, 3)).tolist() for name in order}
    fall = float(np.median([np.median(one[:6]) - np.median(one[6:]) for one in peers.values()]))
    if abs(fall - 0.15) > 1e-6:  # not on the edge itself
        assert bool(_alike(OWN, peers)) is bool(_alike(OWN, shifted)) is (fall > 0.15)


@given(st.lists(st.floats(-100, 100), min_size=9, max_size=9))
def test_one_outlier_among_three_peers_decides_nothing(wild: list[float]) -> None:
    assert _alike(OWN, {"a": [0.0] * 9, "b": [0.0] * 9, "wild": wild}) == ""
    assert _alike(OWN, {"a": OWN, "b": OWN, "wild": wild}) != ""
