"""The canary's verdict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from quell.resolution.canary import (
    CanaryPolicy,
    CanaryVerdict,
    Sample,
    canary_weight,
    errors_p_value,
    excess_bound,
    judge_canary,
)

pytestmark = pytest.mark.unit

POLICY = CanaryPolicy()
P, R, W = CanaryVerdict.PROMOTE, CanaryVerdict.REVERT, CanaryVerdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("canary", "control", "verdict", "because"),
    [
        ((40, 0), (360, 0), P, "ruled out"),
        ((100, 1), (900, 9), P, "ruled out"),
        ((40, 30), (360, 2), R, "fails more"),
        ((12, 9), (110, 0), R, "fails more"),  # few requests suffice for what is clear
        ((10, 0), (90, 0), W, "had 10 requests, needs 30"),
        ((0, 0), (90, 0), W, "had 0 requests"),
        ((40, 0), (5, 0), W, "the peers had 5 requests"),
        ((40, 3), (360, 5), W, "is possible"),
        ((40, 20), (360, 180), W, "no yardstick"),
    ],
)
def test_verdict(canary: tuple[int, int], control: tuple[int, int], verdict: CanaryVerdict, because: str) -> None:
    result = judge_canary(
        Sample(requests=canary[0], errors=canary[1]), Sample(requests=control[0], errors=control[1]), POLICY
    )
    assert result.verdict is verdict and because in result.reason


def test_a_slower_canary_is_reverted_and_one_that_is_as_fast_is_not() -> None:
    rng = np.random.default_rng(7)
    usual = tuple(rng.gamma(4, 0.01, 60))
    control = Sample(requests=360, errors=0, latencies=usual)
    slow = Sample(requests=40, errors=0, latencies=tuple(2 * v for v in usual[:20]))
    same = Sample(requests=40, errors=0, latencies=tuple(rng.gamma(4, 0.01, 20)))
    assert judge_canary(slow, control, POLICY).verdict is R
    assert judge_canary(same, control, POLICY).verdict is P


def test_equal_sides_are_rarely_reverted() -> None:
    """A/A: at 2 % errors on both sides the false reverts stay near the level of the test."""
    rng = np.random.default_rng(11)
    verdicts = [
        judge_canary(
            Sample(requests=60, errors=int(rng.binomial(60, 0.02))),
            Sample(requests=540, errors=int(rng.binomial(540, 0.02))),
            POLICY,
        ).verdict
        for _ in range(400)
    ]
    assert verdicts.count(R) <= 8 and verdicts.count(P) >= 300


def test_the_p_value_is_scipys() -> None:
    expected = stats.fisher_exact([[3, 37], [2, 358]], alternative="greater").pvalue
    assert errors_p_value(Sample(requests=40, errors=3), Sample(requests=360, errors=2)) == pytest.approx(expected)


@given(st.integers(1, 500), st.integers(1, 500), st.data())
def test_the_bound_lies_above_the_observed_excess(n: int, m: int, data: st.DataObject) -> None:
    canary = Sample(requests=n, errors=data.draw(st.integers(0, n)))
    control = Sample(requests=m, errors=data.draw(st.integers(0, m)))
    assert excess_bound(canary, control, 0.95) >= canary.error_ratio - control.error_ratio


@given(st.lists(st.integers(1, 256), min_size=1, max_size=10), st.floats(0.01, 0.5))
def test_the_weight_gives_the_wanted_share_or_less_and_one_more_would_be_above_it(
    peers: list[int], share: float
) -> None:
    """Rounded to the nearest it was above: five beside 42 are 10.6 %, where a tenth was wanted."""
    weight, others = canary_weight(peers, share), sum(peers)
    assert 1 <= weight <= 256
    if 1 < weight < 256:
        assert weight / (weight + others) <= share + 1e-9 < (weight + 1) / (weight + 1 + others) + 2e-9
