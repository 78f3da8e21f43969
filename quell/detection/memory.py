"""What the detector remembers of one series: one flat array, so that it is stored, copied and compiled as it is.

The `*_AT` names say where each part begins. Everything before KEPT belongs to a baseline; what follows is work space
that the next row fills anew. The long median's samples and the tails' histograms lie in arrays of their own (`LONG`):
only fitting and scoring move those on, judging does without them.
"""

import numpy as np

from quell.detection import tail
from quell.detection.compiled import compiled
from quell.detection.order import insert, middle_of, swap
from quell.detection.streams import COUNT
from quell.incidents.series import FloatArray

RING = 32  # a power of two; holds the last rows
MASK = RING - 1
LAG_SHORT, LAG_LONG = 6, 30
SPREADS = 3  # residuals that are divided by their spread
FLUCTUATION, STEP, SHAPE = range(SPREADS)
FAST_WEIGHT = np.array([1 / 50, 1 / 25, 1 / 25])  # of a new square in the fast and in the slow spread
SLOW_WEIGHT = np.array([1 / 5000, 1 / 500, 1 / 500])
SPREAD_ROWS = 20  # fewer tell no spread

ROWS, FIRST_SLOT, LAST_SLOT, SCALE, ANCHOR, LONG_MEDIAN, ERROR_NEAR, ERROR_PHASE, ZERO_RUN = range(9)
HELD_BY, HELD_FROM, COOLING, SEEN, LAG_1 = range(9, 14)
NOBODY, BY_POINT, BY_LEVEL = 0.0, 1.0, 2.0  # what trouble is held by
FAST_AT = 14
SLOW_AT = FAST_AT + SPREADS
RING_AT = SLOW_AT + SPREADS
RAISED_AT = RING_AT + RING  # decades of the last rows
SHORT_AT = RAISED_AT + RING  # sorted: the last 6 rows
NEAR_AT = SHORT_AT + LAG_SHORT + 1  # sorted: the last 30 rows
ROWS_AT = NEAR_AT + LAG_LONG + 1  # the same rows in their order, as a ring
TAILS_AT = ROWS_AT + RING
KEPT = TAILS_AT + tail.SIZE
# Work space of the present row.
DEPARTURES_AT = KEPT  # as rated
EFFECTS_AT = DEPARTURES_AT + COUNT  # signed, in the unit of the series
LOGS_AT = EFFECTS_AT + COUNT  # logarithms of the departures
NEAR, SPREAD, PHASE = range(LOGS_AT + COUNT, LOGS_AT + COUNT + 3)
EXPECTED_AT = PHASE + 1  # of the value, the shape and the level, as of `phase`
SCRATCH_AT = EXPECTED_AT + 3
SIZE = SCRATCH_AT + 24

# The long median: a sample of every 8th row, later of every 16th and 32nd, about the last 8000 rows in 256 samples.
LONG_SAMPLES = 256
FIRST_STRIDE, LAST_STRIDE = 8, 32
LONG_COUNT, STRIDE, SAMPLES_AT = 0, 1, 2
SORTED_AT = SAMPLES_AT + LONG_SAMPLES
LONG_SIZE = SORTED_AT + LONG_SAMPLES


@compiled
def forget(memory: FloatArray, long: FloatArray, bins: tail.BinArray) -> None:
    """Back to the state before the first row."""
    for place in range(SIZE):
        memory[place] = 0.0
    for place in range(LONG_SIZE):
        long[place] = 0.0
    memory[FIRST_SLOT] = memory[LAST_SLOT] = -1.0
    memory[LONG_MEDIAN] = memory[LAG_1] = np.nan
    long[STRIDE] = FIRST_STRIDE
    tail.clear(memory, TAILS_AT, bins)


@compiled
def row_before(memory: FloatArray, back: int) -> float:
    """The row that many places before the next one; meaningful for rows that were there."""
    return memory[RING_AT + ((int(memory[SEEN]) - back) & MASK)]


@compiled
def mean_with(memory: FloatArray, value: float, count: int) -> float:
    """Mean of the present value and the rows before it, `count` in all; NaN where there are fewer."""
    seen = int(memory[SEEN])
    if seen + 1 < count:
        return np.nan
    total = value
    for i in range(seen - count + 1, seen):
        total += memory[RING_AT + (i & MASK)]
    return total / count


@compiled
def see(memory: FloatArray, value: float) -> None:
    """Take the row into the ring of everything seen, trouble or not."""
    seen = int(memory[SEEN])
    memory[RING_AT + (seen & MASK)] = value
    memory[SEEN] = seen + 1


@compiled
def learn_value(memory: FloatArray, value: float) -> None:
    """Take the row into the sorted windows and the count of rows learned."""
    rows = int(memory[ROWS])
    memory[LAG_1] = middle_of(memory, SHORT_AT, min(rows, LAG_SHORT))
    slide(memory, SHORT_AT, rows, LAG_SHORT, value)
    slide(memory, NEAR_AT, rows, LAG_LONG, value)
    memory[ROWS_AT + (rows & MASK)] = value
    memory[ROWS] = rows + 1


@compiled
def slide(memory: FloatArray, at: int, rows: int, width: int, value: float) -> None:
    """Move a sorted window of the last `width` rows on by one."""
    if rows >= width:
        swap(memory, at, width, memory[ROWS_AT + ((rows - width) & MASK)], value)
    else:
        insert(memory, at, rows, value)


@compiled
def sample_long(memory: FloatArray, long: FloatArray, value: float) -> None:
    """Take the row just learned into the long median, if it is its turn."""
    if (int(memory[ROWS]) - 1) % int(long[STRIDE]) != 0:
        return
    count = int(long[LONG_COUNT])
    if count >= LONG_SAMPLES and long[STRIDE] < LAST_STRIDE:
        count = LONG_SAMPLES // 2
        for i in range(count):
            long[SAMPLES_AT + i] = long[SAMPLES_AT + 2 * i]
            insert(long, SORTED_AT, i, long[SAMPLES_AT + i])
        long[STRIDE] *= 2.0
    held = min(count, LONG_SAMPLES)
    if held == LONG_SAMPLES:
        swap(long, SORTED_AT, held, long[SAMPLES_AT + count % LONG_SAMPLES], value)
    else:
        held = insert(long, SORTED_AT, held, value)
    long[SAMPLES_AT + count % LONG_SAMPLES] = value
    long[LONG_COUNT] = count + 1
    if held >= 3:
        memory[LONG_MEDIAN] = middle_of(long, SORTED_AT, held)


@compiled
def spread_of(memory: FloatArray, which: int, reference: float) -> float:
    """What a residual is divided by: the larger of its recent and its usual root mean square; never zero."""
    square = max(memory[FAST_AT + which], memory[SLOW_AT + which])
    return np.sqrt(square) + 0.001 * abs(reference) + 1e-9 * memory[SCALE] + 1e-300


@compiled
def learn_residual(memory: FloatArray, which: int, residual: float) -> None:
    """Take a residual into its spreads; until they are filled they are plain means. NaN counts as none."""
    square = 0.0 if np.isnan(residual) else residual * residual
    young = 1.0 / (memory[ROWS] + 1.0)
    memory[FAST_AT + which] += max(FAST_WEIGHT[which], young) * (square - memory[FAST_AT + which])
    memory[SLOW_AT + which] += max(SLOW_WEIGHT[which], young) * (square - memory[SLOW_AT + which])
