"""Predicted alerts per week: told only where history is long enough, with an interval that holds."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from quell.incidents.series import FloatArray
from quell.prevention.prediction import Prediction, predict_alerts

pytestmark = pytest.mark.unit

START = datetime(2026, 11, 2, tzinfo=UTC).timestamp()
WEEK = 7 * 86_400.0


def predict(times: FloatArray, weeks: float, ahead: float | None = None) -> Prediction:
    return predict_alerts(times, start=START, end=START + weeks * WEEK, ahead=timedelta(weeks=ahead or weeks))


def by_chance(per_week: float, weeks: float, seed: int) -> FloatArray:
    random = np.random.default_rng(seed)
    return START + np.sort(random.random(random.poisson(per_week * weeks))) * weeks * WEEK


def test_a_few_alerts_are_no_prediction_and_it_says_what_is_lacking() -> None:
    few = predict(START + np.arange(19) * 60_000.0, 2.2)
    assert not few.is_told and "19 alerts in 2.2 weeks of history, needs 53" in str(few)


def test_no_alert_and_no_history_predict_nothing() -> None:
    assert not predict(np.empty(0), 4.0).is_told
    assert not predict(np.empty(0), 0.0).is_told
    assert not predict(START + np.arange(99) * 600.0, 4.0, ahead=1e-12).is_told


def test_what_is_told_comes_true_within_a_quarter_four_times_in_five() -> None:
    """The promise of the module, on alerts that come by chance, past and coming counted alike."""
    held = told = inside = 0
    for seed in range(400):
        rate = 8.0 + 0.05 * seed
        prediction = predict(by_chance(rate, 6.0, seed), 6.0)
        if prediction.is_told:
            seen = len(by_chance(rate, 6.0, 10_000 + seed)) / 6.0
            told, held = told + 1, held + prediction.holds(seen)
            inside += prediction.low <= seen <= prediction.high
    assert told > 200 and held / told > 0.8
    assert inside / told > 0.93


def test_alerts_that_come_in_bursts_need_more_history() -> None:
    """Ten at a time are not ten witnesses of the rate."""
    even = START + (np.arange(100) + 0.5) * 6 * WEEK / 100
    bursts = np.repeat(START + (np.arange(10) + 0.5) * 6 * WEEK / 10, 10)
    assert predict(even, 6.0).is_told
    clumped = predict(bursts, 6.0)
    assert clumped.dispersion > 5 and not clumped.is_told
    assert clumped.high / clumped.low > predict(even, 6.0).high / predict(even, 6.0).low


def test_a_short_time_ahead_is_harder_to_tell() -> None:
    times = by_chance(20.0, 6.0, 3)
    assert predict(times, 6.0).is_told and not predict(times, 6.0, ahead=1.0).is_told
