"""Maintenance: planned times in which alerts are muted and nothing is learned."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

from quell.incidents.labels import Labels
from quell.incidents.matcher import Matcher, matches_all

Period = tuple[datetime, datetime]
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weekly:
    """The same hours on some days of every week (Monday is 0) in a zone; an end not after the start is the next day's.

    The clock on the wall counts: across a change to daylight saving time it may last an hour more or less.
    """

    days: tuple[int, ...]
    start: time
    end: time
    zone: tzinfo = UTC

    def periods(self, since: datetime, until: datetime) -> Iterable[Period]:
        """Every occurrence that touches the time between, in order, in UTC."""
        day = since.astimezone(self.zone).date() - _DAY
        last = until.astimezone(self.zone).date()
        while day <= last:
            if day.weekday() in self.days:
                ends_on = day if self.end > self.start else day + _DAY
                start = datetime.combine(day, self.start, tzinfo=self.zone).astimezone(UTC)
                end = datetime.combine(ends_on, self.end, tzinfo=self.zone).astimezone(UTC)
                if start < end and start <= until and end >= since:  # hours that the clock skips are no time at all
                    yield start, end
            day += _DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """Which label sets, and when: once (`once`, start and end) or `weekly`; exactly one of the two is given."""

    name: str
    matchers: tuple[Matcher, ...]
    once: Period | None = None
    weekly: Weekly | None = None
    reason: str = ""
    where: str = ""  # file and line

    def periods(self, since: datetime, until: datetime) -> tuple[Period, ...]:
        """Its times that touch the time between, in order."""
        if self.weekly is not None:
            return tuple(self.weekly.periods(since, until))
        if self.once is not None and self.once[0] <= until and self.once[1] >= since:
            return (self.once,)
        return ()


def find_maintenance(
    planned: Sequence[Maintenance], labels: Labels, *, now: datetime
) -> tuple[Maintenance, datetime] | None:
    """The maintenance in which a label set is now, and when it ends; the one that ends last. Its end is outside."""
    found = [
        (maintenance, end)
        for maintenance in planned
        if matches_all(maintenance.matchers, labels)
        for start, end in maintenance.periods(now, now)
        if start <= now < end
    ]
    return max(found, key=lambda entry: entry[1], default=None)


def maintenance_periods(
    planned: Sequence[Maintenance], of: Iterable[Labels], *, since: datetime, until: datetime
) -> tuple[Period, ...]:
    """The times of every maintenance that concerns one of these label sets."""
    wanted = list(of)
    return tuple(
        period
        for maintenance in planned
        if any(matches_all(maintenance.matchers, labels) for labels in wanted)
        for period in maintenance.periods(since, until)
    )
