"""A passage over the rows of one series: judge each row on what came before it, then learn it."""

import numpy as np
from numpy.typing import NDArray

from quell.detection import memory as m
from quell.detection import tail
from quell.detection.band import expected_value, margins
from quell.detection.compiled import compiled
from quell.detection.grid import IntArray
from quell.detection.phase import DAYS, PERIODS_NEEDED, Past
from quell.detection.rating import learn_row, rate, take_logs
from quell.detection.row import take_row
from quell.detection.streams import COUNT
from quell.incidents.series import FloatArray

SCALE_WEIGHT = 1.0 / 2000.0
BRIDGED = 3
NEWS_ROWS = 30
NEWS_FLOOR = 1.5
SILENT = -1
NO_VALUE = -2
SHAPE_MARGIN = 50  # rows beyond a day before the shape of the day is looked at


@compiled
def follow_scale(memory: FloatArray, value: float) -> None:
    """The usual size of the values: what is tiny beside it is no departure."""
    size = abs(value)
    weight = max(SCALE_WEIGHT, 1.0 / (memory[m.ROWS] + 1.0))
    memory[m.SCALE] += weight * (size - memory[m.SCALE])
    if memory[m.ANCHOR] == 0.0:
        memory[m.ANCHOR] = size
    if value == 0.0:
        memory[m.ZEROS] += 1.0


@compiled
def pass_row(memory: FloatArray, past: Past, row: int, period: int, value: float) -> None:
    """Departures of the row at this slot; the period in slots, 0 if unknown."""
    if memory[m.FIRST_SLOT] < 0.0:
        memory[m.FIRST_SLOT] = row
    age = row - memory[m.FIRST_SLOT]
    follow_scale(memory, value)
    has_phase = period > 0 and age >= PERIODS_NEEDED * period
    take_row(memory, past, row, has_phase, period > 0 and age >= period + SHAPE_MARGIN, value)


@compiled
def only_news(memory: FloatArray, decades: float) -> float:
    """The decades, taken back to the floor where a row of the last 30 was as rare: it is the same trouble."""
    rows, most = int(memory[m.ROWS]), 0.0
    for i in range(max(rows - 1 - NEWS_ROWS, 0), rows - 1):
        most = max(most, memory[m.RAISED_AT + (i & m.MASK)])
    memory[m.RAISED_AT + ((rows - 1) & m.MASK)] = decades
    return NEWS_FLOOR if NEWS_FLOOR < decades <= most else decades


@compiled
def take_next(memory: FloatArray, past: Past, slot: int, period: int, value: float) -> None:
    """Everything about the next value but its rating: departures, windows, past."""
    last = int(memory[m.LAST_SLOT])
    if last >= 0:
        bridge(past, last + past.shift[0], slot + past.shift[0])
    memory[m.LAST_SLOT] = slot
    pass_row(memory, past, slot, period, value)
    take_logs(memory)


@compiled
def rate_next(memory: FloatArray, value: float, threshold: float, out: FloatArray) -> int:
    """Rate the value just taken into `out` (4,): decades, expected, lower, upper. The stream that says so."""
    decades, stream = rate(memory)
    down, up = margins(memory, threshold)
    expected = expected_value(memory, value)
    out[0], out[1], out[2], out[3] = only_news(memory, decades), expected, expected - down, expected + up
    return stream


@compiled
def pass_series(
    values: FloatArray, slots: IntArray, periods: IntArray, threshold: float, out: FloatArray, stream: NDArray[np.int8]
) -> None:
    """Rate every row of a series; NaN rows are skipped.

    `out` (T, 4) as in `rate_next`. `stream` (T,): SILENT while warming up, NO_VALUE for NaN.
    """
    past = whole_past(slots[-1] + 1 if len(slots) else 0)
    memory, bins = np.empty(m.SIZE), np.empty(COUNT * tail.BINS, np.float32)
    m.forget(memory, bins)
    for i in range(len(values)):
        out[i, :], stream[i] = np.nan, NO_VALUE
        if np.isnan(values[i]):
            continue
        look_back(past, slots[i], periods[i])
        take_next(memory, past, slots[i], periods[i], values[i])
        stream[i] = rate_next(memory, values[i], threshold, out[i])
        learn_row(memory, bins)


@compiled
def bridge(past: Past, last: int, slot: int) -> None:
    """Carry the last row into the empty slots after it, up to a few; a negative entry is no longer kept."""
    if last < 0:
        return
    for empty in range(last + 1, min(slot, last + 1 + BRIDGED)):
        past.values[empty] = past.values[last]
        past.means[empty] = past.means[last]
        past.residuals[empty] = past.residuals[last]


@compiled
def whole_past(slots: int) -> Past:
    """Room for every row of a series."""
    none = np.nan
    index = np.zeros((3, DAYS + 1), np.int64)
    return Past(
        np.full(slots, none),
        np.full(slots, none),
        np.full(slots, none),
        index[0].copy(),
        index[1].copy(),
        index[2].copy(),
    )


@compiled
def look_back(past: Past, slot: int, period: int) -> None:
    """Point the days at the whole past of this slot."""
    for day in range(DAYS + 1):
        past.shift[day], past.high[day] = -day * period, slot
