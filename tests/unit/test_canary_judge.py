"""What the canary's judge promises on latencies, tails, sparse errors and saturation, whatever the figures."""

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from quell.resolution.canary import (
    THOROUGH,
    CanaryPolicy,
    CanaryResult,
    CanaryVerdict,
    Sample,
    judge_canary,
    requests_needed,
)
from quell.resolution.excess import excess_interval
from quell.resolution.look import is_due
from quell.resolution.rollout import plan_steps
from quell.resolution.sample import design_effect
from quell.resolution.shift import shift_of
from quell.resolution.tail import compare_tails, plan_tail

pytestmark = pytest.mark.unit

Floats = NDArray[np.float64]
few = settings(max_examples=30, deadline=None)  # each example sorts thousands of values
P, R, W = CanaryVerdict.PROMOTE, CanaryVerdict.REVERT, CanaryVerdict.INCONCLUSIVE
NO_FLOOR = replace(THOROUGH, latency_floor=timedelta(0))
ERRORS_ONLY = replace(THOROUGH, p99_margin=None)
latencies = st.lists(st.floats(0, 10), min_size=8, max_size=60)


def side(seconds: Floats | list[float], errors: int = 0, saturation: tuple[float, ...] = ()) -> Sample:
    return Sample(requests=len(seconds), errors=errors, latencies=tuple(seconds), saturation=saturation)


def found(result: CanaryResult, metric: str) -> float:
    return next(c.estimate for c in result.comparisons if c.metric == metric)


@few
@given(latencies, st.integers(0, 8))
def test_a_canary_that_equals_its_control_is_never_reverted(seconds: list[float], errors: int) -> None:
    """Zeros, constants and ties included: whatever is the same on both sides is no regression."""
    for policy in (CanaryPolicy(), THOROUGH):
        assert judge_canary(side(seconds, errors), side(seconds, errors), policy).verdict is not R


