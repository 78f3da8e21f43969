"""How wide the band must be: from the residuals of the past and the number of false alarms that people accept.

Assumption: the residuals to come are drawn like those of the past. Below 500 samples their shape cannot be seen, so a
normal shape is assumed and Student's t pays for the uncertain spread; from 500 samples on the tail itself is continued.
"""

from datetime import timedelta

import numpy as np
from scipy.special import stdtrit

from quell.detection.columns import IntArray, quantile_of_sorted, robust_spread, sort_columns
from quell.incidents.series import FloatArray
from quell.incidents.signal import Direction, Signal

WEEK = timedelta(weeks=1)
TAIL_SAMPLES = 500
# Where the tail is taken hold of: quantiles at these shares of the largest residuals, each half of the one before.
ANCHORS = (0.08, 0.04, 0.02)
LARGEST_SHAPE = 0.3  # of the tail (generalised Pareto); beyond it a variance estimate is worth little
SHAPE_PRIOR_SAMPLES = 5000  # the shape counts half at this many samples: below, it is mostly noise
# An excess seen this often is not rare, unless it fills less than a 200th of the past (an incident nobody recorded).
REPEATED = 10
REPEATED_IN_FEW = 3  # the same below 500 samples
REPEATED_SHARE = 0.005
# Nobody is woken for less than this share of the usual level, whatever the spread says.
RELATIVE_FLOOR = 0.01
TINY = 1e-9


def tail_share(signal: Signal, false_alarms_per_week: float) -> float:
    """The chance, per judged point and side, that uses up the budget of one series."""
    points_per_week = WEEK / signal.step
    sides = 2 if signal.direction is Direction.BOTH else 1
    return float(np.clip(false_alarms_per_week / points_per_week / sides, 1e-12, 0.25))


def scale_of(residuals: FloatArray, level: FloatArray) -> FloatArray:
    """The robust spread of each column, never zero: a constant series still has a millionth of its level."""
    spread = np.nan_to_num(robust_spread(residuals), nan=0.0)
    return np.maximum(spread, np.maximum(1e-6 * np.abs(np.nan_to_num(level)), TINY))


def margins(residuals: FloatArray, level: FloatArray, signal: Signal, share: float) -> tuple[FloatArray, FloatArray]:
    """How far above and below the expected value the band reaches, per column; always above zero."""
    ordered, counts = sort_columns(residuals)
    scale = scale_of(residuals, level)
    student = _student_margin(counts, scale, share)
    mirrored, _ = sort_columns(-residuals)
    floor = np.maximum(np.maximum(signal.min_effect, RELATIVE_FLOOR * np.abs(np.nan_to_num(level))), TINY)
    up, down = (
        np.maximum(np.where(counts >= TAIL_SAMPLES, _tail_margin(side, counts, scale, share), student), floor)
        for side in (ordered, mirrored)
    )
    return np.fmax(up, _seen_often(ordered, counts)), np.fmax(down, _seen_often(mirrored, counts))


def _seen_often(ordered: FloatArray, counts: IntArray) -> FloatArray:
    """The residual that the past exceeded as often as nothing rare does."""
    repeated = np.where(counts >= TAIL_SAMPLES, REPEATED, REPEATED_IN_FEW) / np.maximum(counts, 1)
    return quantile_of_sorted(ordered, counts, 1.0 - np.clip(repeated, REPEATED_SHARE, 1.0))


def _student_margin(counts: IntArray, scale: FloatArray, share: float) -> FloatArray:
    """Student's prediction interval for one more sample.

    A robust spread knows less than its samples would allow, hence 0.6 of the usual degrees of freedom.
    """
    number, place = np.unique(np.maximum(counts, 1), return_inverse=True)
    freedom = np.maximum(0.6 * (number - 1), 2.0)
    factor = -stdtrit(freedom, share) * np.sqrt(1.0 + 1.0 / number)
    return np.asarray(factor)[place] * scale


def _tail_margin(ordered: FloatArray, counts: IntArray, scale: FloatArray, share: float) -> FloatArray:
    """The residual exceeded with chance `share`: the upper tail, continued as a generalised Pareto tail.

    Shape by Pickands' estimator on the anchors' quantiles, shrunk towards 0 (exponential) and never below, so that the
    band errs wide. Quantiles instead of moments: an unrecorded incident in the history hardly moves it.
    Source: Pickands, Annals of Statistics 3 (1975), 119-131.
    """
    outer, middle, inner = (quantile_of_sorted(ordered, counts, 1.0 - anchor) for anchor in ANCHORS)
    gap, gap_before = inner - middle, middle - outer
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = np.log2(gap / gap_before)
    shape = np.clip(np.nan_to_num(raw, nan=0.0, posinf=LARGEST_SHAPE, neginf=0.0), 0.0, LARGEST_SHAPE)
    shape = np.maximum(shape * counts / (counts + SHAPE_PRIOR_SAMPLES), 1e-9)
    beyond = np.log(max(ANCHORS[-1] / share, 1.0))
    extrapolated = inner + gap * np.expm1(shape * beyond) / -np.expm1(-shape * np.log(2.0))
    return np.fmax(extrapolated, 3.0 * scale)
