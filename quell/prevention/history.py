"""History: the stretch of a signal that limits may be learned from, and its alarms under a limit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from scipy.special import chdtri

from quell.incidents.series import FloatArray, SeriesMatrix

Period = tuple[datetime, datetime]
WEEK = timedelta(weeks=1)
_RATE_NEEDS_WEEKS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One alarm: a series beyond its limit for the holding time or longer. `series` indexes the matrix."""

    series: int
    at: float  # epoch seconds of the moment the alarm would fire
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Alarms per week and series, with an exact Poisson interval (Garwood, Biometrika 28, 1936)."""

    count: int
    weeks: float  # series-weeks observed
    low: float
    high: float

    @property
    def per_week(self) -> float:
        return self.count / self.weeks if self.weeks else float("nan")

    def __str__(self) -> str:
        if not self.weeks:
            return "unknown, as there is no history"
        if self.weeks < _RATE_NEEDS_WEEKS:
            return f"{self.count} in {span_in_words(self.weeks)} of history, too short to tell a rate per week"
        return (
            f"{self.per_week:.3g} per week ({self.low:.2g} to {self.high:.2g}; {self.count} in {self.weeks:.3g} weeks)"
        )


def span_in_words(weeks: float) -> str:
    """A length of history, added up over the series.

    >>> span_in_words(2.5), span_in_words(0.5), span_in_words(0.0005), span_in_words(math.inf)
    ('2.5 weeks', '3.5 days', '5.04 minutes', 'endless history')
    """
    if math.isinf(weeks):
        return "endless history"
    seconds = weeks * WEEK.total_seconds()
    for size, unit in ((WEEK.total_seconds(), "weeks"), (86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} seconds"


def mask_periods(matrix: SeriesMatrix, periods: Sequence[Period]) -> SeriesMatrix:
    """The matrix with NaN inside the periods: nothing is learned there, and no run leads across."""
    values = matrix.values.copy()
    for start, end in periods:
        inside = (matrix.timestamps >= start.timestamp()) & (matrix.timestamps <= end.timestamp())
        values[inside] = np.nan
    return SeriesMatrix(timestamps=matrix.timestamps, values=values, labels=matrix.labels)


def sustained(values: FloatArray, steps: int, *, is_upper: bool) -> FloatArray:
    """What each series kept up for `steps` samples, shape (T, S): the least value (upper), or the greatest (lower).

    NaN where one of the samples is missing: an alarm needs every sample of its holding time.
    """
    held = values.copy()
    for back in range(1, steps):
        earlier = np.full_like(values, np.nan)
        earlier[back:] = values[:-back] if back < len(values) else np.nan
        held = np.minimum(held, earlier) if is_upper else np.maximum(held, earlier)
    return held


def find_episodes(matrix: SeriesMatrix, limit: float, *, steps: int, is_upper: bool) -> tuple[Episode, ...]:
    """Every alarm that the limit would have raised, by time. A missing sample ends an alarm."""
    held = sustained(matrix.values, steps, is_upper=is_upper)
    beyond = held > limit if is_upper else held < limit
    episodes: list[Episode] = []
    for series in range(beyond.shape[1]):
        edges = np.diff(np.concatenate([[0], beyond[:, series].astype(np.int8), [0]]))
        for start, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            stretch = held[start:end, series]
            worst = float(stretch.max() if is_upper else stretch.min())
            episodes.append(Episode(series=series, at=float(matrix.timestamps[start]), worst=worst))
    return tuple(sorted(episodes, key=lambda e: (e.at, e.series)))


def observed_weeks(matrix: SeriesMatrix) -> float:
    """Series-weeks with samples; the grid's step is the median difference. 0 for fewer than two rows."""
    if len(matrix.timestamps) < 2:
        return 0.0
    step = float(np.median(np.diff(matrix.timestamps)))
    return float(np.isfinite(matrix.values).sum()) * step / WEEK.total_seconds()


def alarm_rate(count: int, weeks: float, *, confidence: float = 0.95) -> Rate:
    """The rate with its two-sided interval."""
    if weeks <= 0:
        return Rate(count=count, weeks=0.0, low=0.0, high=float("inf"))
    tail = (1 - confidence) / 2
    low = float(chdtri(2 * count, 1 - tail)) / 2 if count else 0.0
    high = float(chdtri(2 * (count + 1), tail)) / 2
    return Rate(count=count, weeks=weeks, low=low / weeks, high=high / weeks)
