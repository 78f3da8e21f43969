"""A canary: one instance with the fix under a little real traffic, judged against its peers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from quell.resolution.comparison import Comparison, needed_for
from quell.resolution.excess import compare_errors, errors_p_value, excess_bound, plan_errors
from quell.resolution.policy import THOROUGH, CanaryPolicy
from quell.resolution.rollout import canary_weight
from quell.resolution.sample import Sample, Values
from quell.resolution.shift import shift_of
from quell.resolution.tail import LEAST_SECONDS, compare_tails, limits, plan_tail

__all__ = [
    "THOROUGH",
    "CanaryPolicy",
    "CanaryResult",
    "CanaryVerdict",
    "Sample",
    "canary_weight",
    "errors_p_value",
    "excess_bound",
    "judge_canary",
    "requests_needed",
]


class CanaryVerdict(StrEnum):
    PROMOTE = "promote"
    REVERT = "revert"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryResult:
    """`missing` is how many more requests the canary would need, by what has been seen so far."""

    verdict: CanaryVerdict
    reason: str
    canary: Sample
    control: Sample
    comparisons: tuple[Comparison, ...] = ()
    missing: int = 0


def judge_canary(canary: Sample, control: Sample, policy: CanaryPolicy) -> CanaryResult:
    """Promote, revert, or say that the evidence does not suffice, and how many requests it lacks.

    Errors, latencies (all of them, and their 99th percentile) and saturation are compared, each with a test, an
    interval and a change that matters. Revert: one of them is worse beyond doubt and by enough to matter. Promote: for
    each of them a change of its margin is ruled out, by an interval that is narrow enough. Everything else is
    inconclusive; so is a metric that the policy asks for and that has no values. A canary that fails clearly is
    reverted on few requests. `canary` and `control` served at the same time.
    """
    found = tuple(_compare(canary, control, policy))
    verdict, reason = _rule(canary, control, policy, found)
    missing = 0
    if verdict is CanaryVerdict.INCONCLUSIVE:
        least = max(policy.minimum_requests, policy.minimum_latencies if policy.p99_margin is not None else 0)
        missing = max([least - canary.requests, 0, *(comparison.missing for comparison in found)])
    return CanaryResult(
        verdict=verdict, reason=reason, canary=canary, control=control, comparisons=found, missing=missing
    )


def requests_needed(policy: CanaryPolicy, *, error_ratio: float = 0.0, slope: float | None = None) -> int:
    """What a verdict will take from the canary and from a control of the same size, before anything is measured.

    `error_ratio` is how often the service fails today, `slope` how steep its tail is (`plan_tail`).
    """
    return max(plan_errors(policy, error_ratio), plan_tail(policy, slope))


def _rule(
    canary: Sample, control: Sample, policy: CanaryPolicy, found: Sequence[Comparison]
) -> tuple[CanaryVerdict, str]:
    errors = found[0]
    if control.requests and control.error_ratio > policy.control_error_limit:
        limit = policy.control_error_limit
        return CanaryVerdict.INCONCLUSIVE, f"the peers fail too ({errors.figures}; limit {limit:.0%}): no yardstick"
    is_final = all(comparison.is_precise for comparison in found) and not _lacking(canary, control, policy)
    significance = policy.significance if is_final else policy.early_significance
    for comparison in found:
        if comparison.is_worse(significance):
            head = "it fails more than its peers" if comparison is errors else f"its {comparison.metric} is worse"
            return CanaryVerdict.REVERT, f"{head}: {comparison.figures} (p = {comparison.p_value:.2g})"
    lacking = _lacking(canary, control, policy)
    if lacking:
        return CanaryVerdict.INCONCLUSIVE, f"{lacking} ({errors.figures})"
    open_ones = [comparison for comparison in found if not (comparison.is_fine and comparison.is_precise)]
    if open_ones:
        return CanaryVerdict.INCONCLUSIVE, "; ".join(_still_possible(comparison) for comparison in open_ones)
    text = "; ".join(f"{c.figures}; an excess above {c.bound} is ruled out" for c in found)
    return CanaryVerdict.PROMOTE, f"{text} at {policy.confidence:.3g}"


def _still_possible(comparison: Comparison) -> str:
    text = f"{comparison.figures}; an excess of up to {comparison.bound} is possible"
    return f"{text}, which {comparison.needed:,} requests would tell, {comparison.missing:,} are missing"


def _lacking(canary: Sample, control: Sample, policy: CanaryPolicy) -> str:
    """Which side has fewer values than the policy's minimum; empty when both have enough."""
    latencies = policy.minimum_latencies if policy.p99_margin is not None else 0
    for name, side in (("the canary", canary), ("the peers", control)):
        counts = (
            (side.requests, policy.minimum_requests, "requests"),
            (len(side.latencies), latencies, "latencies"),
            (len(side.saturation), policy.minimum_saturation if policy.saturation else 0, "looks at saturation"),
        )
        for has, needs, what in counts:
            if has < needs:
                return f"{name} had {has:,} {what}, needs {needs:,}"
    return ""


