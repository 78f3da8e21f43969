"""A budget of false alarms and a threshold are two names of one thing."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.detection.calibration import SOFTNESS, decades_of, expected_alarms_per_week, score_of, threshold_for

pytestmark = pytest.mark.unit


@given(st.floats(0.01, 100.0), st.sampled_from([timedelta(seconds=5), timedelta(minutes=5), timedelta(hours=1)]))
def test_the_threshold_of_a_budget_spends_that_budget(budget: float, step: timedelta) -> None:
    threshold = threshold_for(budget, step=step)
    score = float(score_of(np.array([threshold]))[0])
    if 2.3 < threshold < 12.0:
        assert expected_alarms_per_week(score, step=step) == pytest.approx(budget, rel=1e-3)


@given(st.floats(1.6, 12.0))
def test_scores_and_decades_translate_both_ways(decades: float) -> None:
    """As exactly as a float64 beside 1 can say it: at 12 decades its last digit is worth 0.001 of one."""
    score = float(score_of(np.array([decades]))[0])
    last_digit = SOFTNESS * np.finfo(np.float64).eps / (1.0 - score)
    assert decades_of(score) == pytest.approx(decades, abs=1e-9 + last_digit)


def test_the_recommended_threshold_costs_about_two_alarms_a_week() -> None:
    assert expected_alarms_per_week(0.5) == pytest.approx(1.92)


def test_a_smaller_budget_means_a_higher_threshold() -> None:
    budgets = [20.0, 2.0, 0.5, 0.1, 0.001]
    thresholds = [threshold_for(budget) for budget in budgets]
    assert thresholds == sorted(thresholds)


def test_hourly_rows_spend_less_of_the_budget() -> None:
    assert expected_alarms_per_week(0.5, step=timedelta(hours=1)) < 0.5 * expected_alarms_per_week(0.5)
