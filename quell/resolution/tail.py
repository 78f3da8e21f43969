"""The tail: how much higher the canary's 99th percentile is than its control's."""

import math

import numpy as np
from scipy import stats

from quell.resolution.comparison import Comparison, needed_for
from quell.resolution.policy import CanaryPolicy
from quell.resolution.sample import Values, design_effect

QUANTILE = 0.99
# Beyond the asymptotic number: intervals of a finite sample are uneven, and its design effect is never taken below 1.
# With it 19 canaries in 20 have their verdict by then (benchmarks.canary).
_ALLOWANCE = 1.8
LEAST_SECONDS = 1e-4  # a time that was rounded to 0 has a logarithm as well


def compare_tails(canary: Values, control: Values, policy: CanaryPolicy, margin: float) -> Comparison:
    """The ratio of the two 99th percentiles, without any assumption on the shape of the latencies.

    Each side's interval comes from its order statistics (the binomial distribution of how many values lie below the
    quantile); the two are put together by square-and-add, as the errors' are (MOVER: Zou and Donner, Statistics in
    Medicine 27 (2008)). The p-value is that of the requests beyond the common quantile. Both use the effective sample
    size (`design_effect`), so that bursts do not pass for evidence. An interval without an end says that a side has
    too few requests.
    """
    z = float(stats.norm.ppf(policy.confidence))
    cut = float(np.quantile(np.concatenate((canary, control)), QUANTILE))
    effect = design_effect((canary > cut).astype(np.float64), (control > cut).astype(np.float64))
    sizes = [len(side) / effect for side in (canary, control)]
    (q1, low1, high1), (q0, low0, high0) = (
        _quantile(side, n, z) for side, n in zip((canary, control), sizes, strict=True)
    )
    estimate = math.log(q1 / q0)
    low = estimate - math.hypot(math.log(q1 / low1), math.log(high0 / q0))
    high = estimate + math.hypot(math.log(high1 / q1), math.log(q0 / low0))
    allowed, least = limits(margin, policy.latency_floor.total_seconds() / q0)
    half, wanted = max(high - estimate, estimate - low), policy.precision * allowed
    is_bounded = math.isfinite(half)
    return Comparison(
        metric="p99",
        estimate=estimate,
        low=low,
        high=high,
        p_value=_beyond(canary, control, cut, sizes),
        margin=allowed,
        floor=least,
        requests=len(canary),
        needed=needed_for(len(canary), half, wanted) if is_bounded else max(plan_tail(policy), 2 * len(canary)),
        is_precise=half <= wanted,
        figures=f"p99 {q1 * 1000:.4g} ms against {q0 * 1000:.4g} ms at its peers",
        bound=f"{math.expm1(high):+.1%}" if is_bounded else "any size",
    )


def plan_tail(policy: CanaryPolicy, slope: float | None = None) -> int:
    """The requests each side needs to tell a 99th percentile that is higher by the margin from an equal one.

    `slope` is the logarithm's density at the quantile, as density of the latency times the latency; without it that of
    an exponential tail is taken. A tail that falls as a power -a of the latency has the slope 0.01 a.
    """
    if policy.p99_margin is None:
        return 0
    beyond = 1 - QUANTILE
    slope = slope or -beyond * math.log(beyond)
    z = float(stats.norm.ppf(policy.confidence))
    wanted = policy.precision * math.log1p(policy.p99_margin)
    return math.ceil(_ALLOWANCE * 2 * QUANTILE * beyond * (z / (slope * wanted)) ** 2)


def limits(margin: float, felt: float) -> tuple[float, float]:
    """How much higher, as a logarithm, must not be promoted, and how much reverts: half of it, if anybody feels that.

    Both arguments are parts of the control's own value; `felt` is the absolute floor.
    """
    return math.log1p(max(margin, felt)), max(math.log1p(margin) / 2, math.log1p(felt))


def _quantile(values: Values, size: float, z: float) -> tuple[float, float, float]:
    """The quantile and its bounds; the upper one is infinite where the sample ends before it."""
    half = z * math.sqrt(QUANTILE * (1 - QUANTILE) / size)
    levels = np.clip([QUANTILE, QUANTILE - half, min(QUANTILE + half, 1.0)], 0, 1)
    found, low, high = (max(float(value), LEAST_SECONDS) for value in np.quantile(values, levels))
    return found, low, high if QUANTILE + half < 1.0 else math.inf


def _beyond(canary: Values, control: Values, cut: float, sizes: list[float]) -> float:
    shares = [float(np.mean(side > cut)) for side in (canary, control)]
    common = float(np.mean(np.concatenate((canary, control)) > cut))
    spread = math.sqrt(common * (1 - common) * sum(1 / size for size in sizes))
    return float(stats.norm.sf((shares[0] - shares[1]) / spread)) if spread else 1.0
