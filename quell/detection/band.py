"""What a row was expected to be, and how far from it a row may lie before the views on single rows speak."""

import numpy as np

from quell.detection import memory as m
from quell.detection import tail as t
from quell.detection.compiled import compiled
from quell.detection.rating import (
    CENTRE,
    LOCAL_CENTRE,
    SLOPE,
    age_discount,
    fine_discount,
    local_tail,
    off_scale,
    record_centre,
    scale_of,
)
from quell.detection.streams import FLUCTUATION_DOWN, FLUCTUATION_UP, POINT_DOWN, POINT_UP
from quell.incidents.series import FloatArray

ERROR_WEIGHT = 1.0 / 500.0


@compiled
def expected_value(memory: FloatArray) -> float:
    """The median of the same phase or of the last 30 rows, whichever was nearer lately."""
    near, phase = memory[m.NEAR], memory[m.PHASE]
    if not np.isnan(phase) and memory[m.ERROR_PHASE] < memory[m.ERROR_NEAR]:
        return phase
    return near


@compiled
def learn_errors(memory: FloatArray, value: float) -> None:
    """Learn which of the two is nearer."""
    near, phase = memory[m.NEAR], memory[m.PHASE]
    if not np.isnan(phase):
        memory[m.ERROR_PHASE] += ERROR_WEIGHT * (abs(value - phase) - memory[m.ERROR_PHASE])
        memory[m.ERROR_NEAR] += ERROR_WEIGHT * (abs(value - near) - memory[m.ERROR_NEAR])


@compiled
def fluctuation_margin(memory: FloatArray, stream: int, threshold: float) -> float:
    """How far from the last 30 rows a row must lie for the fluctuation view alone to reach the threshold."""
    usual, slope = local_tail(memory, stream)
    return np.exp(usual + slope * (off_scale(threshold) - LOCAL_CENTRE)) * memory[m.SPREAD]


@compiled
def point_margin(memory: FloatArray, stream: int, threshold: float) -> float:
    """How far from the last 30 rows and from the long median it must lie for the point view to reach it."""
    decades = threshold - CENTRE + age_discount(memory, stream)
    log_value = record_centre(memory, stream, scale_of(memory)) + SLOPE * decades
    return memory[m.ANCHOR] * np.exp(log_value)


@compiled
def limit(memory: FloatArray, side: int, threshold: float, least: float) -> float:
    """The value at which the first of both views speaks on this side."""
    near, far = memory[m.NEAR], memory[m.LONG_MEDIAN]
    off = near if np.isnan(far) else (max(near, far) if side > 0 else min(near, far))
    point, fluctuation = (POINT_UP, FLUCTUATION_UP) if side > 0 else (POINT_DOWN, FLUCTUATION_DOWN)
    by_point = off + side * max(point_margin(memory, point, threshold), least)
    by_fluctuation = near + side * max(fluctuation_margin(memory, fluctuation, threshold), least)
    return min(by_point, by_fluctuation) if side > 0 else max(by_point, by_fluctuation)


@compiled
def put_band(
    memory: FloatArray, period: int, threshold: float, side: int, least: float, fewest: int, out: FloatArray
) -> None:
    """Expected value, lower and upper limit into `out` (3,); a limit on a side that is no trouble is infinite.

    NaN limits while nothing is said. Views on means and steps may speak inside the band.
    """
    out[0], out[1], out[2] = expected_value(memory), np.nan, np.nan
    if memory[m.TAILS_AT + t.COUNT + FLUCTUATION_UP] < min(fewest, t.FEWEST):
        return
    decades = threshold + fine_discount(period)
    out[1] = -np.inf if side > 0 else limit(memory, -1, decades, least)
    out[2] = np.inf if side < 0 else limit(memory, 1, decades, least)
