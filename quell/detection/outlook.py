"""The outlook of a baseline: what the rows after a fit are compared with, slot by slot, until the next fit.

Rows of a small matrix, each with a place for every slot to come and `REACH` places before and after: the expected
value, shape and level of the slot itself, the values of last week, and the means of each of the last seven days.
"""

import numpy as np
from numpy.typing import NDArray

from quell.detection.compiled import compiled
from quell.detection.phase import (
    DAY_AT,
    DAYS,
    FEWEST_SLOTS,
    REACH,
    WEEK_AT,
    Past,
    look_ahead,
)
from quell.incidents.series import FloatArray

SmallArray = NDArray[np.float32]


def width_of(room: int) -> int:
    """Places in each row of an outlook for so many slots."""
    return room + 2 * REACH


def most_room(period: int, room: int) -> int:
    """How many slots can be looked ahead: what lies a day before the last of them must be known at the fit.

    >>> most_room(288, 24), most_room(24, 60)
    (24, 17)
    """
    return room if period < FEWEST_SLOTS else min(room, period - REACH - 1)


@compiled
def fill_outlook(
    past: Past, slot: int, period: int, age: int, work: FloatArray, at: int, out_at: int, outlook: SmallArray
) -> None:
    """Look ahead from this slot, the next one after the history; everything is NaN where nothing repeats."""
    for row in range(outlook.shape[0]):
        for place in range(outlook.shape[1]):
            outlook[row, place] = np.nan
    if period < FEWEST_SLOTS:
        return
    for place in range(outlook.shape[1]):
        ahead = slot + place - REACH
        if REACH <= place < outlook.shape[1] - REACH:
            look_ahead(past, ahead, period, age + place - REACH, work, at, out_at)
            for row in range(WEEK_AT):
                outlook[row, place] = work[out_at + row]
        outlook[WEEK_AT, place] = _entry(past.values, ahead - DAYS * period, slot)
        for day in range(DAYS):
            outlook[DAY_AT + day, place] = _entry(past.means, ahead - (day + 1) * period, slot)


@compiled
def _entry(values: FloatArray, place: int, end: int) -> float:
    return values[place] if 0 <= place < end else np.nan
