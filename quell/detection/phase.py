"""What the same phase of earlier days and of last week looked like, on a grid of equal steps ("slots").

The whole past of a series lies in arrays by slot, NaN where a row is missing. What a row is compared with depends on
slots of earlier days only, so that a baseline keeps it for the rows to come ("outlook") instead of the past itself.
"""

from typing import NamedTuple

import numpy as np

from quell.detection.compiled import compiled, compiled_whole
from quell.detection.order import median_of, median_of_three
from quell.incidents.series import FloatArray

DAYS = 7
SHAPE_DAYS = 5
PERIODS_NEEDED = 2
SHAPE_MARGIN = 50  # rows beyond a day before the shape of the day is looked at
FEWEST_SLOTS = 12  # slots in a day, below which a phase says nothing
REACH = 6  # slots around a phase that any view looks at
NEAREST_STRIDE = 3
# What an outlook holds for each slot: three expectations, the values of last week, the means of the seven days.
VALUE_AT, SHAPE_AT, LEVEL_AT, WEEK_AT = range(4)
DAY_AT = 4
ROWS_OF_OUTLOOK = DAY_AT + DAYS


class Past(NamedTuple):
    """By slot. Each entry of the middles is the median of three neighbours, known a slot later."""

    values: FloatArray
    means: FloatArray  # of 12 rows
    residuals: FloatArray  # to the median of the 30 rows before
    mean_middles: FloatArray
    residual_middles: FloatArray


@compiled_whole
def new_past(slots: int) -> Past:
    """Room for so many slots."""
    none = np.nan
    return Past(
        np.full(slots, none), np.full(slots, none), np.full(slots, none), np.full(slots, none), np.full(slots, none)
    )


@compiled
def empty_past(past: Past) -> None:
    for slot in range(len(past.values)):
        past.values[slot] = past.means[slot] = past.residuals[slot] = np.nan
        past.mean_middles[slot] = past.residual_middles[slot] = np.nan


@compiled
def put(past: Past, slot: int, value: float, mean: float, residual: float) -> None:
    """Write a row, and the middles that it completes."""
    past.values[slot], past.means[slot], past.residuals[slot] = value, mean, residual
    if slot >= 2:
        past.mean_middles[slot - 1] = median_of_three(past.means[slot - 2], past.means[slot - 1], mean)
        past.residual_middles[slot - 1] = median_of_three(past.residuals[slot - 2], past.residuals[slot - 1], residual)


@compiled
def middle_value(past: Past, slot: int, period: int, scratch: FloatArray, at: int) -> float:
    """The median of the values of seven days around this phase, three of each day; NaN for none."""
    count = 0
    for day in range(1, DAYS + 1):
        middle = slot - day * period
        for other in range(max(middle - 1, 0), middle + 2):
            if not np.isnan(past.values[other]):
                scratch[at + count] = past.values[other]
                count += 1
        if middle <= 0:
            break
    return median_of(scratch, at, count)


@compiled
def middle_of_days(middles: FloatArray, days: int, slot: int, period: int, scratch: FloatArray, at: int) -> float:
    """The median of the days' middles at this phase; NaN for none."""
    count = 0
    for day in range(1, days + 1):
        other = slot - day * period
        if other < 0:
            break
        if not np.isnan(middles[other]):
            scratch[at + count] = middles[other]
            count += 1
    return median_of(scratch, at, count)


@compiled
def look_ahead(past: Past, slot: int, period: int, age: int, work: FloatArray, at: int, out_at: int) -> None:
    """What the value, shape and level of the row of this slot are compared with, into `work` from `out_at` on.

    `age` is the series' own, in slots; from `at` on there is room to work.
    """
    work[out_at + VALUE_AT] = work[out_at + SHAPE_AT] = work[out_at + LEVEL_AT] = np.nan
    if period < FEWEST_SLOTS:
        return
    if age >= PERIODS_NEEDED * period:
        work[out_at + VALUE_AT] = middle_value(past, slot, period, work, at)
        work[out_at + LEVEL_AT] = middle_of_days(past.mean_middles, DAYS, slot, period, work, at)
    if age >= period + SHAPE_MARGIN:
        work[out_at + SHAPE_AT] = middle_of_days(past.residual_middles, SHAPE_DAYS, slot, period, work, at)


@compiled
def nearest_of_three(values: FloatArray, middle: int, value: float) -> float:
    """The residual to the nearest of three neighbouring values; NaN for none."""
    best = np.nan
    for slot in range(max(middle - 1, 0), min(middle + 2, len(values))):
        residual = value - values[slot]
        if not abs(residual) >= abs(best):  # also true while best is NaN
            best = residual
    return best


@compiled
def nearer_mean(means: FloatArray, middle: int, mean: float, best: float) -> float:
    """`best`, or the residual to the nearest of five means around a place where that is smaller in size."""
    for slot in range(middle - REACH, middle + REACH + 1, NEAREST_STRIDE):
        if 0 <= slot < len(means):
            residual = mean - means[slot]
            if abs(residual) < abs(best):  # never true for NaN
                best = residual
    return best
