"""Many series at once: fit all of them on a history, then judge new rows from what little must be kept.

The same passage as for one series. What is kept of a series is its memory without histograms, and those slices of its
past which the rows of the next hour look back to; until the next fit the tails' quantiles stand still, windows, spreads
and records move on. Series share one grid and are independent of each other, so that the cores share the columns.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quell.detection import memory as m
from quell.detection import tail
from quell.detection.compiled import compiled, compiled_parallel, prange
from quell.detection.passage import NO_VALUE, look_back, rate_next, take_next, whole_past
from quell.detection.phase import Past
from quell.detection.rating import learn_row
from quell.detection.slices import Slices, plan_slices, point_at
from quell.detection.streams import COUNT
from quell.incidents.series import FloatArray

SmallArray = NDArray[np.float32]
CHUNKS = 64  # pieces of work, many more than cores, so that none waits long for the last one


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What is known of S series at one moment, enough for the rows of the next `plan.room` slots.

    `memory` (S, m.KEPT); `past` (S, 3, entries): values, means and residuals. `slot` is the next row's.
    """

    memory: SmallArray
    past: SmallArray
    plan: Slices
    slot: int


def fit_fleet(values: FloatArray, *, period: int, room: int) -> Fleet:
    """Pass over a history (T, S) on a regular grid, NaN where a row is missing or excluded.

    `period` is the number of slots in a day, `room` how many rows will be judged before the next fit.
    """
    rows, columns = values.shape
    plan = plan_slices(period=period, room=room, slot=rows)
    memory = np.empty((columns, m.KEPT), np.float32)
    past = np.empty((columns, 3, plan.entries), np.float32)
    _fit_columns(values, period, plan.source, memory, past)
    return Fleet(memory=memory, past=past, plan=plan, slot=rows)


def judge_fleet(fleet: Fleet, values: FloatArray, *, threshold: float) -> tuple[FloatArray, NDArray[np.int8]]:
    """Rate the next rows (T, S); the fleet stays as it is.

    Decades, expected, lower and upper of shape (T, S, 4), and the stream that says so (T, S): SILENT while warming up,
    NO_VALUE for NaN. Raises ValueError for more rows than there is room for.
    """
    out = np.empty((*values.shape, 4))
    stream = np.empty(values.shape, np.int8)
    _check_room(fleet, len(values))
    _judge_columns(values, fleet, threshold, out, stream, fleet.memory[:0], fleet.past[:0])
    return out, stream


def advance_fleet(fleet: Fleet, values: FloatArray, *, threshold: float) -> Fleet:
    """The fleet after these rows, with as much less room."""
    _check_room(fleet, len(values))
    memory, past = np.empty_like(fleet.memory), np.empty_like(fleet.past)
    out, stream = np.empty((*values.shape, 4)), np.empty(values.shape, np.int8)
    _judge_columns(values, fleet, threshold, out, stream, memory, past)
    return replace(fleet, memory=memory, past=past, slot=fleet.slot + len(values))


def _check_room(fleet: Fleet, rows: int) -> None:
    left = fleet.plan.slot + fleet.plan.room - fleet.slot
    if rows > left:
        raise ValueError(f"{rows} rows to judge, the baseline has room for {left}: fit again")


def _judge_columns(
    values: FloatArray,
    fleet: Fleet,
    threshold: float,
    out: FloatArray,
    stream: NDArray[np.int8],
    memory: SmallArray,
    past: SmallArray,
) -> None:
    plan = fleet.plan
    _judge(
        values, fleet.slot, plan.period, plan.is_whole, plan.shift, plan.low, plan.high, threshold,
        fleet.memory, fleet.past, out, stream, memory, past,
    )  # fmt: skip


# The bodies of the parallel loops are functions of their own: numba would rewrite their array statements.
@compiled_parallel
def _fit_columns(
    values: FloatArray, period: int, source: NDArray[np.int64], memory: SmallArray, past: SmallArray
) -> None:
    chunks = min(values.shape[1], CHUNKS)
    for chunk in prange(chunks):
        _fit_chunk(values, period, source, memory, past, chunk, chunks)


@compiled
def _fit_chunk(
    values: FloatArray, period: int, source: NDArray[np.int64], memory: SmallArray, past: SmallArray,
    chunk: int, chunks: int,
) -> None:  # fmt: skip
    work, bins = np.empty(m.SIZE), np.empty(COUNT * tail.BINS, np.float32)
    whole = whole_past(values.shape[0])
    for column in range(chunk, values.shape[1], chunks):
        m.forget(work, bins)
        _fit_one(values[:, column].copy(), period, work, bins, whole)
        memory[column, :] = work[: m.KEPT]
        _keep(past[column, 0], whole.values, source)
        _keep(past[column, 1], whole.means, source)
        _keep(past[column, 2], whole.residuals, source)


@compiled
def _fit_one(values: FloatArray, period: int, memory: FloatArray, bins: tail.BinArray, past: Past) -> None:
    past.values[:] = past.means[:] = past.residuals[:] = np.nan
    out, recent = np.empty(4), len(values) - m.RING
    for row in range(len(values)):
        if np.isnan(values[row]):
            continue
        look_back(past, row, period)
        take_next(memory, past, row, period, values[row])
        if row >= recent:  # what was rare long ago is no news to compare with
            rate_next(memory, values[row], 0.0, out)
        learn_row(memory, bins)


@compiled
def _keep(kept: SmallArray, whole: FloatArray, source: NDArray[np.int64]) -> None:
    for i in range(len(source)):
        kept[i] = whole[source[i]] if 0 <= source[i] < len(whole) else np.nan


@compiled_parallel
def _judge(
    values: FloatArray, slot: int, period: int, is_whole: bool,
    shift: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64], threshold: float,
    memory: SmallArray, past: SmallArray, out: FloatArray, stream: NDArray[np.int8],
    new_memory: SmallArray, new_past: SmallArray,
) -> None:  # fmt: skip
    chunks = min(values.shape[1], CHUNKS)
    for chunk in prange(chunks):
        entries = past.shape[2]
        kept = Past(np.empty(entries), np.empty(entries), np.empty(entries), shift.copy(), low.copy(), high.copy())
        work = np.zeros(m.SIZE)
        for column in range(chunk, values.shape[1], chunks):
            _judge_one(
                values[:, column], slot, period, is_whole, threshold, memory[column], past[column], work, kept,
                out[:, column], stream[:, column],
            )  # fmt: skip
            if len(new_memory):
                _put_back(work, kept, new_memory[column], new_past[column])


@compiled
def _judge_one(
    values: FloatArray, slot: int, period: int, is_whole: bool, threshold: float, memory: SmallArray,
    past: SmallArray, work: FloatArray, kept: Past, out: FloatArray, stream: NDArray[np.int8],
) -> None:  # fmt: skip
    work[: m.KEPT] = memory
    kept.values[:] = past[0]
    kept.means[:] = past[1]
    kept.residuals[:] = past[2]
    no_bins = np.empty(0, np.float32)
    for row in range(len(values)):
        out[row, :] = np.nan
        stream[row] = NO_VALUE
        if np.isnan(values[row]):
            continue
        point_at(kept, slot + row, is_whole)
        take_next(work, kept, slot + row, period, values[row])
        stream[row] = rate_next(work, values[row], threshold, out[row])
        learn_row(work, no_bins)


@compiled
def _put_back(work: FloatArray, kept: Past, memory: SmallArray, past: SmallArray) -> None:
    memory[:] = work[: m.KEPT]
    past[0, :] = kept.values
    past[1, :] = kept.means
    past[2, :] = kept.residuals
