"""A canary: one instance with the fix under a little real traffic, judged against its peers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import numpy as np
from scipy import stats


class CanaryVerdict(StrEnum):
    PROMOTE = "promote"
    REVERT = "revert"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one side served during the canary. `latencies` are in seconds, independent of each other; may be empty."""

    requests: int
    errors: int
    latencies: tuple[float, ...] = ()

    @property
    def error_ratio(self) -> float:
        return self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryPolicy:
    """How much evidence promotes, and how much reverts.

    `margin` is the greatest excess of errors (a share, 0..1) that could still hide behind a promotion at
    `confidence`; `significance` is the level of the one-sided tests that revert.
    """

    traffic_share: float = 0.1
    window: timedelta = timedelta(seconds=15)
    deadline: timedelta = timedelta(seconds=45)
    minimum_requests: int = 30
    margin: float = 0.1
    confidence: float = 0.95
    significance: float = 0.01
    control_error_limit: float = 0.2  # peers above it are no yardstick
    slower_factor: float = 1.5
    minimum_latencies: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryResult:
    verdict: CanaryVerdict
    reason: str
    canary: Sample
    control: Sample


def judge_canary(canary: Sample, control: Sample, policy: CanaryPolicy) -> CanaryResult:
    """Promote, revert, or say that the evidence does not suffice.

    Revert: the canary fails more than its peers (Fisher's exact test, one-sided) or is slower (Mann-Whitney, one-sided,
    and by `slower_factor` in the median). Promote: the upper bound of the excess of errors (Newcombe's hybrid score
    interval) stays below `margin`. Assumes that requests are independent; both sides need `minimum_requests` for a
    promotion, while a canary that fails clearly is reverted on fewer.
    Source: Newcombe, Statistics in Medicine 17 (1998), method 10.
    """

    def result(verdict: CanaryVerdict, reason: str) -> CanaryResult:
        return CanaryResult(verdict=verdict, reason=reason, canary=canary, control=control)

    share = f"{canary.errors} of {canary.requests} requests failed, {control.errors} of {control.requests} at its peers"
    if control.requests and control.error_ratio > policy.control_error_limit:
        limit = policy.control_error_limit
        return result(CanaryVerdict.INCONCLUSIVE, f"the peers fail too ({share}; limit {limit:.0%}): no yardstick")
    p_value = errors_p_value(canary, control)
    if p_value < policy.significance:
        return result(CanaryVerdict.REVERT, f"it fails more than its peers: {share} (p = {p_value:.2g})")
    for name, side in (("the canary", canary), ("the peers", control)):
        if side.requests < policy.minimum_requests:
            needed = f"{side.requests} requests, needs {policy.minimum_requests}"
            return result(CanaryVerdict.INCONCLUSIVE, f"{name} had {needed} ({share})")
    slower = _slower(canary.latencies, control.latencies, policy)
    if slower:
        return result(CanaryVerdict.REVERT, slower)
    bound = excess_bound(canary, control, policy.confidence)
    if bound > policy.margin:
        text = f"{share}; an excess of up to {bound:.1%} is possible, limit {policy.margin:.0%}"
        return result(CanaryVerdict.INCONCLUSIVE, text)
    text = f"{share}; an excess above {bound:.1%} is ruled out at {policy.confidence:.0%}"
    return result(CanaryVerdict.PROMOTE, text)


def errors_p_value(canary: Sample, control: Sample) -> float:
    """How likely the canary's errors, or more, would be if both sides failed alike; 1.0 where a side is empty."""
    if not canary.requests or not control.requests:
        return 1.0
    table = np.array([[side.errors, side.requests - side.errors] for side in (canary, control)])
    return float(stats.fisher_exact(table, alternative="greater").pvalue)


def excess_bound(canary: Sample, control: Sample, confidence: float) -> float:
    """The upper bound of (canary's error ratio - control's), one-sided."""
    z = float(stats.norm.ppf(confidence))
    _, upper = _wilson(canary, z)
    lower, _ = _wilson(control, z)
    p1, p2 = canary.error_ratio, control.error_ratio
    return p1 - p2 + float(np.hypot(upper - p1, p2 - lower))


def canary_weight(peer_weights: Sequence[int], share: float, *, most: int = 256) -> int:
    """The weight that gives the canary about `share` of the traffic beside its peers, at least 1.

    Source: HAProxy serves by weight / sum of weights, weights are 0..256.

    >>> canary_weight([100, 100], 0.1)
    22
    """
    total = sum(peer_weights)
    return max(1, min(most, round(total * share / (1 - share)))) if total else 1


def _wilson(sample: Sample, z: float) -> tuple[float, float]:
    if not sample.requests:
        return 0.0, 1.0
    n, p = sample.requests, sample.error_ratio
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    return max(0.0, middle - half), min(1.0, middle + half)


def _slower(canary: Sequence[float], control: Sequence[float], policy: CanaryPolicy) -> str | None:
    if min(len(canary), len(control)) < policy.minimum_latencies:
        return None
    median, usual = float(np.median(canary)), float(np.median(control))
    p_value = float(stats.mannwhitneyu(canary, control, alternative="greater").pvalue)
    if p_value < policy.significance and median > usual * policy.slower_factor:
        times = f"{median * 1000:.3g} ms against {usual * 1000:.3g} ms at its peers"
        return f"it is slower than its peers: median {times} (p = {p_value:.2g})"
    return None
