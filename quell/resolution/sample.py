"""A sample: what one side of a canary served, and how far its values hang together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
_BATCHES, _LEAST_BATCH = 20, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one side served during the canary.

    `latencies` are in seconds and in the order in which the requests came; `saturation` is how full the side was at
    each look (CPU, queue, pool: a share, or whatever unit both sides have in common). Both may be empty.
    """

    requests: int
    errors: int
    latencies: Sequence[float] = ()
    saturation: Sequence[float] = ()

    @property
    def error_ratio(self) -> float:
        return self.errors / self.requests if self.requests else 0.0


def design_effect(canary: Values, control: Values) -> float:
    """How much wider than for independent values the difference of the two means scatters; at least 1.

    Requests that come one after the other share a queue, a cache, a pause of the collector, so that a thousand of them
    say less than a thousand. What both sides share (a slow database, a rush) cancels, because both served at the same
    time: the values are in the order in which they came, and the same part of each side is the same time. Method: the
    variance of the differences of batch means (Schmeiser, Operations Research 30 (1982): 10 to 30 batches) against
    what independence would give. Below 100 values of a side it cannot be told and is 1.
    """
    if min(len(canary), len(control)) < _BATCHES * _LEAST_BATCH:
        return 1.0
    alone = float(np.var(canary)) / len(canary) + float(np.var(control)) / len(control)
    differences = _batch_means(canary) - _batch_means(control)
    return max(1.0, float(np.var(differences, ddof=1)) / _BATCHES / alone) if alone else 1.0


def _batch_means(values: Values) -> Values:
    edges = np.linspace(0, len(values), _BATCHES + 1).astype(np.int64)
    sums = np.concatenate(([0.0], np.cumsum(values)))[edges]
    return np.diff(sums) / np.diff(edges)
