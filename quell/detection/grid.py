"""The grid of a series: which slot each row lies in, judged from the rows up to it only."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quell.detection.compiled import compiled_whole
from quell.detection.order import insert, middle_of
from quell.incidents.series import FloatArray

IntArray = NDArray[np.int64]
DAY_SECONDS = 86_400.0
STEPS_LEARNED = 512  # from then on the step is known
LONGEST_GAP_DAYS = 8  # a longer one tells nothing more: the last week is gone


class Grid(NamedTuple):
    """`slots` rise by one per step of time, `periods` is the number of slots in a day, 0 while the step is unknown."""

    slots: IntArray  # (T,)
    periods: IntArray  # (T,)


@compiled_whole
def lay_grid(timestamps: FloatArray, step_seconds: float) -> Grid:
    """The slot of each row; with a step of 0 it is the median of the steps seen so far.

    A row always lies after the one before it, also where a timestamp repeats or goes back: rows count in their order.
    A gap leaves slots empty, so that the phase of the day stays right.
    """
    rows = len(timestamps)
    slots, periods = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    seen, count, step = np.empty(STEPS_LEARNED + 1), 0, step_seconds
    for i in range(rows):
        moved = 0
        if i > 0:
            gap = timestamps[i] - timestamps[i - 1]
            if step_seconds <= 0.0 and gap > 0.0 and count < STEPS_LEARNED:
                count = insert(seen, 0, count, gap)
                step = middle_of(seen, 0, count)
            moved = max(int(np.rint(gap / step)), 1) if step > 0.0 else 1
        periods[i] = max(int(np.rint(DAY_SECONDS / step)), 1) if step > 0.0 else 0
        if moved > 1 and periods[i] > 0:
            moved = min(moved, LONGEST_GAP_DAYS * periods[i])
        slots[i] = (slots[i - 1] if i > 0 else 0) + moved
    return Grid(slots, periods)
