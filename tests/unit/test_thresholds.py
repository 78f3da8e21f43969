"""Limits from history: they keep to the budget, say what history cannot show, and never learn from incidents."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.prevention.backtest import Trouble, backtest_limits
from quell.prevention.history import alarm_rate, find_episodes, mask_periods, observed_weeks, sustained
from quell.prevention.limits import Limits
from quell.prevention.threshold import Budget, propose_limits

pytestmark = pytest.mark.unit

START = datetime(2026, 11, 2, tzinfo=UTC)
BUDGET = Budget(alarms_per_week=0.5, hold=timedelta(minutes=2))


def matrix(values: FloatArray, step_seconds: float = 60.0) -> SeriesMatrix:
    values = values.reshape(len(values), -1)
    times = START.timestamp() + step_seconds * np.arange(len(values))
    labels = tuple({"instance": str(i)} for i in range(values.shape[1]))
    return SeriesMatrix(timestamps=times, values=values, labels=labels)


def signal(direction: Direction = Direction.HIGH, min_effect: float = 0.01) -> Signal:
    return Signal(
        name="s",
        query="q",
        kind=SignalKind.OTHER,
        direction=direction,
        unit="",
        step=timedelta(minutes=1),
        min_effect=min_effect,
    )


def noise(weeks: float, seed: int = 3) -> FloatArray:
    return 10 + np.random.default_rng(seed).standard_normal(int(weeks * 7 * 1440))


def test_a_long_history_gives_an_observed_limit_inside_the_budget() -> None:
    history = matrix(noise(8))
    proposal = propose_limits(signal(), history, BUDGET)
    assert proposal.upper and proposal.upper.basis == "observed" and proposal.lower is None
    alarms = find_episodes(history, proposal.upper.value, steps=proposal.steps, is_upper=True)
    assert alarm_rate(len(alarms), observed_weeks(history)).per_week <= BUDGET.alarms_per_week
    fresh = matrix(noise(20, seed=4))
    again = find_episodes(fresh, proposal.upper.value, steps=proposal.steps, is_upper=True)
    assert len(again) / 20 <= 3 * BUDGET.alarms_per_week


def test_a_short_history_says_how_short_and_is_extrapolated_beyond_what_was_seen() -> None:
    history = matrix(noise(0.02))
    proposal = propose_limits(signal(), history, BUDGET)
    assert proposal.upper and proposal.upper.basis == "extrapolated" and not proposal.is_history_long_enough
    assert "3.35 hours is too short" in proposal.upper.reason and "needs 5.99 weeks" in proposal.upper.reason
    held = sustained(history.values, proposal.steps, is_upper=True)
    assert proposal.upper.value >= np.nanmax(held)


def test_too_few_samples_give_no_limit_and_the_reason() -> None:
    proposal = propose_limits(signal(), matrix(noise(1)[:12]), BUDGET)
    assert proposal.upper is None and "needs 30" in proposal.reasons[0]


@pytest.mark.parametrize(
    ("min_effect", "value", "reason"), [(0.05, 0.05, "of no concern"), (0.0, None, "no spread and min_effect is 0")]
)
def test_a_constant_series_gets_the_smallest_effect_that_matters(
    min_effect: float, value: float | None, reason: str
) -> None:
    proposal = propose_limits(signal(min_effect=min_effect), matrix(np.zeros(500)), BUDGET)
    assert (proposal.upper.value if proposal.upper else None) == value
    assert reason in proposal.reasons[0]


def test_a_missing_history_is_no_history() -> None:
    empty = SeriesMatrix(timestamps=np.empty(0), values=np.empty((0, 0)), labels=())
    assert propose_limits(signal(), empty, BUDGET).upper is None
    assert propose_limits(signal(), matrix(np.full(500, np.nan)), BUDGET).upper is None


def test_a_ratio_that_would_need_a_limit_above_one_gets_none() -> None:
    ratio = Signal(
        name="s",
        query="q",
        kind=SignalKind.ERROR_RATIO,
        direction=Direction.HIGH,
        unit="ratio",
        step=timedelta(minutes=1),
        min_effect=0.01,
    )
    values = np.random.default_rng(1).uniform(0.2, 0.9, 600)
    proposal = propose_limits(ratio, matrix(values), BUDGET)
    assert proposal.upper is None and "never be exceeded" in proposal.reasons[0]


def test_both_sides_mirror_each_other() -> None:
    values = noise(8)
    up = propose_limits(signal(Direction.BOTH), matrix(values), BUDGET)
    down = propose_limits(signal(Direction.BOTH), matrix(20 - values), BUDGET)
    assert up.upper and up.lower and down.upper and down.lower
    assert up.upper.value - 10 == pytest.approx(10 - down.lower.value, abs=0.15)


def test_incidents_are_not_learned_from() -> None:
    values = noise(8)
    values[5000:5600] = 500.0
    trouble = (START + timedelta(minutes=5000), START + timedelta(minutes=5600))
    learned = propose_limits(signal(), mask_periods(matrix(values), [trouble]), BUDGET)
    assert learned.upper and learned.upper.value < 20


def test_an_alarm_needs_every_sample_of_its_holding_time() -> None:
    values = np.array([0, 9, 9, 0, 9, np.nan, 9, 9, 9, 9, 0], dtype=float)
    episodes = find_episodes(matrix(values), 5, steps=3, is_upper=True)
    assert [(e.at - START.timestamp()) / 60 for e in episodes] == [8.0]


def test_the_backtest_counts_false_alarms_apart_from_catches() -> None:
    values = np.full(7 * 1440 * 2, 1.0)
    values[100:110] = 9.0  # a false alarm
    values[5000:5060] = 9.0  # an incident
    values[9000:9060] = 4.0  # one that stays below the limit
    troubles = [
        Trouble(incident=name, start=START + timedelta(minutes=at - 3), end=START + timedelta(minutes=at + 60))
        for name, at in (("INC-1", 5000), ("INC-2", 9000))
    ]
    result = backtest_limits(matrix(values), Limits(upper=5.0), steps=3, troubles=troubles)
    assert result.rate.count == 1 and result.rate.weeks == pytest.approx(2.0, abs=0.02)
    assert result.catches[0].after == timedelta(minutes=5) and result.catches[1].after is None
    assert "catches 1 of 2 incidents" in str(result)


def test_maintenance_counts_neither_way() -> None:
    values = np.full(5000, 1.0)
    values[100:110] = 9.0
    window = (START + timedelta(minutes=90), START + timedelta(minutes=120))
    result = backtest_limits(matrix(values), Limits(upper=5.0), steps=3, troubles=[], excluded=[window])
    assert result.rate.count == 0


def test_the_interval_of_a_rate_is_the_exact_one() -> None:
    none = alarm_rate(0, 4.0)
    assert (none.low, none.high) == (0.0, pytest.approx(3.6889 / 4, rel=1e-3))
    five = alarm_rate(5, 1.0)
    assert (five.low, five.high) == (pytest.approx(1.6235, rel=1e-3), pytest.approx(11.6683, rel=1e-3))
    assert alarm_rate(0, 0.0).high == float("inf")


def test_a_limit_does_not_depend_on_the_order_of_the_series() -> None:
    values = np.column_stack([noise(4, seed) for seed in (1, 2, 3)])
    one = propose_limits(signal(), matrix(values), BUDGET)
    other = propose_limits(signal(), matrix(values[:, ::-1].copy()), BUDGET)
    assert one.upper == other.upper
