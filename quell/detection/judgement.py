"""The judgement of all series of a signal at one moment, as columns; `judge` says why."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from quell.detection.baseline import Band, Baseline, band
from quell.detection.columns import BoolArray, IntArray, any_true, count_true, first_true, last_true
from quell.detection.judged import CODE
from quell.incidents.labels import FingerprintArray, Labels
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.verdict import VerdictKind

CONFIRM_POINTS = 3  # the majority of the last so many samples must agree, ...
FAR_OUT = 2.0  # ... unless the last one is this many times the margin away
LARGEST_SCORE = 1000.0
ZERO_NEVER_NORMAL = 0.005  # the share of zeros in the past above which a zero is nothing special


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One entry per series. `kind` is an index into KINDS; `since` is when the present trouble began (epoch seconds).

    `score` is the departure over the margin: 1 is the edge of the band, at most 1000. For missing data it is the share
    of the past in which the series was there. `column` is the series' place in the baseline, -1 if it has none there.
    """

    labels: tuple[Labels, ...]
    prints: FingerprintArray
    kind: IntArray
    value: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    score: FloatArray
    samples: IntArray
    since: FloatArray
    age_seconds: FloatArray
    column: IntArray
    outside: IntArray  # how many of the last samples are out of the band
    recent: IntArray  # ... and how many last samples were looked at


