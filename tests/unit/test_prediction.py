"""Predicted alerts per week: told only where history is long enough, with an interval that holds."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from quell.incidents.series import FloatArray
from quell.prevention.prediction import Prediction, pool_alerts, predict_alerts

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


def test_a_history_with_few_alerts_leans_on_the_others() -> None:
    """Three histories at one minute and three at five: the detector alerts once in a thousand rows on all of them."""
    pool = pool_alerts([100, 95, 105, 20, 19, 21], [100_000, 100_000, 100_000, 20_000, 20_000, 20_000])
    assert pool is not None and pool.per_sample == pytest.approx(0.001)
    prior = pool.prior(timedelta(minutes=5))
    assert prior.per_week == pytest.approx(2.016)
    few = np.array([START + 3600.0, START + 90_000.0, START + 200_000.0])
    alone = predict_alerts(few, start=START, end=START + 0.5 * WEEK, ahead=timedelta(weeks=1))
    pooled = predict_alerts(few, start=START, end=START + 0.5 * WEEK, ahead=timedelta(weeks=1), prior=prior)
    assert alone.per_week == 6.0 and pooled.per_week == pytest.approx(2.016, rel=0.05)
    assert pooled.high < alone.high and not pooled.is_told


def test_histories_that_differ_keep_to_their_own() -> None:
    pool = pool_alerts([400, 20, 3, 150, 60], [100_000] * 5)
    assert pool is not None and pool.shape < 2.0
    prior = pool.prior(timedelta(minutes=1))
    own = np.linspace(START, START + 10 * WEEK - 1.0, 400)
    found = predict_alerts(own, start=START, end=START + 10 * WEEK, ahead=timedelta(weeks=10), prior=prior)
    assert found.per_week == pytest.approx(40.0, rel=0.01)


def test_too_few_histories_or_no_alert_are_no_pool() -> None:
    assert pool_alerts([10, 10, 10, 10], [1000] * 4) is None
    assert pool_alerts([0] * 9, [1000] * 9) is None
    assert pool_alerts([5] * 9, [1000] * 8 + [0]) is None


def test_pooled_rates_come_nearer_to_the_true_ones_than_each_alone() -> None:
    """Gamma-Poisson, as it is assumed: the squared error of the pooled rates is smaller."""
    random = np.random.default_rng(11)
    truth = random.gamma(9.0, 1.0, 200)
    counts = random.poisson(truth).tolist()
    pool = pool_alerts(counts, [10_080] * 200)
    assert pool is not None and 5.0 < pool.shape < 16.0
    prior = pool.prior(timedelta(minutes=1))
    found = [
        predict_alerts(
            np.full(count, START), start=START, end=START + WEEK, ahead=timedelta(weeks=1), prior=prior
        ).per_week
        for count in counts
    ]
    assert np.mean((np.array(found) - truth) ** 2) < 0.8 * np.mean((np.array(counts) - truth) ** 2)
