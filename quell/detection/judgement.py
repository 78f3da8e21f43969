"""The judgement of all series of a signal at one moment, as columns; `judge` says why."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from quell.detection import memory as m
from quell.detection.baseline import Baseline
from quell.detection.calibration import score_of
from quell.detection.columns import BoolArray, IntArray, any_true, last_true
from quell.detection.fleet import Fleet, advance_fleet
from quell.detection.judged import CODE
from quell.detection.passage import EXPECTED, LOWER, RAW_DECADES, SILENT, UPPER
from quell.incidents.labels import FingerprintArray, Labels
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.verdict import VerdictKind

ZERO_NEVER_NORMAL = 0.005  # the share of zeros in the past above which a zero is nothing special
MISSING_AFTER_STEPS = 5  # so much later than stale a series without a sample has no data
ZEROS_IN_A_ROW = 2  # so many of them, where zero is new, are a drop even where they are not rare enough otherwise
LARGEST_VALUE = 1e100  # an infinite value is judged as this
_NEVER_NEGATIVE = frozenset({SignalKind.ERROR_RATIO, SignalKind.LATENCY, SignalKind.TRAFFIC, SignalKind.SATURATION})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One entry per series. `kind` is an index into KINDS; `since` is when the present trouble began (epoch seconds).

    `score` lies in 0..1, `decades` says how rare that is (`calibration`); a score of 0.5 is the limit that keeps to the
    signal's budget of false alarms. For missing data the score is the share of the past in which the series was
    there. `column` is the series' place in the baseline, -1 if it has none there; `stream` the one that departs most.
    """

    labels: tuple[Labels, ...]
    prints: FingerprintArray
    kind: IntArray
    value: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    score: FloatArray
    decades: FloatArray
    samples: IntArray
    since: FloatArray
    age_seconds: FloatArray
    column: IntArray
    stream: NDArray[np.int8]


