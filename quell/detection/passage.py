"""A passage over the rows of one series: judge each row on what came before it, then learn it."""

import numpy as np
from numpy.typing import NDArray

from quell.detection import memory as m
from quell.detection import streams as s
from quell.detection import tail
from quell.detection.band import learn_errors, put_band
from quell.detection.compiled import compiled, compiled_whole
from quell.detection.grid import IntArray
from quell.detection.phase import (
    DAYS,
    FEWEST_SLOTS,
    PERIODS_NEEDED,
    Past,
    look_ahead,
    nearer_mean,
    nearest_of_three,
    new_past,
    put,
)
from quell.detection.rating import learn_tails, rate, take_logs
from quell.detection.row import MEAN_ROWS, depart, learn_row
from quell.incidents.series import FloatArray

SCALE_WEIGHT = 1.0 / 2000.0
BRIDGED = 3
NEWS_ROWS = 30
NEWS_FLOOR = 1.5
NEWS_MARGIN = 0.02  # decades that a row must be rarer by to be news
SILENT = -1
NO_VALUE = -2
DECADES, EXPECTED, LOWER, UPPER, RAW_DECADES = range(5)
COLUMNS = 5


@compiled
def follow_scale(memory: FloatArray, value: float) -> None:
    """The usual size of the values: what is tiny beside it is no departure."""
    size = abs(value)
    weight = max(SCALE_WEIGHT, 1.0 / (memory[m.ROWS] + 1.0))
    memory[m.SCALE] += weight * (size - memory[m.SCALE])
    if memory[m.ANCHOR] == 0.0:
        memory[m.ANCHOR] = size


@compiled
def only_news(memory: FloatArray, decades: float) -> float:
    """The decades, taken back to the floor where a row of the last 30 was about as rare: it is the same trouble."""
    seen, most = int(memory[m.SEEN]), 0.0
    for i in range(max(seen - NEWS_ROWS, 0), seen):
        most = max(most, memory[m.RAISED_AT + (i & m.MASK)])
    memory[m.RAISED_AT + (seen & m.MASK)] = decades
    return NEWS_FLOOR if most > NEWS_FLOOR and NEWS_FLOOR < decades <= most + NEWS_MARGIN else decades


@compiled
def depart_from_past(memory: FloatArray, past: Past, slot: int, period: int, value: float) -> float:
    """Fill the departures of the row of this slot from the whole past; the mean of its last twelve rows."""
    if memory[m.FIRST_SLOT] < 0.0:
        memory[m.FIRST_SLOT] = slot
    follow_scale(memory, value)
    bridge(past, int(memory[m.LAST_SLOT]), slot)
    memory[m.LAST_SLOT] = slot
    age = slot - int(memory[m.FIRST_SLOT])
    look_ahead(past, slot, period, age, memory, m.SCRATCH_AT, m.EXPECTED_AT)
    mean = m.mean_with(memory, value, MEAN_ROWS)
    week = nearest = np.nan
    if period >= FEWEST_SLOTS and age >= PERIODS_NEEDED * period:
        if slot >= DAYS * period:
            week = nearest_of_three(past.values, slot - DAYS * period, value)
        best = np.inf
        for day in range(1, DAYS + 1):
            best = nearer_mean(past.means, slot - day * period, mean, best)
        nearest = best if best < np.inf else np.nan
    depart(memory, value, week, nearest, tail.FEWEST)
    return mean


@compiled
def learn(memory: FloatArray, long: FloatArray, bins: tail.BinArray, value: float) -> None:
    """Take a row whose departures are filled into everything that is remembered."""
    learn_errors(memory, value)
    learn_tails(memory, bins)
    learn_row(memory, value)
    m.sample_long(memory, long, value)
    m.see(memory, value)


@compiled
def rate_row(
    memory: FloatArray, period: int, threshold: float, side: int, least: float, fewest: int, out: FloatArray
) -> int:
    """Rate the row whose departures are filled into `out` (COLUMNS,); the stream that says so."""
    only_points = memory[m.COOLING] > 0.0 and memory[m.HELD_BY] != m.BY_LEVEL
    take_logs(memory)
    decades, stream = rate(memory, period, side, least, only_points, fewest)
    put_band(memory, period, threshold, side, least, fewest, out[EXPECTED : UPPER + 1])
    out[DECADES], out[RAW_DECADES] = only_news(memory, decades), decades
    return stream


@compiled_whole
def pass_series(
    values: FloatArray, slots: IntArray, periods: IntArray, threshold: float, out: FloatArray, stream: NDArray[np.int8]
) -> None:
    """Rate every row of a series; NaN rows are skipped.

    `out` (T, COLUMNS): decades of news, expected, lower, upper, decades. `stream` (T,): SILENT while warming up,
    NO_VALUE for NaN.
    """
    past = new_past(slots[-1] + 1 if len(slots) else 0)
    memory, long, bins = np.empty(m.SIZE), np.empty(m.LONG_SIZE), np.empty(tail.HISTOGRAMS)
    m.forget(memory, long, bins)
    for i in range(len(values)):
        value, slot = values[i], slots[i]
        out[i, :] = np.nan
        stream[i] = NO_VALUE
        if np.isnan(value):
            continue
        mean = depart_from_past(memory, past, slot, periods[i], value)
        stream[i] = rate_row(memory, periods[i], threshold, 0, 0.0, tail.FEWEST, out[i])
        put(past, slot, value, mean, memory[m.EFFECTS_AT + s.FLUCTUATION_UP])
        learn(memory, long, bins, value)


@compiled
def bridge(past: Past, last: int, slot: int) -> None:
    """Carry the last row into the empty slots after it, up to a few."""
    if last < 0:
        return
    for empty in range(last + 1, min(slot, last + 1 + BRIDGED)):
        put(past, empty, past.values[last], past.means[last], past.residuals[last])