def _compare(canary: Sample, control: Sample, policy: CanaryPolicy) -> list[Comparison]:
    """Errors always and first; the others where both sides have values enough."""
    found = [compare_errors(canary, control, policy)]
    sides = [np.asarray(side.latencies, dtype=np.float64) for side in (canary, control)]
    if min(len(side) for side in sides) >= policy.minimum_latencies:
        found.append(_compare_latencies(sides[0], sides[1], policy))
        if policy.p99_margin is not None:
            found.append(compare_tails(sides[0], sides[1], policy, policy.p99_margin))
    looks = [np.asarray(side.saturation, dtype=np.float64) for side in (canary, control)]
    if min(len(side) for side in looks) >= policy.minimum_saturation:
        found.append(_compare_saturation(looks[0], looks[1], canary.requests, policy))
    return found


def _compare_latencies(canary: Values, control: Values, policy: CanaryPolicy) -> Comparison:
    """By ratio: the shift of the logarithms."""
    logs = [np.log(np.maximum(side, LEAST_SECONDS)) for side in (canary, control)]
    shift = shift_of(logs[0], logs[1], policy.confidence)
    medians = [max(float(np.median(side)), LEAST_SECONDS) for side in (canary, control)]
    margin, floor = limits(policy.slower_factor - 1, policy.latency_floor.total_seconds() / medians[1])
    half, wanted = max(shift.high - shift.estimate, shift.estimate - shift.low), policy.precision * margin
    times = f"{medians[0] * 1000:.3g} ms against {medians[1] * 1000:.3g} ms at its peers"
    return Comparison(
        metric="latency",
        estimate=shift.estimate,
        low=shift.low,
        high=shift.high,
        p_value=shift.p_value,
        margin=margin,
        floor=floor,
        requests=len(canary),
        needed=needed_for(len(canary), half, wanted) if math.isfinite(half) else 2 * len(canary),
        is_precise=half <= wanted,
        figures=f"median {times}, shifted by {math.expm1(shift.estimate):+.1%}, Cliff's delta {shift.delta:+.2f}",
        bound=f"{math.expm1(shift.high):+.1%}",
    )


def _compare_saturation(canary: Values, control: Values, requests: int, policy: CanaryPolicy) -> Comparison:
    """By difference: a control that is idle has no ratio. `needed` counts requests at the pace of the looks."""
    shift = shift_of(canary, control, policy.confidence)
    usual = float(np.median(control))
    margin = max(policy.saturation_margin * abs(usual), policy.saturation_floor)
    half, wanted = max(shift.high - shift.estimate, shift.estimate - shift.low), policy.precision * margin
    return Comparison(
        metric="saturation",
        estimate=shift.estimate,
        low=shift.low,
        high=shift.high,
        p_value=shift.p_value,
        margin=margin,
        floor=margin / 2,
        requests=requests,
        needed=needed_for(requests, half, wanted) if math.isfinite(half) else 2 * requests,
        is_precise=half <= wanted,
        figures=f"saturation {float(np.median(canary)):.3g} against {usual:.3g} at its peers",
        bound=f"{shift.high:+.3g}",
    )
