"""What the detector remembers of one series while it works on it: plain arrays, so that compiled loops can use them."""

from typing import NamedTuple

import numpy as np

from quell.detection import tail
from quell.detection.compiled import compiled
from quell.detection.order import insert, middle_of, remove
from quell.detection.streams import COUNT
from quell.incidents.series import FloatArray

RING = 64  # a power of two; holds the last rows
LAG_SHORT, LAG_LONG = 6, 30
LONG_SAMPLES = 256
FIRST_STRIDE, LAST_STRIDE = 8, 32
SPREADS = 4  # residuals that are divided by their spread: fluctuation, step, short level, daily shape
SHORT_SPREAD = 50
SLOW_SPREAD = 1.0 / 700.0  # weight of a new square in the slow spread

# Fields of `scalars`.
ROWS, FIRST_SLOT, SCALE, LONG_COUNT, STRIDE, LONG, ERROR_NEAR, ERROR_PHASE, ZEROS, ANCHOR, PHASE = range(11)
NEAR, SPREAD = 24, 25  # of the present row: median of the 30 rows before, spread of the residuals to it
SHORT_SUM = 12  # and the next 3
SLOW_MEAN = 16  # and the next 3
SLOW_WEIGHT = 20  # and the next 3
SCALARS = 26


class Memory(NamedTuple):
    """`ring`: the last present values; `squares`: the last squared residuals; the rest are sorted windows and tails."""

    scalars: FloatArray  # (SCALARS,)
    ring: FloatArray  # (RING,)
    squares: FloatArray  # (SPREADS, RING)
    short: FloatArray  # (LAG_SHORT + 1,) sorted: the 6 rows before
    near: FloatArray  # (LAG_LONG + 1,) sorted: the 30 rows before
    lagged: FloatArray  # (LAG_LONG + 1,) sorted: the 30 rows before the last two of them
    long_ring: FloatArray  # (LONG_SAMPLES,)
    long_sorted: FloatArray  # (LONG_SAMPLES + 1,)
    tails: FloatArray  # (COUNT, tail.FIELDS)
    histograms: FloatArray  # (COUNT, tail.BINS)
    departures: FloatArray  # (COUNT,) of the present row
    scratch: FloatArray  # (40,)
    raised: FloatArray  # (RING,) decades of the last rows


@compiled
def new_memory() -> Memory:
    memory = Memory(
        np.zeros(SCALARS),
        np.zeros(RING),
        np.zeros((SPREADS, RING)),
        np.zeros(LAG_SHORT + 1),
        np.zeros(LAG_LONG + 1),
        np.zeros(LAG_LONG + 1),
        np.zeros(LONG_SAMPLES),
        np.zeros(LONG_SAMPLES + 1),
        np.zeros((COUNT, tail.FIELDS)),
        np.zeros((COUNT, tail.BINS)),
        np.zeros(COUNT),
        np.zeros(40),
        np.zeros(RING),
    )
    forget(memory)
    return memory


@compiled
def forget(memory: Memory) -> None:
    """Back to the state before the first row."""
    memory.scalars[:] = 0.0
    memory.scalars[FIRST_SLOT] = -1.0
    memory.scalars[STRIDE] = FIRST_STRIDE
    memory.scalars[LONG] = np.nan
    memory.squares[:] = 0.0
    memory.raised[:] = 0.0
    for stream in range(COUNT):
        tail.clear(memory.tails[stream], memory.histograms[stream])


@compiled
def recent_mean(memory: Memory, rows: int, count: int) -> float:
    """Mean of the last rows, of which there must be so many; NaN otherwise."""
    if rows < count:
        return np.nan
    total = 0.0
    for i in range(rows - count, rows):
        total += memory.ring[i % RING]
    return total / count


@compiled
def push(memory: Memory, value: float) -> None:
    """Take the row into the ring and the sorted windows."""
    rows = int(memory.scalars[ROWS])
    ring = memory.ring
    slide(memory.short, ring, rows, LAG_SHORT, value)
    slide(memory.near, ring, rows, LAG_LONG, value)
    if rows >= 2:
        slide(memory.lagged, ring, rows - 2, LAG_LONG, ring[(rows - 2) % RING])
    ring[rows % RING] = value
    if rows % int(memory.scalars[STRIDE]) == 0:
        sample_long(memory, value)
    memory.scalars[ROWS] = rows + 1


@compiled
def slide(ordered: FloatArray, ring: FloatArray, rows: int, width: int, value: float) -> None:
    """Move a sorted window of the last `width` rows on by one."""
    count = min(rows, width)
    if count == width:
        count = remove(ordered, count, ring[(rows - width) % RING])
    insert(ordered, count, value)


@compiled
def sample_long(memory: Memory, value: float) -> None:
    """Take every 8th row into the long median, later every 16th and 32nd: about the last 8000 rows, in 256 samples."""
    scalars, kept = memory.scalars, memory.long_ring
    count = int(scalars[LONG_COUNT])
    if count >= LONG_SAMPLES and scalars[STRIDE] < LAST_STRIDE:
        for i in range(LONG_SAMPLES // 2):
            kept[i] = kept[2 * i]
        count = LONG_SAMPLES // 2
        memory.long_sorted[:count] = np.sort(kept[:count])
        scalars[STRIDE] *= 2.0
    held = min(count, LONG_SAMPLES)
    if held == LONG_SAMPLES:
        held = remove(memory.long_sorted, held, kept[count % LONG_SAMPLES])
    held = insert(memory.long_sorted, held, value)
    kept[count % LONG_SAMPLES] = value
    scalars[LONG_COUNT] = count + 1
    if held >= 3:
        scalars[LONG] = middle_of(memory.long_sorted, held)


@compiled
def over_spread(memory: Memory, which: int, rows: int, residual: float, reference: float) -> float:
    """The residual over the larger of its spread in the last 50 rows and in the last 1000 or so; 0 before 20 rows."""
    scalars = memory.scalars
    spread = spread_of(memory, which, rows, reference)
    value = residual / spread if rows >= 20 and not np.isnan(residual) else 0.0
    square = 0.0 if np.isnan(residual) else residual * residual
    squares = memory.squares[which]
    scalars[SHORT_SUM + which] += square - squares[(rows - SHORT_SPREAD) % RING] * (rows >= SHORT_SPREAD)
    squares[rows % RING] = square
    if rows % RING == 0:  # against the rounding errors of a running sum
        total = 0.0
        for i in range(max(rows - SHORT_SPREAD + 1, 0), rows + 1):
            total += squares[i % RING]
        scalars[SHORT_SUM + which] = total
    weight = max(SLOW_SPREAD, 1.0 / (rows + 1.0))
    scalars[SLOW_MEAN + which] += weight * (square - scalars[SLOW_MEAN + which])
    return value


@compiled
def spread_of(memory: Memory, which: int, rows: int, reference: float) -> float:
    """The spread that a residual of the next row is divided by; never zero."""
    scalars = memory.scalars
    count = max(min(rows, SHORT_SPREAD), 1)
    square = max(scalars[SHORT_SUM + which] / count, scalars[SLOW_MEAN + which], 0.0)
    return np.sqrt(square) + 0.001 * abs(reference) + 1e-9 * scalars[SCALE] + 1e-300


@compiled
def median_near(memory: Memory) -> float:
    return middle_of(memory.near, min(int(memory.scalars[ROWS]), LAG_LONG))
