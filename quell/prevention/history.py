"""History: the stretch of a signal that limits may be learned from, and its alarms under a limit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from scipy.special import chdtri

from quell.incidents.hours import hours_of_week
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

    >>> span_in_words(2.5), span_in_words(1), span_in_words(0.5), span_in_words(0.0005), span_in_words(math.inf)
    ('2.5 weeks', '1 week', '3.5 days', '5.04 minutes', 'endless history')
    """
    if math.isinf(weeks):
        return "endless history"
    seconds = weeks * WEEK.total_seconds()
    for size, unit in ((WEEK.total_seconds(), "week"), (86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            number = f"{seconds / size:.3g}"
            return f"{number} {unit}{'' if number == '1' else 's'}"
    return f"{seconds:.0f} seconds"


def rows_within(timestamps: FloatArray, period: Period) -> slice:
    """The rows of a rising time axis that lie inside the period, start and end included."""
    start, end = (at.timestamp() for at in period)
    return slice(int(timestamps.searchsorted(start, "left")), int(timestamps.searchsorted(end, "right")))


def mask_periods(matrix: SeriesMatrix, periods: Sequence[Period]) -> SeriesMatrix:
    """The matrix with NaN inside the periods: nothing is learned there, and no run leads across."""
    if not periods:
        return matrix
    values = matrix.values.copy()
    for period in periods:
        values[rows_within(matrix.timestamps, period)] = np.nan
    return SeriesMatrix(timestamps=matrix.timestamps, values=values, labels=matrix.labels)


def sustained(values: FloatArray, steps: int, *, is_upper: bool) -> FloatArray:
    """What each series kept up for `steps` samples, shape (T, S): the least value (upper), or the greatest (lower).

    NaN where one of the samples is missing: an alarm needs every sample of its holding time. In windows that double in
    length, so that a long holding time costs little more than a short one.
    """
    meet = np.minimum if is_upper else np.maximum
    held, reach = values.copy(), 1
    while reach < steps:
        further = min(reach, steps - reach)
        held[further:] = meet(held[further:], held[:-further]) if further < len(held) else np.nan
        held[:further] = np.nan
        reach += further
    return held


def find_episodes(
    matrix: SeriesMatrix, limit: float | FloatArray, *, steps: int, is_upper: bool
) -> tuple[Episode, ...]:
    """Every alarm that the limit would have raised, by time. A missing sample ends an alarm.

    `limit` is one value, or one for each hour of the week (168,): each sample is then held against its own hour's.
    """
    held = sustained(matrix.values, steps, is_upper=is_upper)
    rows, series = held.shape
    beyond = np.zeros((series, rows + 1), dtype=np.bool_)  # one row more, so that no alarm leads into the next series
    if isinstance(limit, float | int):
        beyond[:, :rows] = (held > limit if is_upper else held < limit).T
    else:
        own = limit[hours_of_week(matrix.timestamps)][:, np.newaxis]
        passed = sustained(matrix.values - own, steps, is_upper=is_upper)  # 0 only where both are the same
        beyond[:, :rows] = (passed > 0.0 if is_upper else passed < 0.0).T
    edges = np.flatnonzero(np.diff(beyond.ravel(), prepend=False)).reshape(-1, 2)
    episodes: list[Episode] = []
    for start, end in edges.tolist():
        which, at = divmod(start, rows + 1)
        stretch = held[at : at + end - start, which]
        worst = float(stretch.max() if is_upper else stretch.min())
        episodes.append(Episode(series=which, at=float(matrix.timestamps[at]), worst=worst))
    return tuple(sorted(episodes, key=lambda e: (e.at, e.series)))


def tightest_level(held: FloatArray, most: int) -> float:
    """The lowest value of `held` (T, S) that as an upper limit raises at most `most` alarms, as every higher one does.

    Alarms beyond a limit are the samples beyond it less those that have a neighbour beyond it too. Only the highest
    samples are sorted, twice as many each time until there are too many alarms. NaN where nothing is known.
    """
    known = held[np.isfinite(held)]
    if not known.size:
        return math.nan
    joints = np.minimum(held[1:], held[:-1]).ravel()  # NaN where a sample is missing: two alarms
    looked_at = min(256 * (most + 1), known.size)
    while True:
        top = np.sort(np.partition(known, known.size - looked_at)[known.size - looked_at :])
        levels = np.unique(top)
        joined = np.sort(joints[joints >= levels[0]])
        above = len(top) - top.searchsorted(levels, "right")
        alarms = above - (len(joined) - joined.searchsorted(levels, "right"))
        too_many = np.flatnonzero(alarms > most)
        if too_many.size:
            return float(levels[int(too_many[-1]) + 1])  # beyond the highest level there is no alarm
        if looked_at == known.size:
            return float(levels[0])
        looked_at = min(2 * looked_at, known.size)


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
