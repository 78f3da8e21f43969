"""Hours of the week, and limits that depend on them. All is UTC, as Prometheus's `hour()` and `day_of_week()` are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from quell.incidents.series import FloatArray

HOURS = 168
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EPOCH_HOUR = 72  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True, kw_only=True)
class HourBand:
    """The hours from `start` (0..23) up to `end` (1..24) on some days (0 is Monday), and their limit.

    Where `end` is at or before `start` the band goes over midnight: the hours from `start` on and those before `end`,
    of each of its days.
    """

    days: tuple[int, ...]
    start: int
    end: int
    limit: float

    @property
    def hours_of_day(self) -> tuple[int, ...]:
        if self.start < self.end:
            return tuple(range(self.start, self.end))
        return (*range(self.end), *range(self.start, 24))

    @property
    def hours(self) -> tuple[int, ...]:
        """Hours of the week, 0..167 from Monday 00:00."""
        return tuple(24 * day + hour for day in self.days for hour in self.hours_of_day)

    @property
    def when(self) -> str:
        """
        >>> HourBand(days=(0, 1, 2, 3, 4), start=8, end=18, limit=1.0).when
        'Mon-Fri 08-18'
        >>> HourBand(days=(5, 6, 0), start=0, end=24, limit=1.0).when
        'Sat-Mon'
        """
        if self.end - self.start == 24:
            return days_in_words(self.days)
        return f"{days_in_words(self.days)} {self.start:02d}-{self.end:02d}"


def hours_of_week(timestamps: FloatArray) -> NDArray[np.int64]:
    """The hour of the week of each time (epoch seconds), 0..167 from Monday 00:00 UTC.

    >>> int(hours_of_week(np.array([datetime(2026, 11, 2, 9, 59, tzinfo=UTC).timestamp()]))[0])
    9
    """
    return np.asarray((timestamps // 3600).astype(np.int64) + _EPOCH_HOUR, dtype=np.int64) % HOURS


def limit_by_hour(bands: Sequence[HourBand]) -> FloatArray:
    """The limit in each hour of the week, shape (168,). Raises ValueError where an hour has none, or two."""
    limits = np.full(HOURS, np.nan)
    seen = [hour for band in bands for hour in band.hours]
    if sorted(seen) != list(range(HOURS)):
        raise ValueError(f"bands must hold each of the {HOURS} hours of the week once, hold {len(seen)} of them")
    for band in bands:
        limits[list(band.hours)] = band.limit
    return limits


def limit_at(bands: Sequence[HourBand], at: datetime) -> float | None:
    """The limit at this moment, None where there are no bands."""
    if not bands:
        return None
    return float(limit_by_hour(bands)[hours_of_week(np.array([at.timestamp()]))[0]])


def bands_in_words(bands: Sequence[HourBand], written: Callable[[float], str]) -> str:
    """Each band's limit; `written` writes a value.

    >>> weekend = HourBand(days=(5, 6), start=0, end=24, limit=2.0)
    >>> bands_in_words([HourBand(days=(0, 1, 2, 3, 4), start=0, end=24, limit=5.0), weekend], "{:g}".format)
    '5 Mon-Fri, 2 Sat, Sun (UTC)'
    """
    return ", ".join(f"{written(band.limit)} {band.when}" for band in bands) + " (UTC)"


def days_in_words(days: Sequence[int]) -> str:
    """
    >>> days_in_words((0, 1, 2, 3, 4)), days_in_words((5, 6)), days_in_words(range(7)), days_in_words((6, 0, 1))
    ('Mon-Fri', 'Sat, Sun', 'every day', 'Sun-Tue')
    """
    if len(set(days)) == len(_DAYS):
        return "every day"
    runs = [[_DAYS[day] for day in run] for run in _runs(days)]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def _runs(days: Sequence[int]) -> Iterator[list[int]]:
    """Unbroken runs of days, one that leads over Sunday in one piece."""
    chosen = set(days)
    first = next((day for day in sorted(chosen) if (day - 1) % 7 not in chosen), 0)
    ordered = [(first + offset) % 7 for offset in range(7)]
    for is_in, run in groupby(ordered, key=chosen.__contains__):
        if is_in:
            yield list(run)
