"""Many series at once: fit all of them on a history, then judge new rows from what little must be kept.

The same passage as for one series. What is kept of a series is its memory without histograms, and an outlook on what
the rows until the next fit are compared with; until then the tails and the long median stand still, windows, spreads
and recent rows move on. A row in trouble is seen but not learned: what follows is judged against the time before it,
until the series is back. Series share one grid and are independent of each other, so the cores share the columns.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quell.detection import memory as m
from quell.detection import streams as s
from quell.detection import tail
from quell.detection.band import learn_errors, put_band
from quell.detection.compiled import compiled, compiled_parallel, compiled_whole, prange
from quell.detection.outlook import fill_outlook, most_room, width_of
from quell.detection.passage import (
    COLUMNS,
    EXPECTED,
    NO_VALUE,
    RAW_DECADES,
    UPPER,
    depart_from_past,
    follow_scale,
    learn,
    only_news,
    rate_row,
)
from quell.detection.phase import (
    DAY_AT,
    DAYS,
    FEWEST_SLOTS,
    PERIODS_NEEDED,
    REACH,
    ROWS_OF_OUTLOOK,
    VALUE_AT,
    WEEK_AT,
    Past,
    empty_past,
    nearer_mean,
    nearest_of_three,
    new_past,
    put,
)
from quell.detection.rating import rate, take_logs
from quell.detection.row import MEAN_ROWS, depart, expect, learn_row
from quell.incidents.series import FloatArray

SmallArray = NDArray[np.float32]
BLOCK = 16  # columns copied together, so that a row of the history is read once for all of them
HOLD_MARGIN = 0.1  # decades below the threshold down to which trouble goes on
COOLING_ROWS = 24.0  # rows after trouble that means still reach back into
BACK_AGAIN = 2.25  # decades of the single row below which a level is no trouble any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What is known of S series at one moment. `slot` is the next row's, `fitted` the one after the history.

    `memory` (S, m.KEPT); `outlook` (S, ROWS_OF_OUTLOOK, places), see `outlook`. `period` is the number of slots in a
    day, `room` how many slots after the fit the phases are known of; later ones are judged without them.
    """

    memory: SmallArray
    outlook: SmallArray
    period: int
    room: int
    fitted: int
    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedRows:
    """Rows rated: `columns` (T, S, COLUMNS) as of `passage`, `stream` (T, S): the one that says so, SILENT while
    warming up, NO_VALUE for NaN; `held` (T, S): whether the row is in trouble."""

    columns: FloatArray
    stream: NDArray[np.int8]
    held: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What counts as trouble: a rarity in decades; `side` 1 or -1 where only that side is; the smallest effect, in the
    unit of the series (`least`) and as a share of its usual size.

    `fewest` samples are needed before anything is said; below 100 only departures from the last rows are judged.
    """

    decades: float
    side: int = 0
    least: float = 0.0
    share: float = 0.0
    fewest: int = tail.FEWEST


def fit_fleet(values: FloatArray, *, period: int, room: int) -> Fleet:
    """Pass over a history (T, S) on a regular grid, NaN where a row is missing or excluded.

    `period` is the number of slots in a day, `room` how many rows will be judged before the next fit; it is cut where a
    day is shorter.
    """
    rows, columns = values.shape
    kept = max(most_room(period, room), 0)
    memory = np.empty((columns, m.KEPT), np.float32)
    outlook = np.empty((columns, ROWS_OF_OUTLOOK, width_of(kept)), np.float32)
    _fit_columns(values, period, memory, outlook)
    return Fleet(memory=memory, outlook=outlook, period=period, room=kept, fitted=rows, slot=rows)


def judge_fleet(fleet: Fleet, values: FloatArray, limits: Limits) -> RatedRows:
    """Judge the next rows (T, S); the fleet stays as it is."""
    return advance_fleet(fleet, values, limits)[0]


def advance_fleet(fleet: Fleet, values: FloatArray, limits: Limits) -> tuple[RatedRows, Fleet]:
    """Judge the next rows (T, S), and the fleet after them."""
    columns = np.empty((*values.shape, COLUMNS))
    stream, held = np.empty(values.shape, np.int8), np.empty(values.shape, np.bool_)
    memory = fleet.memory.copy()
    _judge(
        values, fleet.slot, fleet.fitted, fleet.period, limits.decades, limits.side, limits.least, limits.share,
        limits.fewest,
        memory, fleet.outlook, columns, stream, held,
    )  # fmt: skip
    return RatedRows(columns=columns, stream=stream, held=held), replace(
        fleet, memory=memory, slot=fleet.slot + len(values)
    )


# The bodies of the parallel loops are functions of their own: numba would rewrite their array statements.
@compiled_parallel
def _fit_columns(values: FloatArray, period: int, memory: SmallArray, outlook: SmallArray) -> None:
    blocks = (values.shape[1] + BLOCK - 1) // BLOCK
    for block in prange(blocks):
        _fit_block(values, period, memory, outlook, block * BLOCK)


@compiled_whole
def _fit_block(values: FloatArray, period: int, memory: SmallArray, outlook: SmallArray, start: int) -> None:
    rows, end = values.shape[0], min(start + BLOCK, values.shape[1])
    work, long, bins = np.empty(m.SIZE), np.empty(m.LONG_SIZE), np.empty(tail.HISTOGRAMS)
    past, block = new_past(rows), np.empty((end - start, rows))
    for row in range(rows):
        for column in range(start, end):
            block[column - start, row] = values[row, column]
    for column in range(start, end):
        _fit_one(block[column - start], period, work, long, bins, past)
        age = rows - int(work[m.FIRST_SLOT]) if work[m.FIRST_SLOT] >= 0.0 else 0
        fill_outlook(past, rows, period, age, work, m.SCRATCH_AT, m.EXPECTED_AT, outlook[column])
        memory[column, :] = work[: m.KEPT]


@compiled
def _fit_one(
    values: FloatArray, period: int, memory: FloatArray, long: FloatArray, bins: tail.BinArray, past: Past
) -> None:
    m.forget(memory, long, bins)
    empty_past(past)
    recent = len(values) - m.RING
    for slot in range(len(values)):
        value = values[slot]
        if np.isnan(value):
            continue
        mean = depart_from_past(memory, past, slot, period, value)
        if slot >= recent:  # what was rare long ago is no news to compare with
            take_logs(memory)
            only_news(memory, rate(memory, period, 0, 0.0, False, tail.FEWEST)[0])
        put(past, slot, value, mean, memory[m.EFFECTS_AT + s.FLUCTUATION_UP])
        learn(memory, long, bins, value)


@compiled_parallel
def _judge(
    values: FloatArray, slot: int, fitted: int, period: int, threshold: float, side: int, least: float, share: float,
    fewest: int, memory: SmallArray, outlook: SmallArray,
    out: FloatArray, stream: NDArray[np.int8], held: NDArray[np.bool_],
) -> None:  # fmt: skip
    blocks = (values.shape[1] + BLOCK - 1) // BLOCK
    for block in prange(blocks):
        start, end = block * BLOCK, min((block + 1) * BLOCK, values.shape[1])
        work = np.zeros(m.SIZE)
        for column in range(start, end):
            work[: m.KEPT] = memory[column]
            _judge_one(
                values[:, column], slot, fitted, period, threshold, side, max(least, share * work[m.SCALE]), fewest,
                work, outlook[column], out[:, column], stream[:, column], held[:, column],
            )  # fmt: skip
            memory[column, :] = work[: m.KEPT]


@compiled
def _judge_one(
    values: FloatArray, slot: int, fitted: int, period: int, threshold: float, side: int, least: float, fewest: int,
    memory: FloatArray, outlook: SmallArray, out: FloatArray, stream: NDArray[np.int8], held: NDArray[np.bool_],
) -> None:  # fmt: skip
    for row in range(len(values)):
        value = values[row]
        if np.isnan(value):
            stream[row], held[row] = NO_VALUE, memory[m.HELD_BY] != m.NOBODY
            _stand_still(memory, outlook, slot + row, fitted, period, threshold, side, least, fewest, out[row])
            continue
        _depart_from_outlook(memory, outlook, slot + row, fitted, period, value, fewest)
        stream[row] = rate_row(memory, period, threshold, side, least, fewest, out[row])
        decades = out[row, RAW_DECADES]
        if memory[m.HELD_BY] == m.BY_LEVEL and rate(memory, period, side, least, True, fewest)[0] < BACK_AGAIN:
            decades = 0.0  # the value is back, only its mean is not
        held[row] = _hold_or_learn(memory, slot + row, value, threshold, stream[row], decades)


@compiled
def _stand_still(
    memory: FloatArray, outlook: SmallArray, slot: int, fitted: int, period: int,
    threshold: float, side: int, least: float, fewest: int, out: FloatArray,
) -> None:  # fmt: skip
    """What a missing row would have been compared with."""
    for column in range(COLUMNS):
        out[column] = np.nan
    if memory[m.ROWS] == 0.0:
        return
    place = slot - fitted + REACH
    expect(memory, np.nan, outlook[VALUE_AT, place] if place < outlook.shape[1] - REACH else np.nan)
    put_band(memory, period, threshold, side, least, fewest, out[EXPECTED : UPPER + 1])


@compiled
def _depart_from_outlook(
    memory: FloatArray, outlook: SmallArray, slot: int, fitted: int, period: int, value: float, fewest: int
) -> None:
    """Fill the departures of the row of this slot; without the phases where the outlook does not reach."""
    if memory[m.FIRST_SLOT] < 0.0:
        memory[m.FIRST_SLOT] = slot
    memory[m.LAST_SLOT] = slot
    place, week, nearest = slot - fitted + REACH, np.nan, np.nan
    for row in range(WEEK_AT):
        memory[m.EXPECTED_AT + row] = np.nan
    if period >= FEWEST_SLOTS and place < outlook.shape[1] - REACH:
        for row in range(WEEK_AT):
            memory[m.EXPECTED_AT + row] = outlook[row, place]
        if slot - int(memory[m.FIRST_SLOT]) >= PERIODS_NEEDED * period:
            week = nearest_of_three(outlook[WEEK_AT], place, value)
            mean, best = m.mean_with(memory, value, MEAN_ROWS), np.inf
            for day in range(DAYS):
                best = nearer_mean(outlook[DAY_AT + day], place, mean, best)
            nearest = best if best < np.inf else np.nan
    depart(memory, value, week, nearest, fewest)


@compiled
def _hold_or_learn(memory: FloatArray, slot: int, value: float, threshold: float, stream: int, decades: float) -> bool:
    """Whether the row is in trouble; if it is, it is seen but not learned."""
    holder = memory[m.HELD_BY]
    memory[m.ZERO_RUN] = memory[m.ZERO_RUN] + 1.0 if value == 0.0 else 0.0
    if stream >= 0 and decades >= threshold - HOLD_MARGIN * (holder != m.NOBODY):
        if holder == m.NOBODY:
            memory[m.HELD_BY], memory[m.HELD_FROM] = m.BY_LEVEL if s.IS_LEVEL[stream] else m.BY_POINT, slot
        memory[m.COOLING] = COOLING_ROWS
        m.see(memory, value)
        return True
    memory[m.HELD_BY] = m.NOBODY
    memory[m.COOLING] = max(memory[m.COOLING] - 1.0, 0.0)
    follow_scale(memory, value)
    learn_errors(memory, value)
    learn_row(memory, value)
    m.see(memory, value)
    return False
