"""A comparison: how much worse the canary is than its control in one metric, with interval and what it would take."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`estimate`, `low` and `high` say how much worse the canary is; 0 is equal, below 0 is better.

    They are shares for errors, logarithms of a ratio for latencies, and the metric's own unit for saturation.
    `margin` is the smallest change that must not be promoted, `floor` the smallest that reverts. `requests` is what the
    canary has, `needed` what it takes for an interval narrow enough to tell the margin from nothing.
    """

    metric: str
    estimate: float
    low: float
    high: float
    p_value: float
    margin: float
    floor: float
    requests: int
    needed: int
    is_precise: bool
    figures: str  # both sides in words, for people
    bound: str  # `high` in words

    def is_worse(self, significance: float) -> bool:
        """Whether it is worse beyond doubt and by enough to matter."""
        return self.p_value < significance and self.estimate >= self.floor

    @property
    def is_fine(self) -> bool:
        """Whether a change of `margin` is ruled out."""
        return self.high < self.margin

    @property
    def missing(self) -> int:
        return max(self.needed - self.requests, 0)


def needed_for(requests: int, half_width: float, wanted: float) -> int:
    """The requests with which an interval of this half-width would have the wanted one; widths fall as 1/sqrt(n).

    >>> needed_for(1000, 0.02, 0.01), needed_for(1000, 0.005, 0.01)
    (4000, 250)
    """
    return math.ceil(requests * (half_width / wanted) ** 2 - 1e-9)
