"""Residuals to the same phase of earlier days and of the week, on a grid of equal steps ("slots").

Earlier rows lie in arrays by slot, NaN where a row is missing. Slot t - k * period is entry t + shift[k] of them, if
that lies within [low[k], high): the whole past has shift[k] = -k * period, a stored baseline only slices of it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quell.detection.compiled import compiled
from quell.detection.order import median_of, median_of_seven, median_of_three
from quell.incidents.series import FloatArray

DAYS = 7
SHAPE_DAYS = 5
PERIODS_NEEDED = 2


class Past(NamedTuple):
    values: FloatArray
    means: FloatArray  # of 12 rows
    residuals: FloatArray  # to the median of the 30 rows before
    shift: NDArray[np.int64]  # (DAYS + 1,); entry 0 is the present row's own place
    low: NDArray[np.int64]
    high: NDArray[np.int64]


@compiled
def is_kept(past: Past, day: int, slot: int) -> bool:
    """Whether the entry exists and lies before the present row's."""
    return past.low[day] <= slot < past.high[day]


@compiled
def nearest_of_week(past: Past, row: int, value: float) -> float:
    """The residual to the nearest of three values a week ago; NaN for none."""
    best = np.nan
    middle = row + past.shift[DAYS]
    for slot in range(middle - 1, middle + 2):
        if is_kept(past, DAYS, slot):
            residual = value - past.values[slot]
            if not abs(residual) >= abs(best):  # also true while best is NaN
                best = residual
    return best


@compiled
def smoothed_phase(past: Past, data: FloatArray, days: int, row: int, scratch: FloatArray, at: int) -> float:
    """The median over the days of the middle of three entries around this phase; NaN for none."""
    count = 0
    for day in range(1, days + 1):
        slot = int(row + past.shift[day])
        if is_kept(past, day, slot - 1) and is_kept(past, day, slot + 1):
            value = median_of_three(data[slot - 1], data[slot], data[slot + 1])
            if not np.isnan(value):
                scratch[at + count] = value
                count += 1
    return median_of_seven(scratch, at) if count == DAYS else median_of(scratch, at, count)


@compiled
def nearest_mean(past: Past, row: int, mean: float) -> float:
    """How far the nearest of 35 means around this phase is away; NaN for none."""
    best = np.inf
    for day in range(1, DAYS + 1):
        middle = row + past.shift[day]
        for slot in range(
            max(middle - 6, past.low[day] + (middle - past.low[day]) % 3), min(middle + 7, past.high[day]), 3
        ):
            distance = abs(mean - past.means[slot])
            if distance < best:  # never true for NaN
                best = distance
    return best if best < np.inf else np.nan
