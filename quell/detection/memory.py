"""What the detector remembers of one series: one flat array, so that it is stored, copied and compiled as it is.

The `*_AT` names say where each part begins. Everything before KEPT belongs to a baseline; what follows is work space
that the next row fills anew. The tails' histograms lie in an array of their own: judging does without them.
"""

import numpy as np

from quell.detection import tail
from quell.detection.compiled import compiled
from quell.detection.order import insert, middle_of, swap
from quell.detection.streams import COUNT
from quell.incidents.series import FloatArray

RING = 64  # a power of two; holds the last rows
MASK = RING - 1
LAG_SHORT, LAG_LONG = 6, 30
LONG_SAMPLES = 256
FIRST_STRIDE, LAST_STRIDE = 8, 32
SPREADS = 4  # residuals that are divided by their spread: fluctuation, step, short level, daily shape
SHORT_SPREAD = 50
SLOW_SPREAD = 1.0 / 700.0  # weight of a new square in the slow spread

ROWS, FIRST_SLOT, SCALE, LONG_COUNT, STRIDE, LONG, ERROR_NEAR, ERROR_PHASE, ZEROS, ANCHOR, LAST_SLOT = range(11)
NEAR, SPREAD, PHASE = 11, 12, 13  # of the present row
NEAR_1, NEAR_2 = 14, 15  # NEAR of the row before and of the one before that
SHORT_SUM, SLOW_MEAN = 16, 20  # and the next 3 each
RING_AT = 24
SQUARES_AT = RING_AT + RING
RAISED_AT = SQUARES_AT + SPREADS * RING  # decades of the last rows
SHORT_AT = RAISED_AT + RING  # sorted: the 6 rows before
NEAR_AT = SHORT_AT + LAG_SHORT + 1  # sorted: the 30 rows before
TAILS_AT = NEAR_AT + LAG_LONG + 1
LONG_AT = TAILS_AT + COUNT * tail.FIELDS
SORTED_AT = LONG_AT + LONG_SAMPLES  # the same samples, sorted
KEPT = SORTED_AT + LONG_SAMPLES
DEPARTURES_AT = KEPT
LOGS_AT = DEPARTURES_AT + COUNT  # their logarithms
SCRATCH_AT = LOGS_AT + COUNT
SIZE = SCRATCH_AT + 8


@compiled
def forget(memory: FloatArray, bins: tail.BinArray) -> None:
    """Back to the state before the first row."""
    memory[:] = 0.0
    bins[:] = 0.0
    memory[FIRST_SLOT] = memory[LAST_SLOT] = -1.0
    memory[STRIDE] = FIRST_STRIDE
    memory[LONG] = np.nan
    for stream in range(COUNT):
        tail.clear(memory, TAILS_AT + stream * tail.FIELDS)


@compiled
def recent_mean(memory: FloatArray, rows: int, count: int) -> float:
    """Mean of the last rows, of which there must be so many; NaN otherwise."""
    if rows < count:
        return np.nan
    total = 0.0
    for i in range(rows - count, rows):
        total += memory[RING_AT + (i & MASK)]
    return total / count


@compiled
def push(memory: FloatArray, value: float) -> None:
    """Take the row into the ring and the sorted windows."""
    rows = int(memory[ROWS])
    slide(memory, SHORT_AT, rows, LAG_SHORT, value)
    slide(memory, NEAR_AT, rows, LAG_LONG, value)
    memory[RING_AT + (rows & MASK)] = value
    if rows % int(memory[STRIDE]) == 0:
        sample_long(memory, value)
    memory[ROWS] = rows + 1


@compiled
def slide(memory: FloatArray, at: int, rows: int, width: int, value: float) -> None:
    """Move a sorted window of the last `width` rows on by one."""
    if rows >= width:
        swap(memory, at, width, memory[RING_AT + ((rows - width) & MASK)], value)
    else:
        insert(memory, at, rows, value)


@compiled
def sample_long(memory: FloatArray, value: float) -> None:
    """Take every 8th row into the long median, later every 16th and 32nd: about the last 8000 rows, in 256 samples."""
    count = int(memory[LONG_COUNT])
    if count >= LONG_SAMPLES and memory[STRIDE] < LAST_STRIDE:
        for i in range(LONG_SAMPLES // 2):
            memory[LONG_AT + i] = memory[LONG_AT + 2 * i]
        count = LONG_SAMPLES // 2
        memory[SORTED_AT : SORTED_AT + count] = np.sort(memory[LONG_AT : LONG_AT + count])
        memory[STRIDE] *= 2.0
    held = min(count, LONG_SAMPLES)
    if held == LONG_SAMPLES:
        swap(memory, SORTED_AT, held, memory[LONG_AT + count % LONG_SAMPLES], value)
    else:
        held = insert(memory, SORTED_AT, held, value)
    memory[LONG_AT + count % LONG_SAMPLES] = value
    memory[LONG_COUNT] = count + 1
    if held >= 3:
        memory[LONG] = middle_of(memory, SORTED_AT, held)


@compiled
def over_spread(memory: FloatArray, which: int, rows: int, residual: float, reference: float) -> float:
    """The residual over the larger of its spread in the last 50 rows and in the last 1000 or so; 0 before 20 rows."""
    is_known = not np.isnan(residual)
    value = residual / spread_of(memory, which, rows, reference) if rows >= 20 and is_known else 0.0
    square = residual * residual if is_known else 0.0
    squares = SQUARES_AT + which * RING
    leaving = memory[squares + ((rows - SHORT_SPREAD) & MASK)] if rows >= SHORT_SPREAD else 0.0
    memory[squares + (rows & MASK)] = square
    memory[SHORT_SUM + which] += square - leaving
    if rows & MASK == 0:  # against the rounding errors of a running sum
        total = 0.0
        for i in range(max(rows - SHORT_SPREAD + 1, 0), rows + 1):
            total += memory[squares + (i & MASK)]
        memory[SHORT_SUM + which] = total
    weight = max(SLOW_SPREAD, 1.0 / (rows + 1.0))
    memory[SLOW_MEAN + which] += weight * (square - memory[SLOW_MEAN + which])
    return value


@compiled
def spread_of(memory: FloatArray, which: int, rows: int, reference: float) -> float:
    """The spread that a residual of the next row is divided by; never zero."""
    count = max(min(rows, SHORT_SPREAD), 1)
    square = max(memory[SHORT_SUM + which] / count, memory[SLOW_MEAN + which], 0.0)
    return np.sqrt(square) + 0.001 * abs(reference) + 1e-9 * memory[SCALE] + 1e-300
