"""A passage over the rows of one series: judge each row on what came before it, then learn it."""

import numpy as np
from numpy.typing import NDArray

from quell.detection import memory as m
from quell.detection.band import expected_value, margins
from quell.detection.compiled import compiled
from quell.detection.grid import IntArray
from quell.detection.memory import Memory, new_memory
from quell.detection.phase import DAYS, PERIODS_NEEDED, Past
from quell.detection.rating import learn_row, rate
from quell.detection.row import take_row
from quell.incidents.series import FloatArray

SCALE_WEIGHT = 1.0 / 2000.0
NEWS_ROWS = 30
NEWS_FLOOR = 1.5
SILENT = -1
NO_VALUE = -2
SHAPE_MARGIN = 50  # rows beyond a day before the shape of the day is looked at


@compiled
def follow_scale(memory: Memory, value: float) -> None:
    """The usual size of the values: what is tiny beside it is no departure."""
    scalars, size = memory.scalars, abs(value)
    weight = max(SCALE_WEIGHT, 1.0 / (scalars[m.ROWS] + 1.0))
    scalars[m.SCALE] += weight * (size - scalars[m.SCALE])
    if scalars[m.ANCHOR] == 0.0:
        scalars[m.ANCHOR] = size
    if value == 0.0:
        scalars[m.ZEROS] += 1.0


@compiled
def pass_row(memory: Memory, past: Past, row: int, period: int, value: float) -> None:
    """Departures of the row at this slot; the period in slots, 0 if unknown."""
    scalars = memory.scalars
    if scalars[m.FIRST_SLOT] < 0.0:
        scalars[m.FIRST_SLOT] = row
    age = row - scalars[m.FIRST_SLOT]
    follow_scale(memory, value)
    has_phase = period > 0 and age >= PERIODS_NEEDED * period
    take_row(memory, past, row, has_phase, period > 0 and age >= period + SHAPE_MARGIN, value)


@compiled
def only_news(memory: Memory, decades: float) -> float:
    """The decades, taken back to the floor where a row of the last 30 was as rare: it is the same trouble."""
    rows, most = int(memory.scalars[m.ROWS]), 0.0
    for i in range(max(rows - 1 - NEWS_ROWS, 0), rows - 1):
        most = max(most, memory.raised[i % m.RING])
    memory.raised[(rows - 1) % m.RING] = decades
    return NEWS_FLOOR if NEWS_FLOOR < decades <= most else decades


@compiled
def pass_series(
    values: FloatArray, slots: IntArray, periods: IntArray, threshold: float, out: FloatArray, stream: NDArray[np.int8]
) -> None:
    """Rate every row of a series; NaN rows are skipped.

    `out` (T, 4): decades, expected, lower, upper. `stream` (T,): the stream that says so, SILENT while warming up,
    NO_VALUE for NaN.
    """
    past = whole_past(slots[-1] + 1 if len(slots) else 0)
    memory = new_memory()
    for i in range(len(values)):
        out[i, :], stream[i] = np.nan, NO_VALUE
        if np.isnan(values[i]):
            continue
        look_back(past, slots[i], periods[i])
        pass_row(memory, past, slots[i], periods[i], values[i])
        decades, stream[i] = rate(memory)
        down, up = margins(memory, threshold)
        expected = expected_value(memory, values[i])
        out[i, 0], out[i, 1] = only_news(memory, decades), expected
        out[i, 2], out[i, 3] = expected - down, expected + up
        learn_row(memory, True)


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
