"""A service level objective: how much of a period may fail, and the windows in which its loss is watched."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """`objective` is the share that must succeed over `period`, 0..1; the rest is the error budget."""

    objective: float
    period: timedelta

    @property
    def error_budget(self) -> float:
        """The share of failures that the objective allows.

        >>> round(Slo(objective=0.999, period=timedelta(days=30)).error_budget, 6)
        0.001
        """
        return 1.0 - self.objective


class BurnUrgency(StrEnum):
    PAGE = "page"  # somebody must act now
    TICKET = "ticket"  # somebody must act within days


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnWindow:
    """Alarm when `budget_share` of the budget is spent within `long`, and it still is being spent within `short`."""

    long: timedelta
    short: timedelta
    budget_share: float
    urgency: BurnUrgency

    def factor(self, period: timedelta) -> float:
        """How many times faster than allowed the budget burns at the limit.

        >>> hour, five = timedelta(hours=1), timedelta(minutes=5)
        >>> window = BurnWindow(long=hour, short=five, budget_share=0.02, urgency=BurnUrgency.PAGE)
        >>> round(window.factor(timedelta(days=30)), 6)
        14.4
        """
        return self.budget_share * (period / self.long)


def windows_in_words(windows: Sequence[BurnWindow], slo: Slo) -> str:
    """
    >>> hour, five = timedelta(hours=1), timedelta(minutes=5)
    >>> window = BurnWindow(long=hour, short=five, budget_share=0.02, urgency=BurnUrgency.PAGE)
    >>> windows_in_words([window], Slo(objective=0.999, period=timedelta(days=30)))
    '14.4 times over 1:00:00 and 0:05:00 (page)'
    """
    return ", ".join(f"{w.factor(slo.period):.3g} times over {w.long} and {w.short} ({w.urgency})" for w in windows)
