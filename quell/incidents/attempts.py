"""Attempts: how often somebody has failed to prove who they are, and how long they have to wait for the next one."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.incidents.errors import Refused

FIRST_WAIT = timedelta(seconds=15)
LONGEST_WAIT = timedelta(minutes=15)
FORGOTTEN_AFTER = timedelta(hours=1)


class TooManyTries(Refused):
    """Too many wrong tries: wait as long as the text says, or let a colleague do it."""

    def __init__(self, message: str, *, wait: timedelta) -> None:
        super().__init__(message, rule="too many tries")
        self.wait = wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """What is known of the tries in one person's name, or from one address."""

    failures: int
    last_at: datetime
    locked_until: datetime | None = None

    def wait(self, now: datetime) -> timedelta:
        """How long the next try has to wait; zero where it need not."""
        return max(self.locked_until - now, timedelta(0)) if self.locked_until else timedelta(0)


def count_failure(known: Attempts | None, *, free: int, now: datetime) -> Attempts:
    """One more: the first `free` cost nothing, each further one twice the wait of the one before.

    >>> from datetime import UTC
    >>> now, tries, waits = datetime(2026, 1, 1, tzinfo=UTC), None, []
    >>> for _ in range(6):
    ...     tries = count_failure(tries, free=3, now=now)
    ...     waits.append(tries.wait(now).seconds)
    >>> waits
    [0, 0, 15, 30, 60, 120]
    """
    before = known.failures if known and now - known.last_at < FORGOTTEN_AFTER else 0
    failures = before + 1
    over = failures - free
    wait = min(FIRST_WAIT * 2 ** min(over, 20), LONGEST_WAIT) if over >= 0 else None
    return Attempts(failures=failures, last_at=now, locked_until=now + wait if wait else None)
