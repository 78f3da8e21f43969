"""A shift: how far all of the canary's values lie above its control's, not only their tail."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from quell.resolution.sample import Values, design_effect

_MOST_POINTS = 256  # of each side, evenly spaced in its order: enough for a median of differences to three digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """`estimate` is the Hodges-Lehmann shift with its bounds, `delta` Cliff's: P(canary above) - P(canary below)."""

    estimate: float
    low: float
    high: float
    delta: float
    p_value: float


def shift_of(canary: Values, control: Values, confidence: float) -> Shift:
    """The Mann-Whitney test (one-sided, ties and bursts accounted for) with the shift that belongs to it.

    The shift is the median of all differences between a value of the canary and one of the control; its bounds are the
    differences at the ranks where the test would just not reject, each one-sided at `confidence`. Both sides need one
    value. Source: Hollander, Wolfe and Chicken, Nonparametric Statistical Methods (2014), chapter 4.
    """
    n, m = len(canary), len(control)
    ranks = stats.rankdata(np.concatenate((canary, control)))
    effect = design_effect(ranks[:n], ranks[n:])
    u = float(ranks[:n].sum()) - n * (n + 1) / 2
    spread = math.sqrt(effect * n * m / (n + m) * float(np.var(ranks, ddof=1)))  # of U; ties make it smaller
    half = float(stats.norm.ppf(confidence)) * math.sqrt(effect * (n + m + 1) / (12 * n * m))
    differences = np.subtract.outer(_thin(canary), _thin(control)).ravel()
    levels = np.clip([0.5 - half, 0.5, 0.5 + half], 0, 1)
    low, estimate, high = (float(value) for value in np.quantile(differences, levels))
    return Shift(
        estimate=estimate,
        low=low if half < 0.5 else -math.inf,
        high=high if half < 0.5 else math.inf,
        delta=2 * u / (n * m) - 1,
        p_value=float(stats.norm.sf((u - n * m / 2 - 0.5) / spread)) if spread else 1.0,
    )


def _thin(values: Values) -> Values:
    if len(values) <= _MOST_POINTS:
        return values
    return np.quantile(values, (np.arange(_MOST_POINTS) + 0.5) / _MOST_POINTS)
