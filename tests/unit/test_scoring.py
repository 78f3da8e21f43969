"""Scores of one series: causal, scale free, and honest about what is missing."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quell.detection.calibration import expected_alarms_per_week
from quell.detection.scoring import RECOMMENDED, VERDICTS, Scores, score_series
from quell.incidents.series import FloatArray
from quell.incidents.verdict import VerdictKind

pytestmark = pytest.mark.unit

MINUTE = 60.0
FIELDS = ("expected", "lower", "upper", "score", "verdict", "view", "decades")


def _times(rows: int, step: float = 300.0) -> FloatArray:
    return 1.7e9 + step * np.arange(rows)


def _daily(rows: int, *, per_day: int = 288, seed: int = 0) -> FloatArray:
    noise = np.random.default_rng(seed).normal(size=rows)
    return 100.0 + 30.0 * np.sin(2 * np.pi * np.arange(rows) / per_day) + 2.0 * noise


def _kinds(scores: Scores) -> set[VerdictKind]:
    return {VERDICTS[code] for code in np.unique(scores.verdict)}


@settings(max_examples=25, deadline=None)
@given(
    cut=st.integers(0, 900),
    seed=st.integers(0, 9),
    step=st.sampled_from([None, timedelta(minutes=5)]),
    missing=st.sampled_from([0.0, 0.1, 0.9]),
)
def test_scores_of_a_prefix_equal_those_of_the_whole(
    cut: int, seed: int, step: timedelta | None, missing: float
) -> None:
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(900) < missing, np.nan, _daily(900, seed=seed))
    times = np.cumsum(rng.choice([300.0, 300.0, 300.0, 0.0, -600.0, 1500.0], size=900))
    whole, prefix = score_series(times, values, step=step), score_series(times[:cut], values[:cut], step=step)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(prefix, name), getattr(whole, name)[:cut])


@settings(max_examples=15, deadline=None)
@given(scale=st.sampled_from([1e-9, 1e-4, 0.3, 7.0, 1e8]), seed=st.integers(0, 5))
def test_scores_do_not_depend_on_the_unit(scale: float, seed: int) -> None:
    values = _daily(1500, seed=seed)
    values[1200] += 60.0
    one, other = score_series(_times(1500), values), score_series(_times(1500), values * scale)
    np.testing.assert_allclose(other.score, one.score, atol=1e-6)
    np.testing.assert_allclose(other.expected, one.expected * scale, rtol=1e-9)


def test_a_spike_is_anomalous_at_its_first_row_and_outside_its_band() -> None:
    values = _daily(3000)
    values[2500:2510] += 120.0
    scores = score_series(_times(3000), values)
    assert VERDICTS[scores.verdict[2500]] is VerdictKind.ANOMALOUS
    assert scores.score[2500] >= RECOMMENDED
    assert values[2500] > scores.upper[2500] > scores.expected[2500] > scores.lower[2500]


def test_a_quiet_daily_series_raises_next_to_nothing() -> None:
    scores = score_series(_times(20_000), _daily(20_000))
    weeks = 20_000 / (7 * 288)
    assert np.count_nonzero(scores.score >= RECOMMENDED) <= expected_alarms_per_week(RECOMMENDED) * weeks


def test_the_first_hundred_values_are_warming_up() -> None:
    scores = score_series(_times(300), _daily(300))
    assert {VERDICTS[code] for code in scores.verdict[:100]} == {VerdictKind.WARMING_UP}
    assert VerdictKind.WARMING_UP not in {VERDICTS[code] for code in scores.verdict[130:]}
    assert not scores.score[:100].any()


def test_a_missing_value_is_no_data_and_teaches_nothing() -> None:
    values = _daily(2000)
    values[1500:1520] = [np.nan, np.inf] * 10
    scores = score_series(_times(2000), values)
    assert {VERDICTS[code] for code in scores.verdict[1500:1520]} == {VerdictKind.NO_DATA}
    assert not scores.score[1500:1520].any()
    assert np.isfinite(scores.expected[1520:]).all()


@pytest.mark.parametrize("level", [0.0, 5.0, -3.0])
def test_a_constant_series_is_normal_and_any_move_is_not(level: float) -> None:
    values = np.full(1000, level)
    assert _kinds(score_series(_times(1000), values)) == {VerdictKind.WARMING_UP, VerdictKind.NORMAL}
    values[900] += 1.0
    assert VERDICTS[score_series(_times(1000), values).verdict[900]] is VerdictKind.ANOMALOUS


def test_a_fall_to_zero_where_zero_was_never_seen_is_a_verdict_of_its_own() -> None:
    values = _daily(2000)
    values[1700:] = 0.0
    scores = score_series(_times(2000), values)
    assert VERDICTS[scores.verdict[1700]] is VerdictKind.DROP_TO_ZERO


@pytest.mark.parametrize(("per_day", "step"), [(24, 3600.0), (144, 600.0), (48, 1800.0), (1, 86_400.0), (1440, 60.0)])
def test_it_works_at_every_usual_step(per_day: int, step: float) -> None:
    rows = max(10 * per_day, 600)
    values = _daily(rows, per_day=max(per_day, 7))
    values[-5] += 150.0
    scores = score_series(_times(rows, step), values)
    assert scores.score[-5] >= RECOMMENDED
    assert np.count_nonzero(scores.score >= RECOMMENDED) <= 10


def test_a_gap_keeps_the_phase_of_the_day() -> None:
    keep = np.ones(4000, dtype=bool)
    keep[2000:2100] = False
    times, values = _times(4000)[keep], _daily(4000)[keep]
    expected = score_series(times, values).expected
    assert np.median(np.abs(values - expected)[2100:]) < 5.0


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_short_series_have_one_score_per_row(rows: int) -> None:
    scores = score_series(_times(rows), _daily(rows))
    assert all(len(getattr(scores, name)) == rows for name in FIELDS)
    assert _kinds(scores) <= {VerdictKind.WARMING_UP}


def _alarms(values: FloatArray, *, step: float = 300.0, after: int = 0) -> int:
    scores = score_series(_times(len(values), step), values)
    return int(np.count_nonzero(scores.score[after:] >= RECOMMENDED))


def _budget(rows: int, *, step: float = 300.0) -> float:
    """What a series may cost at the recommended threshold, with the factor of 1.5 that the calibration holds to."""
    return 1.5 * expected_alarms_per_week(RECOMMENDED) * rows * step / (7 * 86_400.0)


def test_a_clock_change_is_learned_within_its_day() -> None:
    """From then on everything happens an hour earlier; the days after cost no more than others."""
    before, after = _daily(28 * 288), _daily(30 * 288, seed=100)[12 : 12 + 14 * 288]
    values = np.concatenate([before, after])
    assert _alarms(values, after=len(before) + 288) <= _budget(len(after))
    assert _alarms(values, after=len(before)) <= 10


@pytest.mark.parametrize("rate", [0.02, 0.3, 3.0])
def test_sparse_counts_keep_to_the_budget(rate: float) -> None:
    rows = 8 * 7 * 288
    values = np.random.default_rng(6).poisson(rate, rows).astype(np.float64)
    assert _alarms(values) <= _budget(rows)


def test_heavy_tails_cost_at_most_a_few_budgets_and_bursts_are_learned() -> None:
    """A tail without variance breaks its records for ever; a burst that comes every day is how the series is."""
    rng, rows = np.random.default_rng(7), 8 * 7 * 288
    assert _alarms(rng.pareto(2.5, rows)) <= 4 * _budget(rows)
    bursts = 10.0 + rng.normal(size=rows)
    for start in range(100, rows - 6, 288):
        bursts[start : start + 6] += 80.0
    assert _alarms(bursts, after=rows // 2) <= _budget(rows)


def test_a_counter_that_begins_anew_is_one_anomaly_and_not_a_lasting_one() -> None:
    """Rates are what to watch; a raw counter still has its resets told apart from its growth."""
    rows = 14 * 288
    values = np.cumsum(np.random.default_rng(8).poisson(20.0, rows)).astype(np.float64)
    values[3000:] -= values[3000]
    scores = score_series(_times(rows), values)
    assert scores.score[3000] >= RECOMMENDED
    assert np.count_nonzero(scores.score[3001:] >= RECOMMENDED) <= 3


def test_irregular_rows_are_judged_without_inventing_a_day() -> None:
    rng, rows = np.random.default_rng(9), 5000
    times = 1.7e9 + np.cumsum(rng.exponential(300.0, rows).clip(20.0))
    values = 50.0 + rng.normal(size=rows)
    values[4000] += 60.0
    scores = score_series(times, values)
    assert scores.score[4000] >= RECOMMENDED
    assert np.count_nonzero(scores.score >= RECOMMENDED) <= _budget(rows) + 1
