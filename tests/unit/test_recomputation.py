"""Recomputing a signal's limits: fast, and the same as plain counting; the evidence beside it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.prevention.backtest import Trouble
from quell.prevention.history import find_episodes, mask_periods, sustained, tightest_level
from quell.prevention.limits import Limits
from quell.prevention.recomputation import recompute_limits
from quell.prevention.threshold import Budget

pytestmark = pytest.mark.unit

START = datetime(2026, 11, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BUDGET = Budget(alarms_per_week=1.0, hold=timedelta(minutes=2))
SIGNAL = Signal(name="s", query="q", kind=SignalKind.OTHER, direction=Direction.HIGH, unit="", step=MINUTE)


def matrix(values: FloatArray) -> SeriesMatrix:
    values = values.reshape(len(values), -1)
    times = START.timestamp() + 60.0 * np.arange(len(values))
    return SeriesMatrix(timestamps=times, values=values, labels=tuple({"i": str(i)} for i in range(values.shape[1])))


def rough(seed: int, rows: int = 300, series: int = 3) -> FloatArray:
    """Few distinct values, so that there are ties, and holes."""
    random = np.random.default_rng(seed)
    values = random.integers(0, 12, (rows, series)).astype(np.float64)
    values[random.random((rows, series)) < 0.05] = np.nan
    return values


def plain_alarms(values: FloatArray, limit: float, steps: int, *, is_upper: bool) -> list[tuple[int, int]]:
    """(row, series) of every alarm, sample by sample."""
    found: list[tuple[int, int]] = []
    for series in range(values.shape[1]):
        run = 0
        for row, value in enumerate(values[:, series]):
            run = run + 1 if (value > limit if is_upper else value < limit) else 0
            if run == steps:
                found.append((row, series))
    return sorted(found)


@pytest.mark.parametrize("is_upper", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 400])
def test_alarms_are_those_of_a_plain_count(steps: int, is_upper: bool) -> None:
    values = rough(steps)
    for limit in (1.0, 3.0, 6.5, 9.0):
        episodes = find_episodes(matrix(values), limit, steps=steps, is_upper=is_upper)
        found = [(round((e.at - START.timestamp()) / 60), e.series) for e in episodes]
        assert found == plain_alarms(values, limit, steps, is_upper=is_upper)


@pytest.mark.parametrize("steps", range(1, 9))
def test_what_was_kept_up_is_the_least_of_each_window(steps: int) -> None:
    values = rough(7, rows=60)
    held = sustained(values, steps, is_upper=True)
    windows = np.lib.stride_tricks.sliding_window_view(values, steps, axis=0).min(axis=-1)
    assert np.isnan(held[: steps - 1]).all()
    np.testing.assert_array_equal(held[steps - 1 :], windows)


@pytest.mark.parametrize("most", [0, 1, 3, 10, 40, 10_000])
@pytest.mark.parametrize("seed", range(6))
def test_the_tightest_level_is_the_last_before_there_are_too_many_alarms(seed: int, most: int) -> None:
    values = rough(seed)
    held = sustained(values, 2, is_upper=True)
    levels = np.unique(held[np.isfinite(held)])[::-1]
    counts = [len(plain_alarms(values, level, 2, is_upper=True)) for level in levels]
    kept = levels[0]
    for level, count in zip(levels, counts, strict=True):
        if count > most:
            break
        kept = level
    assert tightest_level(held, most) == kept


def test_the_tightest_level_looks_as_deep_as_it_must() -> None:
    """One alarm of ten thousand samples hides all others behind the highest samples."""
    values = np.concatenate([np.linspace(50, 60, 10_000), np.zeros(10), np.tile([5.0, 0.0], 100)])
    assert tightest_level(values[:, np.newaxis], 1) == 5.0
    assert tightest_level(values[:, np.newaxis], 101) == 0.0
    assert np.isnan(tightest_level(np.full((5, 1), np.nan), 1))


def test_periods_out_of_the_history_mask_nothing() -> None:
    one = matrix(rough(1))
    before = (START - timedelta(days=2), START - timedelta(days=1))
    np.testing.assert_array_equal(mask_periods(one, [before]).values, one.values)
    edge = (START + 3 * MINUTE, START + 5 * MINUTE)  # both ends count
    assert np.flatnonzero(np.isnan(mask_periods(matrix(np.ones(9)), [edge]).values[:, 0])).tolist() == [3, 4, 5]


def days_of_noise(days: int) -> FloatArray:
    return 10 + np.random.default_rng(1).standard_normal(days * 1440)


def test_a_tighter_limit_catches_an_incident_that_todays_misses_and_says_how_many_alerts_come() -> None:
    values = days_of_noise(42)
    values[30_000:30_030] += 4.0
    trouble = Trouble(incident="INC-1", start=START + 30_000 * MINUTE, end=START + 30_030 * MINUTE)
    found = recompute_limits(SIGNAL, matrix(values), BUDGET, troubles=[trouble], old=Limits(upper=20.0))
    assert found.old is not None and found.old.catches[0].after is None
    assert found.new.catches[0].after is not None and found.new.catches[0].after < timedelta(minutes=10)
    assert found.new.rate.per_week <= 1.0
    assert "no prediction" in str(found.prediction)  # a handful of alerts in six weeks tell no rate


def test_maintenance_is_neither_learned_from_nor_replayed() -> None:
    values = days_of_noise(42)
    values[20_000:20_300] = 99.0
    window = (START + 20_000 * MINUTE, START + 20_300 * MINUTE)
    found = recompute_limits(SIGNAL, matrix(values), BUDGET, excluded=[window], old=Limits(upper=50.0))
    assert found.limits.upper is not None and found.limits.upper < 15
    assert found.old is not None and found.old.rate.count == 0


def test_without_a_limit_in_force_there_is_nothing_to_compare_with() -> None:
    assert recompute_limits(SIGNAL, matrix(days_of_noise(7)), BUDGET).old is None


def test_an_empty_history_recomputes_to_nothing() -> None:
    empty = SeriesMatrix(timestamps=np.empty(0), values=np.empty((0, 0)), labels=())
    found = recompute_limits(SIGNAL, empty, BUDGET)
    assert found.limits == Limits() and not found.prediction.is_told
