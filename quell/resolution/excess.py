"""Errors: how many more of the canary's requests fail than of its control's."""

import math

import numpy as np
from scipy import stats

from quell.resolution.comparison import Comparison, needed_for
from quell.resolution.policy import CanaryPolicy
from quell.resolution.sample import Sample


def compare_errors(canary: Sample, control: Sample, policy: CanaryPolicy) -> Comparison:
    """Fisher's exact test and Newcombe's interval: both hold for a control without errors and for sparse errors."""
    low, high = excess_interval(canary, control, policy.confidence)
    estimate = canary.error_ratio - control.error_ratio
    wanted = policy.precision * policy.margin
    half = max(high - estimate, estimate - low)
    return Comparison(
        metric="errors",
        estimate=estimate,
        low=low,
        high=high,
        p_value=errors_p_value(canary, control),
        margin=policy.margin,
        floor=max(policy.error_floor, policy.error_share * control.error_ratio),
        requests=canary.requests,
        needed=max(needed_for(canary.requests, half, wanted), policy.minimum_requests),
        is_precise=high - estimate <= wanted,
        figures=f"{canary.errors:,} of {canary.requests:,} requests failed, "
        f"{control.errors:,} of {control.requests:,} at its peers",
        bound=f"{high:.1%}",
    )


def errors_p_value(canary: Sample, control: Sample) -> float:
    """How likely the canary's errors, or more, would be if both sides failed alike; 1.0 where a side is empty.

    This is Fisher's one-sided test: the upper tail of the hypergeometric distribution.
    """
    if not canary.requests or not control.requests:
        return 1.0
    failed = canary.errors + control.errors
    total = canary.requests + control.requests
    return float(stats.hypergeom.sf(canary.errors - 1, total, failed, canary.requests))


def excess_interval(canary: Sample, control: Sample, confidence: float) -> tuple[float, float]:
    """The bounds, each one-sided at `confidence`, of (canary's error ratio - control's).

    Source: Newcombe, Statistics in Medicine 17 (1998), method 10: square-and-add of two Wilson intervals.
    """
    z = float(stats.norm.ppf(confidence))
    canary_low, canary_high = _wilson(canary, z)
    control_low, control_high = _wilson(control, z)
    p1, p2 = canary.error_ratio, control.error_ratio
    low = p1 - p2 - math.hypot(p1 - canary_low, control_high - p2)
    return low, p1 - p2 + math.hypot(canary_high - p1, p2 - control_low)


def excess_bound(canary: Sample, control: Sample, confidence: float) -> float:
    """The upper bound of the excess, one-sided."""
    return excess_interval(canary, control, confidence)[1]


def plan_errors(policy: CanaryPolicy, error_ratio: float) -> int:
    """The requests each side needs, beside a control that fails this often, to tell the margin from nothing."""
    z = float(stats.norm.ppf(policy.confidence))
    wanted = policy.precision * policy.margin
    worst = error_ratio + policy.margin
    spread = error_ratio * (1 - error_ratio) + worst * (1 - worst)
    return max(policy.minimum_requests, math.ceil(z * z * spread / wanted**2), math.ceil(z * z * (1 / wanted - 1)))


def _wilson(sample: Sample, z: float) -> tuple[float, float]:
    if not sample.requests:
        return 0.0, 1.0
    n, p = sample.requests, sample.error_ratio
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    return max(0.0, middle - half), min(1.0, middle + half)
