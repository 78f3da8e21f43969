"""A sample: what one side of a canary served, and how far its values hang together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
_MOST_BATCHES, _BATCH, _FEWEST_BATCHES = 64, 5, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one side served during the canary.

    `latencies` are in seconds and in the order in which the requests came; `saturation` is how full the side was at
    each look (CPU, queue, pool: a share, or whatever unit both sides have in common). Both may be empty.
    """

    requests: int
    errors: int
    latencies: tuple[float, ...] = ()
    saturation: tuple[float, ...] = ()

    @property
    def error_ratio(self) -> float:
        return self.errors / self.requests if self.requests else 0.0


def design_effect(values: Values) -> float:
    """How many values say as much as one independent value would, at least 1; 1 where there are too few to tell.

    Requests that come one after the other share a queue, a cache, a pause of the collector, so that a thousand of them
    say less than a thousand. Method: the variance of batch means against what independence would give (Schmeiser,
    Operations Research 30 (1982): some tens of batches). `values` are in the order in which they came.
    """
    batches = min(_MOST_BATCHES, len(values) // _BATCH)
    spread = float(np.var(values)) if batches >= _FEWEST_BATCHES else 0.0
    if spread == 0.0:
        return 1.0
    size = len(values) // batches
    means = values[: size * batches].reshape(batches, size).mean(axis=1)
    return max(1.0, float(np.var(means, ddof=1)) * size / spread)
