"""A service level objective: how much of a period may fail, and the windows in which its loss is watched."""

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