def judge_columns(
    baseline: Baseline | None,
    fleet: Fleet | None,
    window: SeriesMatrix,
    signal: Signal,
    *,
    now: datetime,
    stale_after: timedelta,
) -> tuple[Judgement, Fleet | None]:
    """Judge the last row for each series that the window or the baseline knows, and where the fleet stands before it.

    `fleet` is where the baseline stood when it was last asked (None: as it was fitted); its rows up to the last one are
    judged on the way. Rows that the window does not reach back to count as missing.
    """
    baseline = baseline if baseline is not None and baseline.labels else None
    labels, prints, values, column = _align(baseline, window)
    looked_back = (stale_after + MISSING_AFTER_STEPS * signal.step).total_seconds()
    there = ~np.isnan(values) & (window.timestamps > now.timestamp() - looked_back)[:, np.newaxis]
    has_any, last = any_true(there), last_true(there)
    moment = window.timestamps[last] if len(window.timestamps) else np.zeros(len(last))
    age = now.timestamp() - moment
    stale = has_any & (age > stale_after.total_seconds())
    row, before = _judge_rows(baseline, fleet, window.timestamps, values, column, signal)
    ready = _of(baseline.samples if baseline else None, column) >= (baseline.minimum_samples if baseline else 1)
    ready &= row.stream != SILENT
    value = _pick(values, last)
    dropped = _zero_is_new(baseline, signal, column, row.usual) & (value == 0.0)
    dropped &= row.held | (row.zero_run >= ZEROS_IN_A_ROW)
    kind = np.full(len(labels), CODE[VerdictKind.NORMAL], dtype=np.int64)
    for claim, name in (  # the later ones weigh more
        (row.held, VerdictKind.ANOMALOUS),
        (dropped, VerdictKind.DROP_TO_ZERO),
        (~ready, VerdictKind.WARMING_UP),
        (stale, VerdictKind.STALE),
        (~has_any, VerdictKind.NO_DATA),
    ):
        kind[claim] = CODE[name]
    lower = np.maximum(row.lower, 0.0) if signal.kind in _NEVER_NEGATIVE else row.lower
    since = np.where(row.held, row.held_from, np.where(dropped, row.zero_from, now.timestamp()))
    judgement = Judgement(
        labels=labels,
        prints=prints,
        kind=kind,
        value=np.where(has_any, value, np.nan),
        expected=row.expected,
        lower=np.where(np.isinf(row.lower), row.lower, lower),
        upper=row.upper,
        score=np.where(
            stale | ~has_any,
            _of(baseline.presence if baseline else None, column),
            np.where(dropped, np.maximum(row.score, 0.5), row.score) * ready,
        ),
        decades=row.decades,
        samples=_of(baseline.samples if baseline else None, column).astype(np.int64),
        since=np.where(stale, moment, since),
        age_seconds=np.where(has_any, age, np.inf),
        column=column,
        stream=row.stream,
    )
    return judgement, before


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What the fleet says of the last row, in the order of the judged series."""

    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    score: FloatArray
    decades: FloatArray
    held: BoolArray
    held_from: FloatArray  # epoch seconds
    zero_run: FloatArray
    zero_from: FloatArray
    usual: FloatArray  # the usual size of the values
    stream: NDArray[np.int8]


def _judge_rows(
    baseline: Baseline | None,
    fleet: Fleet | None,
    timestamps: FloatArray,
    values: FloatArray,
    column: IntArray,
    signal: Signal,
) -> tuple[_Row, Fleet | None]:
    count = len(column)
    nothing, none = np.full(count, np.nan), np.zeros(count)
    if baseline is None or len(timestamps) == 0:
        unknown = _Row(
            expected=nothing, lower=nothing, upper=nothing, score=none, decades=none, held=none > 0.0,
            held_from=nothing, zero_run=none, zero_from=nothing, usual=none,
            stream=np.full(count, SILENT, dtype=np.int8),
        )  # fmt: skip
        return unknown, None
    limits, step = baseline.limits(signal), baseline.step_seconds
    newest = round(float(timestamps[-1]) / step) - baseline.first
    stood = fleet if fleet is not None and fleet.slot <= newest else baseline.fleet
    rows = _rows_from(stood.slot, newest, values, column, len(baseline.labels))
    _, before = advance_fleet(stood, rows[:-1], limits)
    judged, after = advance_fleet(before, rows[-1:], limits)
    place = np.maximum(column, 0)
    columns, memory, known = judged.columns[-1][place], after.memory[place], column >= 0
    columns[~known] = np.nan
    held = judged.held[-1][place] & known
    decades = np.nan_to_num(columns[:, RAW_DECADES], nan=0.0)
    score = np.where(np.isnan(columns[:, RAW_DECADES]), 0.5 * held, score_of(decades, limit=limits.decades))
    first = baseline.first * step
    zero_run = memory[:, m.ZERO_RUN].astype(np.float64) * known
    row = _Row(
        expected=columns[:, EXPECTED],
        lower=columns[:, LOWER],
        upper=columns[:, UPPER],
        score=score * known,
        decades=decades,
        held=held,
        held_from=first + step * memory[:, m.HELD_FROM].astype(np.float64),
        zero_run=zero_run,
        zero_from=float(timestamps[-1]) - step * np.maximum(zero_run - 1.0, 0.0),
        usual=memory[:, m.SCALE].astype(np.float64) * known,
        stream=np.where(known, judged.stream[-1][place], SILENT).astype(np.int8),
    )
    return row, before


def _rows_from(slot: int, newest: int, values: FloatArray, column: IntArray, series: int) -> FloatArray:
    """The rows from a slot to the newest one in the order of the baseline; what the window has not is missing."""
    wanted = max(newest - slot + 1, 1)
    rows = np.full((wanted, series), np.nan)
    kept, known = min(wanted, len(values)), column >= 0
    rows[wanted - kept :, column[known]] = values[len(values) - kept :, known]
    return np.clip(rows, -LARGEST_VALUE, LARGEST_VALUE)


def _align(
    baseline: Baseline | None, window: SeriesMatrix
) -> tuple[tuple[Labels, ...], FingerprintArray, FloatArray, IntArray]:
    """The series of the window, then those only the baseline knows (all NaN), and each one's column there."""
    prints = window.fingerprints
    if baseline is None:
        return window.labels, prints, window.values, np.full(len(prints), -1, dtype=np.int64)
    known = baseline.fingerprints
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known, prints, sorter=order), len(known) - 1)]
    column = np.where(known[place] == prints, place, -1).astype(np.int64)
    is_absent = np.ones(len(known), dtype=np.bool_)
    is_absent[column[column >= 0]] = False
    absent = np.flatnonzero(is_absent).astype(np.int64)
    if len(absent) == 0:
        return window.labels, prints, window.values, column
    gap = np.full((len(window.timestamps), len(absent)), np.nan)
    places: list[int] = absent.tolist()
    return (
        window.labels + tuple(baseline.labels[i] for i in places),
        np.concatenate([prints, known[absent]]),
        np.concatenate([window.values, gap], axis=1),
        np.concatenate([column, absent]),
    )


def _zero_is_new(baseline: Baseline | None, signal: Signal, column: IntArray, usual: FloatArray) -> BoolArray:
    if baseline is None or not _zero_matters(signal):
        return np.zeros(len(column), dtype=np.bool_)
    return np.asarray((_of(baseline.zero_share, column) < ZERO_NEVER_NORMAL) & (usual > 0.0), dtype=np.bool_)


def _zero_matters(signal: Signal) -> bool:
    return signal.kind is SignalKind.TRAFFIC or signal.direction in (Direction.LOW, Direction.BOTH)


def _of(entries: FloatArray | IntArray | None, column: IntArray) -> FloatArray:
    """A baseline's entry of each judged series, 0 for those that it does not know."""
    if entries is None:
        return np.zeros(len(column))
    return np.asarray(np.where(column >= 0, entries[np.maximum(column, 0)], 0.0), dtype=np.float64)


def _pick(matrix: FloatArray, row: IntArray) -> FloatArray:
    """One row of each column; NaN where there are no rows at all."""
    if matrix.shape[0] == 0:
        return np.full(int(matrix.shape[1]), np.nan)
    return np.asarray(matrix[row, np.arange(matrix.shape[1], dtype=np.int64)], dtype=np.float64)