@few
@given(st.integers(30, 2000), st.integers(30, 2000), st.data())
def test_more_errors_never_bring_a_promotion(n: int, m: int, data: st.DataObject) -> None:
    control = Sample(requests=m, errors=data.draw(st.integers(0, m // 6)))
    errors = data.draw(st.integers(0, n - 1))
    policy = data.draw(st.sampled_from([CanaryPolicy(), ERRORS_ONLY]))
    before, after = (judge_canary(Sample(requests=n, errors=e), control, policy) for e in (errors, errors + 1))
    assert before.verdict is P or after.verdict is not P


@few
@given(latencies, latencies)
def test_every_figure_is_a_number_and_lies_in_its_interval(mine: list[float], usual: list[float]) -> None:
    """Zero latencies have a logarithm, a constant side has a spread of nothing: no NaN may come of either."""
    policy = replace(THOROUGH, minimum_latencies=8)
    for comparison in judge_canary(side(mine), side(usual), policy).comparisons:
        assert comparison.low <= comparison.estimate <= comparison.high
        assert 0 <= comparison.p_value <= 1 and comparison.needed >= 0
        assert "nan" not in comparison.figures


@few
@given(st.lists(st.integers(0, 12), min_size=5, max_size=40), st.lists(st.integers(0, 12), min_size=5, max_size=40))
def test_the_shift_is_mann_whitneys_and_hodges_and_lehmanns(mine: list[int], usual: list[int]) -> None:
    canary, control = np.array(mine, dtype=float), np.array(usual, dtype=float)
    shift = shift_of(canary, control, 0.95)
    differences = np.subtract.outer(canary, control)
    assert shift.estimate == pytest.approx(np.median(differences))
    assert shift.delta == pytest.approx(np.sign(differences).mean())
    if len(set(mine + usual)) > 1:
        expected = stats.mannwhitneyu(canary, control, alternative="greater", method="asymptotic").pvalue
        assert shift.p_value == pytest.approx(expected, abs=1e-9)


@few
@given(st.floats(0.2, 100), st.integers(0, 50))
def test_the_unit_of_time_changes_nothing(times: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mine, usual = rng.gamma(3, 0.05, 600), rng.gamma(3, 0.05, 600)
    one, other = (judge_canary(side(mine * k), side(usual * k), NO_FLOOR) for k in (1.0, times))
    for metric in ("latency", "p99"):
        assert found(one, metric) == pytest.approx(found(other, metric), abs=1e-6)
    assert one.verdict is other.verdict


@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_the_excess_seen_from_the_other_side_is_its_opposite(n: int, m: int, data: st.DataObject) -> None:
    one = Sample(requests=n, errors=data.draw(st.integers(0, n)))
    other = Sample(requests=m, errors=data.draw(st.integers(0, m)))
    low, high = excess_interval(one, other, 0.95)
    opposite = excess_interval(other, one, 0.95)
    assert (low, high) == pytest.approx((-opposite[1], -opposite[0]))


@pytest.mark.parametrize(
    ("canary", "control", "verdict"),
    [
        ((20, 2000), (0, 2000), R),  # one in a hundred against none at all
        ((10, 1000), (0, 1000), W),  # p = 0.001, at a look of which there are many
        ((0, 1000), (0, 1000), P),
        ((1, 1200), (1, 1200), P),
        ((0, 600), (0, 600), W),  # none so far, yet half a point of excess is possible
        ((2, 1000), (0, 1000), W),
        ((60, 6000), (0, 6000), R),
        ((1230, 24000), (1200, 24000), P),  # an eighth of a point more, of five in a hundred
        ((1440, 24000), (1200, 24000), R),
    ],
)
def test_sparse_errors_and_a_control_without_any(
    canary: tuple[int, int], control: tuple[int, int], verdict: CanaryVerdict
) -> None:
    """kayenta#426 and spinnaker#5622: errors against a baseline of zeros passed there, as a ratio to 0 has no value."""
    sides = [Sample(requests=n, errors=e) for e, n in (canary, control)]
    result = judge_canary(sides[0], sides[1], ERRORS_ONLY)
    assert result.verdict is verdict, result.reason


def test_without_latencies_a_policy_that_asks_for_them_promotes_nothing() -> None:
    """flagger#1581: a metric whose name was wrong passed there."""
    quiet = Sample(requests=50_000, errors=0)
    result = judge_canary(quiet, quiet, THOROUGH)
    assert result.verdict is W and "had 0 latencies, needs 500" in result.reason


def test_a_change_too_small_to_feel_reverts_nothing() -> None:
    """Twice as slow, of 0.4 ms: beyond doubt, and nothing to anybody."""
    rng = np.random.default_rng(3)
    usual = rng.gamma(8, 0.00005, 4000)
    assert judge_canary(side(2 * usual), side(usual), THOROUGH).verdict is P
    assert judge_canary(side(2 * usual), side(usual), replace(THOROUGH, latency_floor=timedelta(0))).verdict is R


def test_too_few_requests_are_inconclusive_and_it_says_how_many_are_missing() -> None:
    rng = np.random.default_rng(5)
    result = judge_canary(side(rng.exponential(0.05, 3000)), side(rng.exponential(0.05, 3000)), THOROUGH)
    assert result.verdict is W
    assert 8_000 < result.missing + 3000 < 60_000
    assert f"{result.missing:,} are missing" in result.reason


def test_what_a_verdict_takes_is_known_before_anything_is_measured() -> None:
    """The number of the exponential tail is right: that many tell 10 % in p99 from nothing, both ways."""
    planned = requests_needed(THOROUGH)
    assert planned == plan_tail(THOROUGH) and 25_000 < planned < 35_000
    rng = np.random.default_rng(11)
    verdicts: dict[float, list[CanaryVerdict]] = {1.0: [], 1.1: []}
    for times, given_verdicts in verdicts.items():
        for _ in range(12):
            mine, usual = rng.exponential(0.05 * times, planned), rng.exponential(0.05, planned)
            given_verdicts.append(judge_canary(side(mine), side(usual), THOROUGH).verdict)
    assert verdicts[1.0].count(P) >= 11 and verdicts[1.1].count(R) == 12


def test_a_tail_that_alone_is_worse_is_seen() -> None:
    """The median is the same on both sides: a test of the middle alone, or of the mean, would pass it."""
    rng = np.random.default_rng(13)
    mine, usual = rng.exponential(0.05, 30_000), rng.exponential(0.05, 30_000)
    limit = np.quantile(usual, 0.95)
    mine = np.where(mine > limit, limit + 1.3 * (mine - limit), mine)
    result = judge_canary(side(mine), side(usual), THOROUGH)
    assert result.verdict is R and "p99" in result.reason
    assert abs(found(result, "latency")) < 0.05


def test_a_tail_needs_requests_enough_to_have_an_end() -> None:
    rng = np.random.default_rng(17)
    short = compare_tails(rng.exponential(1, 300), rng.exponential(1, 300), THOROUGH, 0.1)
    assert math.isinf(short.high) and not short.is_fine and not short.is_precise and short.needed >= plan_tail(THOROUGH)


def test_bursts_of_one_side_count_less_and_what_both_share_cancels() -> None:
    rng = np.random.default_rng(19)
    noise = rng.normal(size=(2, 2000))
    assert design_effect(noise[0], noise[1]) < 1.6
    own = np.repeat(rng.normal(size=(2, 40)), 50, axis=1)
    assert design_effect(noise[0] + own[0], noise[1] + own[1]) > 10
    drift = 5 * np.sin(np.linspace(0, 12, 2000))
    assert design_effect(noise[0] + drift, noise[1] + drift) < 1.6


def test_a_canary_that_runs_fuller_is_reverted() -> None:
    rng = np.random.default_rng(23)
    policy = CanaryPolicy(saturation="busy{instance}")
    calm, full = (tuple(rng.normal(level, 0.03, 60).clip(0, 1)) for level in (0.4, 0.7))
    seconds = [0.01] * 100
    usual = judge_canary(side(seconds, saturation=calm), side(seconds, saturation=calm[::-1]), policy)
    assert usual.verdict is P and "saturation" in usual.reason
    result = judge_canary(side(seconds, saturation=full), side(seconds, saturation=calm), policy)
    assert result.verdict is R and "saturation" in result.reason
    missing = judge_canary(side(seconds), side(seconds), policy)
    assert missing.verdict is W and "looks at saturation" in missing.reason


@given(st.integers(1, 10_000), st.integers(0, 10))
def test_a_look_is_due_after_a_tenth_more(requests: int, errors: int) -> None:
    before = Sample(requests=requests, errors=errors)
    assert not is_due(before, before)
    assert is_due(Sample(requests=math.ceil(requests * 1.1) + 1, errors=errors), before)


@given(
    st.lists(st.floats(0.001, 1), min_size=1, max_size=6),
    st.integers(1, 256),
    st.lists(st.integers(1, 256), min_size=1, max_size=6),
    st.booleans(),
)
def test_the_steps_rise_and_never_pass_the_full_weight(
    shares: list[float], full: int, peers: list[int], paired: bool
) -> None:
    steps = plan_steps(shares, full, peers, paired=paired and len(peers) > 2)
    weights = [step.weight for step in steps]
    assert weights == sorted(set(weights)) and weights[0] >= 1 and weights[-1] <= full
    assert [step.is_last for step in steps] == [False] * (len(steps) - 1) + [True]
