"""A week: ISO 8601, from Monday 00:00 UTC to the next, named `2026-W47`."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from quell.incidents.errors import InvalidInput

_NAME = re.compile(r"([12]\d{3})-?W(\d{1,2})", re.IGNORECASE | re.ASCII)  # years in which weeks can be added
_INSTANT = timedelta(microseconds=1)  # as fine as the store keeps times


@dataclass(frozen=True, slots=True, order=True)
class Week:
    """Its `start` belongs to it, its `end` to the next one.

    >>> week = parse_week("2026-W47")
    >>> week.start.isoformat(), week.end.isoformat(), week.before.name
    ('2026-11-16T00:00:00+00:00', '2026-11-23T00:00:00+00:00', '2026-W46')
    """

    start: datetime

    @property
    def end(self) -> datetime:
        return self.start + timedelta(weeks=1)

    @property
    def last(self) -> datetime:
        """Its last instant, for bounds that include both ends."""
        return self.end - _INSTANT

    @property
    def name(self) -> str:
        year, number, _ = self.start.isocalendar()
        return f"{year}-W{number:02d}"

    @property
    def days(self) -> str:
        return f"{self.start:%Y-%m-%d} to {self.last:%Y-%m-%d}"

    @property
    def before(self) -> "Week":
        return Week(self.start - timedelta(weeks=1))

    @property
    def after(self) -> "Week":
        return Week(self.end)

    def contains(self, at: datetime) -> bool:
        return self.start <= at < self.end

    def is_over(self, now: datetime) -> bool:
        return now >= self.end


def week_of(at: datetime) -> Week:
    """The week that a moment belongs to."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Week(day - timedelta(days=day.weekday()))


def parse_week(text: str) -> Week:
    """Raises InvalidInput for what is no week."""
    found = _NAME.fullmatch(text.strip())
    try:
        year, number = (int(part) for part in found.groups()) if found else (0, 0)
        return Week(datetime.fromisocalendar(year, number, 1).replace(tzinfo=UTC))
    except ValueError as error:
        raise InvalidInput(f"week is {text[:20]!r}; write year and ISO week, as in 2026-W47") from error
