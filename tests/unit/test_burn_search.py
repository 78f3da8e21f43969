"""Burn-rate alerts recomputed: as the sweep judges, within the budget of false alarms, and never for a lucky detail."""

from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pytest

from quell.config.burn_windows import burn_windows
from quell.detection.burn_rate import burns
from quell.incidents.series import FloatArray
from quell.incidents.slo import BurnWindow, Slo
from quell.prevention.backtest import Trouble
from quell.prevention.burn_history import BurnHistory, backtest_burns, share_reached, with_factor
from quell.prevention.burn_search import LEAST_FACTOR, BurnSearch, scaled, search_burns

pytestmark = pytest.mark.unit

START = datetime(2026, 10, 5, tzinfo=UTC)
STEP = timedelta(minutes=5)
SLO = Slo(objective=0.999, period=timedelta(days=30))
DAY = 288  # rows
HOUR = 12


@cache
def standard() -> tuple[BurnWindow, ...]:
    return burn_windows()


def history(errors: FloatArray) -> BurnHistory:
    """The ratio of each window as the mean of so many rows, as it is where every row has the same requests."""
    spans = {span for window in scaled(standard(), STEP / 4, SLO.period) for span in (window.long, window.short)}
    sums = np.append(0.0, np.cumsum(errors))
    rows = np.arange(1, len(errors) + 1)
    ratios: dict[timedelta, FloatArray] = {}
    for span in spans:
        first = np.maximum(rows - max(1, round(span / STEP)), 0)
        ratios[span] = ((sums[rows] - sums[first]) / (rows - first))[:, np.newaxis]
    times = START.timestamp() + STEP.total_seconds() * np.arange(len(errors))
    return BurnHistory(slo=SLO, timestamps=times, labels=({},), ratios=ratios)


def calm(days: int = 28) -> FloatArray:
    return np.random.default_rng(4).uniform(0.0, 0.0004, days * DAY)


def incident(errors: FloatArray, row: int, rows: int, ratio: float) -> Trouble:
    errors[row : row + rows] = ratio
    return Trouble(incident=f"INC-{row}", start=START + row * STEP, end=START + (row + rows) * STEP)


def search(errors: FloatArray, troubles: tuple[Trouble, ...] = (), *, budget: float = 1.0) -> BurnSearch:
    return search_burns(history(errors), standard(), standard(), budget=budget, troubles=troubles)


def test_the_backtest_fires_where_the_sweep_does() -> None:
    """Row by row against the judgement of a sweep."""
    errors = calm(9)
    incident(errors, 3 * DAY, 30, 0.05)
    incident(errors, 6 * DAY, 3, 0.5)
    known = history(errors)
    reached = share_reached(known, standard()).values[:, 0]
    for row in range(0, len(errors), 7):
        found = burns(SLO, standard(), {span: float(values[row, 0]) for span, values in known.ratios.items()})
        assert (reached[row] > 1.0) == any(burn.is_firing for burn in found)
    assert (reached > 1.0).any()


def test_a_calm_history_leaves_the_standard() -> None:
    found = search(calm())
    assert found.windows == standard() and found.is_within_budget
    assert found.new.rate.count == 0 and all("stays" in reason for reason in found.reasons)


def test_a_slow_burn_that_the_standard_finds_late_is_caught_earlier() -> None:
    """1 % of errors burn 10 times too fast: too little for 14.4 times over an hour."""
    errors = calm()
    troubles = tuple(incident(errors, day * DAY + 40, 8 * HOUR, 0.01) for day in (5, 12, 19, 24))
    found = search(errors, troubles)
    assert found.is_within_budget and found.new.caught == found.old.caught == 4
    before = sum(c.after.total_seconds() for c in found.old.catches if c.after is not None)
    after = sum(c.after.total_seconds() for c in found.new.catches if c.after is not None)
    assert after < before / 3
    assert found.new.rate.count == 0


def test_bursts_that_were_no_incident_cost_no_more_than_the_budget() -> None:
    """A job that fails every morning for half an hour: four weeks of it at the standard, 28 false alarms."""
    errors = calm()
    for day in range(28):
        errors[day * DAY + 100 : day * DAY + 106] = 0.05
    troubles = tuple(incident(errors, day * DAY + 200, 2 * HOUR, 0.5) for day in (7, 21))
    found = search(errors, troubles)
    assert found.old.rate.count >= 28 and found.new.rate.count == 0 and found.is_within_budget
    assert found.new.caught == 2


def test_a_burn_that_goes_on_after_its_incident_is_no_false_alarm() -> None:
    errors = calm()
    trouble = incident(errors, 10 * DAY, 3 * HOUR, 0.5)
    found = backtest_burns(history(errors), standard(), [trouble])
    assert found.rate.count == 0 and found.caught == 1


def test_what_history_does_not_cover_twice_stays_as_it_is() -> None:
    errors = calm(4)
    found = search(errors, (incident(errors, 2 * DAY, 2 * HOUR, 0.01),))
    assert found.windows[2] == standard()[2]
    assert found.reasons[2].endswith("stays: history is shorter than twice its long window")
    assert search(calm(1)[: 2 * HOUR - 1]).windows == standard()


def test_no_factor_is_below_the_rate_at_which_the_budget_lasts() -> None:
    errors = np.zeros(28 * DAY)
    troubles = tuple(incident(errors, day * DAY, 6 * HOUR, 0.0012) for day in range(3, 27, 3))
    found = search(errors, troubles)
    assert all(window.factor(SLO.period) >= LEAST_FACTOR - 1e-9 for window in found.windows)


def test_a_gain_too_small_to_matter_changes_nothing() -> None:
    """Half of all requests fail: any windows see that within a row or two."""
    errors = calm()
    troubles = tuple(incident(errors, day * DAY, 2 * HOUR, 0.9) for day in (5, 12))
    found = search(errors, troubles)
    new = [c.after for c in found.new.catches]
    assert found.windows == standard() or sum(map(seconds, new)) < 0.95 * sum(
        seconds(c.after) for c in found.old.catches
    )


def seconds(after: timedelta | None) -> float:
    assert after is not None
    return after.total_seconds()


def test_without_windows_that_keep_to_the_budget_it_says_so() -> None:
    """Everything fails every day, and nobody called it an incident."""
    errors = calm()
    for day in range(28):
        errors[day * DAY : day * DAY + 6 * HOUR] = 1.0
    found = search(errors)
    assert not found.is_within_budget and "no windows keep to 1 false alarms per week" in found.reasons[-1]


def test_a_factor_and_its_share_of_the_budget_say_the_same() -> None:
    for window in standard():
        again = with_factor(window, window.factor(SLO.period), SLO.period)
        assert again.factor(SLO.period) == pytest.approx(window.factor(SLO.period))
