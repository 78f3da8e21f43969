"""A baseline: what is expected of each series of a signal, fitted on its history."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from quell.detection.columns import BoolArray, IntArray, any_true, count_true, first_true, median, sort_columns
from quell.detection.season import (
    DAILY,
    SEASONS,
    SeasonKind,
    bucket_count,
    expected_from,
    fit_profile,
    held_out_residuals,
    helps,
    whole_periods,
)
from quell.detection.spread import margins, tail_share
from quell.incidents.labels import FingerprintArray, Labels
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind

Period = tuple[datetime, datetime]
SeriesKey = tuple[tuple[str, str], ...]

RETIRED_AFTER = timedelta(days=1)  # a series silent for this long is no longer expected
BLOCK = 512  # series fitted at once; bounds memory, changes no result
NO_SEASON = -1
_NEVER_NEGATIVE = frozenset({SignalKind.ERROR_RATIO, SignalKind.LATENCY, SignalKind.TRAFFIC, SignalKind.SATURATION})


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Everything needed to judge later samples. Arrays have one entry per series unless a shape is given.

    `season` is -1 or the index in SEASONS; `profiles` holds one (buckets, series with that season) matrix per season,
    whose columns are the series in order. `presence` is the share of the history's grid, since the series appeared,
    that has a sample, `zero_share` the share of samples that are exactly 0, `extreme_up` and `extreme_down` the largest
    departures seen.
    """

    version: str
    signal: str
    fitted_at: datetime
    minimum_samples: int
    false_alarms_per_week: float
    labels: tuple[Labels, ...]
    fingerprints: FingerprintArray  # of the labels; a window's series are found by them
    level: FloatArray
    season: IntArray
    profiles: tuple[FloatArray, ...]
    margin_up: FloatArray
    margin_down: FloatArray
    extreme_up: FloatArray
    extreme_down: FloatArray
    samples: IntArray
    presence: FloatArray
    zero_share: FloatArray

    @property
    def ready(self) -> BoolArray:
        """Which series have enough samples to be judged."""
        return self.samples >= self.minimum_samples

    def expected(self, timestamps: FloatArray) -> FloatArray:
        """What each series should show at these times, shape (T, S)."""
        values = np.tile(self.level, (len(timestamps), 1))
        for index, (season, profile) in enumerate(zip(SEASONS, self.profiles, strict=True)):
            chosen = self.season == index
            if chosen.any():
                values[:, chosen] = expected_from(profile, timestamps, season)
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Expected value and limits, each of shape (T, S); a limit on a side that is no trouble is infinite."""

    expected: FloatArray
    lower: FloatArray
    upper: FloatArray


def series_key(labels: Labels) -> SeriesKey:
    return tuple(sorted(labels.items()))


def band(baseline: Baseline, signal: Signal, timestamps: FloatArray) -> Band:
    """The band of every series of the baseline at these times; for judging and for charts."""
    expected = baseline.expected(timestamps)
    lower, upper = expected - baseline.margin_down, expected + baseline.margin_up
    if signal.kind in _NEVER_NEGATIVE:
        lower = np.maximum(lower, 0.0)
    if signal.direction is Direction.HIGH:
        lower = np.full_like(lower, -np.inf)
    if signal.direction is Direction.LOW:
        upper = np.full_like(upper, np.inf)
    return Band(expected=expected, lower=lower, upper=upper)


def fit(
    matrix: SeriesMatrix,
    signal: Signal,
    *,
    now: datetime,
    excluded: Sequence[Period] = (),
    minimum_samples: int = 30,
    false_alarms_per_week: float = 0.5,
) -> Baseline:
    """Fit every series of a history on its own; the excluded periods (incidents, maintenance) teach nothing.

    A daily or weekly season is used where the history holds at least 3 days or 2 weeks of it and it lowers the spread
    of held-out residuals to 80 %; otherwise the median is the level. Samples that are NaN or infinite are left out. A
    series with fewer than `minimum_samples` is kept and judged as warming up; one silent for a day is dropped.
    """
    version = f"{signal.name}@{now:%Y%m%dT%H%M%SZ}"
    known = _drop_retired(matrix, now)
    calm = known.without(tuple(excluded))
    values = np.where(np.isfinite(calm.values), calm.values, np.nan)
    there = ~np.isnan(values)
    share = tail_share(signal, false_alarms_per_week)
    starts = range(0, max(values.shape[1], 1), BLOCK)
    blocks = [_fit_block(calm.timestamps, values[:, at : at + BLOCK], signal, share) for at in starts]
    return Baseline(
        version=version,
        signal=signal.name,
        fitted_at=now,
        minimum_samples=minimum_samples,
        false_alarms_per_week=false_alarms_per_week,
        labels=known.labels,
        fingerprints=known.fingerprints,
        level=np.concatenate([b.level for b in blocks]),
        season=np.concatenate([b.season for b in blocks]),
        profiles=tuple(np.concatenate([b.profiles[i] for b in blocks], axis=1) for i in range(len(SEASONS))),
        margin_up=np.concatenate([b.up for b in blocks]),
        margin_down=np.concatenate([b.down for b in blocks]),
        extreme_up=np.concatenate([b.extreme_up for b in blocks]),
        extreme_down=np.concatenate([b.extreme_down for b in blocks]),
        samples=count_true(there),
        presence=_presence(there),
        zero_share=np.concatenate([b.zero_share for b in blocks]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    level: FloatArray
    season: IntArray
    profiles: tuple[FloatArray, ...]
    up: FloatArray
    down: FloatArray
    extreme_up: FloatArray
    extreme_down: FloatArray
    zero_share: FloatArray


def _fit_block(timestamps: FloatArray, values: FloatArray, signal: Signal, share: float) -> _Block:
    level = median(values)
    season, profiles, residuals = _choose_seasons(timestamps, values, level)
    up, down = margins(residuals, level, signal, share)
    counts = np.maximum(count_true(~np.isnan(values)), 1)
    return _Block(
        level=level,
        season=season,
        profiles=profiles,
        up=up,
        down=down,
        extreme_up=_largest(residuals),
        extreme_down=_largest(-residuals),
        zero_share=count_true(values == 0.0) / counts,
    )


def _choose_seasons(
    timestamps: FloatArray, values: FloatArray, level: FloatArray
) -> tuple[IntArray, tuple[FloatArray, ...], FloatArray]:
    """The season of each series, the profiles in use, and the residuals under that choice."""
    season = np.full(values.shape[1], NO_SEASON, dtype=np.int64)
    residuals = values - level
    step = float(np.median(np.diff(timestamps))) if len(timestamps) > 1 else DAILY.seconds
    for index, kind in enumerate(SEASONS):
        candidates = np.flatnonzero(whole_periods(timestamps, values, kind) >= kind.whole_periods)
        if len(candidates) == 0 or step > kind.seconds / 2:
            continue
        buckets = bucket_count(kind, step)
        seasonal = held_out_residuals(timestamps, values[:, candidates], kind, buckets)
        better = helps(seasonal, residuals[:, candidates])
        season[candidates[better]] = index
        residuals[:, candidates[better]] = seasonal[:, better]
    profiles = tuple(_profile(timestamps, values[:, season == i], kind, step) for i, kind in enumerate(SEASONS))
    return season, profiles, residuals


def _profile(timestamps: FloatArray, values: FloatArray, kind: SeasonKind, step: float) -> FloatArray:
    buckets = bucket_count(kind, step)
    if values.shape[1] == 0:
        return np.empty((buckets, 0))
    return fit_profile(timestamps, values, kind, buckets)


def _largest(residuals: FloatArray) -> FloatArray:
    ordered, counts = sort_columns(residuals)
    if len(ordered) == 0:
        return np.zeros(int(ordered.shape[1]))
    last = ordered[np.maximum(counts - 1, 0), np.arange(ordered.shape[1])]
    return np.asarray(np.maximum(np.nan_to_num(last, nan=0.0), 0.0), dtype=np.float64)


def _presence(there: BoolArray) -> FloatArray:
    rows = there.shape[0] - first_true(there)
    return np.asarray(count_true(there) / np.maximum(rows, 1), dtype=np.float64)


def _drop_retired(matrix: SeriesMatrix, now: datetime) -> SeriesMatrix:
    recent = matrix.timestamps >= (now - RETIRED_AFTER).timestamp()
    keep = any_true(~np.isnan(matrix.values[recent]))
    labels = tuple(matrix.labels[column] for column in np.flatnonzero(keep))
    return replace(matrix, values=matrix.values[:, keep], labels=labels, prints=None)
