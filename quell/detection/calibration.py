"""What a score means: how many false alarms a series raises in a week when that score is the threshold.

A false alarm is an episode of consecutive rows at or above the threshold, outside every labelled period. The curve is
measured (`python -m benchmarks.calibration`): 496 series-weeks of 29 company metrics (AIOps challenge 2018,
first halves) and 48 five-minute series of the Numenta Anomaly Benchmark. Over 200 random splits of those series into
halves, the rate of one half lay within a factor of 1.5 of the other's in 89 % or more of the splits down to 0.76 a
week, in 78 % at 0.5 and in 58 % at 0.3. Beyond the ends of the curve its last slope is continued.
"""

from datetime import timedelta

import numpy as np

from quell.incidents.series import FloatArray

THRESHOLD_DECADES = 2.67  # where the score is 0.5: about 2 false alarms per series-week
SOFTNESS = 0.3  # decades per unit of the score's logit
FINE_STEP = timedelta(minutes=5)  # at this step and below, the step does not matter; above it, rows are fewer
MOST_DECADES = 20.0

_DECADES = np.array([2.2, 2.4, 2.5, 2.55, 2.6, 2.64, 2.67, 2.68, 2.75, 2.8, 3.0, 3.3, 3.7])
_PER_WEEK = np.array([134.2, 97.3, 38.9, 15.4, 5.76, 3.06, 1.92, 1.13, 0.898, 0.761, 0.492, 0.379, 0.310])
_LOG_PER_WEEK = np.log(_PER_WEEK)
_LAST_SLOPE = (_LOG_PER_WEEK[-1] - _LOG_PER_WEEK[-2]) / (_DECADES[-1] - _DECADES[-2])


def score_of(decades: FloatArray, *, limit: float = THRESHOLD_DECADES) -> FloatArray:
    """The score of a rarity: 0.5 at the limit (of no other one: the recommended threshold), rising with it."""
    return np.asarray(1.0 / (1.0 + np.exp(-(decades - limit) / SOFTNESS)), dtype=np.float64)


def decades_of(score: float) -> float:
    """The rarity that has this score; for 0 and 1 the ends of the scale.

    >>> decades_of(0.5)
    2.67
    """
    if not 0.0 < score < 1.0:
        return 0.0 if score <= 0.0 else MOST_DECADES
    return float(np.clip(THRESHOLD_DECADES + SOFTNESS * np.log(score / (1.0 - score)), 0.0, MOST_DECADES))


def expected_alarms_per_week(score: float, *, step: timedelta = FINE_STEP) -> float:
    """How many false alarms a series raises per week at this threshold."""
    return alarms_per_week(decades_of(score), step=step)


def alarms_per_week(decades: float, *, step: timedelta = FINE_STEP) -> float:
    """How often a series is as rare as that in a week without any trouble."""
    known = float(np.interp(decades, _DECADES, _LOG_PER_WEEK))
    beyond = max(decades - float(_DECADES[-1]), 0.0) * float(_LAST_SLOPE)
    return float(np.exp(known + beyond)) * _share_of_rows(step)


def threshold_for(alarms_per_week: float, *, step: timedelta = FINE_STEP) -> float:
    """The threshold in decades that keeps to this budget; never below the curve's beginning.

    >>> threshold_for(1.92)
    2.67
    """
    wanted = float(np.log(max(alarms_per_week, 1e-12) / _share_of_rows(step)))
    if wanted < _LOG_PER_WEEK[-1]:
        beyond = (wanted - float(_LOG_PER_WEEK[-1])) / float(_LAST_SLOPE)
        return min(float(_DECADES[-1]) + beyond, MOST_DECADES)
    return float(np.interp(wanted, _LOG_PER_WEEK[::-1], _DECADES[::-1]))


def _share_of_rows(step: timedelta) -> float:
    return min(FINE_STEP / step, 1.0) if step > timedelta(0) else 1.0