def judge_columns(
    baseline: Baseline | None, window: SeriesMatrix, signal: Signal, *, now: datetime, stale_after: timedelta
) -> Judgement:
    """Judge the last sample of each series that the window or the baseline knows.

    Anomalous: the last sample is outside the band on a side that matters, and so is the majority of the last three, or
    it alone by twice the margin. Fewer samples in the window are judged as they are; NaN is no sample.
    """
    baseline = baseline if baseline is not None and baseline.labels else None
    labels, prints, values, column = _align(baseline, window)
    seen = _look(values, _limits(baseline, signal, window.timestamps, column), window.timestamps)
    anomalous = seen.is_bad_now(seen.outside) | (seen.score > FAR_OUT)
    dropped = _zero_is_new(baseline, signal, column) & (
        seen.is_bad_now(seen.zero) | anomalous & seen.at_last(seen.zero)
    )
    age = now.timestamp() - seen.moment
    stale = seen.has_any & (age > stale_after.total_seconds())
    ready = _of(baseline, "samples", column) >= (baseline.minimum_samples if baseline else 1)
    kind = np.full(len(labels), CODE[VerdictKind.NORMAL], dtype=np.int64)
    for claim, name in (  # the later ones weigh more
        (anomalous, VerdictKind.ANOMALOUS),
        (dropped, VerdictKind.DROP_TO_ZERO),
        (~ready, VerdictKind.WARMING_UP),
        (stale, VerdictKind.STALE),
        (~seen.has_any, VerdictKind.NO_DATA),
    ):
        kind[claim] = CODE[name]
    score = np.where(dropped, np.maximum(seen.score, 1.0), seen.score) * ready
    bad = (seen.outside | seen.zero & dropped) & ready
    return Judgement(
        labels=labels,
        prints=prints,
        kind=kind,
        value=seen.value,
        expected=seen.expected,
        lower=seen.lower,
        upper=seen.upper,
        score=np.where(stale | ~seen.has_any, _of(baseline, "presence", column), score),
        samples=_of(baseline, "samples", column).astype(np.int64),
        since=np.where(stale, seen.moment, _run_start(bad, seen.there, window.timestamps)),
        age_seconds=np.where(seen.has_any, age, np.inf),
        column=column,
        outside=count_true(bad & seen.recent),
        recent=count_true(seen.recent),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the window shows of each series: masks of shape (T, S), and the last sample of each."""

    there: BoolArray
    recent: BoolArray  # the last CONFIRM_POINTS samples
    outside: BoolArray
    zero: BoolArray
    has_any: BoolArray
    last: IntArray
    moment: FloatArray
    value: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    score: FloatArray

    def at_last(self, claims: BoolArray) -> BoolArray:
        return np.asarray(_pick(claims, self.last, 0.0), dtype=np.bool_)

    def is_bad_now(self, claims: BoolArray) -> BoolArray:
        """The claim holds for the last sample and for most of the recent ones."""
        return self.at_last(claims) & (2 * count_true(claims & self.recent) > count_true(self.recent))


def _look(values: FloatArray, limits: Band, timestamps: FloatArray) -> _Seen:
    there = ~np.isnan(values)
    last = last_true(there)
    departure = _departure(values, limits)
    number_from_end = np.cumsum(there[::-1], axis=0, dtype=np.int64)[::-1]
    return _Seen(
        there=there,
        recent=there & (number_from_end <= CONFIRM_POINTS),
        outside=there & (departure > 1.0),
        zero=there & (values == 0.0),
        has_any=any_true(there),
        last=last,
        moment=timestamps[last] if len(timestamps) else np.zeros(len(last)),
        value=_pick(values, last, np.nan),
        expected=_pick(limits.expected, last, np.nan),
        lower=_pick(limits.lower, last, np.nan),
        upper=_pick(limits.upper, last, np.nan),
        score=np.minimum(np.nan_to_num(_pick(departure, last, 0.0), posinf=LARGEST_SCORE), LARGEST_SCORE),
    )


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


def _limits(baseline: Baseline | None, signal: Signal, timestamps: FloatArray, column: IntArray) -> Band:
    if baseline is None:
        nothing = np.full((len(timestamps), len(column)), np.nan)
        return Band(expected=nothing, lower=nothing, upper=nothing)
    found = band(baseline, signal, timestamps)
    unknown = column < 0
    parts = [part[:, np.maximum(column, 0)] for part in (found.expected, found.lower, found.upper)]
    for part in parts:
        part[:, unknown] = np.nan
    return Band(expected=parts[0], lower=parts[1], upper=parts[2])


def _departure(values: FloatArray, limits: Band) -> FloatArray:
    """Distance from the expected value over the margin on that side; 0 on a side that is no trouble."""
    with np.errstate(invalid="ignore", divide="ignore"):
        up = (values - limits.expected) / (limits.upper - limits.expected)
        down = (limits.expected - values) / (limits.expected - limits.lower)
    return np.asarray(np.fmax(np.fmax(up, down), 0.0), dtype=np.float64)


def _zero_is_new(baseline: Baseline | None, signal: Signal, column: IntArray) -> BoolArray:
    if not _zero_matters(signal):
        return np.zeros(len(column), dtype=np.bool_)
    zeros, level = _of(baseline, "zero_share", column), _of(baseline, "level", column)
    return np.asarray((zeros < ZERO_NEVER_NORMAL) & (level > 0.0), dtype=np.bool_)


def _zero_matters(signal: Signal) -> bool:
    return signal.kind is SignalKind.TRAFFIC or signal.direction in (Direction.LOW, Direction.BOTH)


def _run_start(bad: BoolArray, there: BoolArray, timestamps: FloatArray) -> FloatArray:
    """When the unbroken run of bad samples at the end began; gaps do not break it."""
    rows, columns = bad.shape
    if rows == 0:
        return np.zeros(int(columns))
    good = there & ~bad
    after = np.where(any_true(good), last_true(good), -1)
    run = bad & (np.arange(rows, dtype=np.int64)[:, np.newaxis] > after)
    return np.asarray(timestamps[first_true(run)], dtype=np.float64)


def _of(baseline: Baseline | None, name: str, column: IntArray) -> FloatArray:
    if baseline is None:
        return np.zeros(len(column))
    return np.asarray(np.where(column >= 0, getattr(baseline, name)[np.maximum(column, 0)], 0.0), dtype=np.float64)


def _pick(matrix: FloatArray | BoolArray, row: IntArray, empty: float) -> FloatArray:
    """One row of each column; `empty` where there are no rows at all."""
    if matrix.shape[0] == 0:
        return np.full(int(matrix.shape[1]), empty)
    return np.asarray(matrix[row, np.arange(matrix.shape[1], dtype=np.int64)], dtype=np.float64)
