"""The canary at work: a little real traffic on the mended instance, step by step, counted and judged."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from quell.incidents.fix import Fix
from quell.resolution.canary import (
    CanaryPolicy,
    CanaryResult,
    CanaryVerdict,
    Sample,
    judge_canary,
    requests_needed,
)
from quell.resolution.look import is_due
from quell.resolution.rollout import RolloutStep, weight_within
from tasks.automation import automation_enabled
from tasks.canary_counts import Counter
from tasks.exposure import Exposure
from tasks.fix import note
from tasks.lane import Lane, after_canary, close_lane
from tasks.lease import Hold
from tasks.resources import Resources

_POLL_SECONDS = 1.0


@dataclass(slots=True, kw_only=True)
class Watch:
    """One canary while it runs."""

    res: Resources
    fix: Fix
    lane: Lane
    lease: Hold
    policy: CanaryPolicy
    sleep: Callable[[float], None] = time.sleep
    exposure: Exposure | None = None  # of the step that runs
    exposed: int = 0  # requests that the canary has served over all steps
    served: int = 0  # by all meanwhile

    def count(self) -> None:
        """Add what the step has exposed, once it is over."""
        exposed, served = self.exposure.read() if self.exposure is not None else (0, 0)
        self.exposed, self.served, self.exposure = self.exposed + exposed, self.served + served, None


def run_canary(
    res: Resources,
    fix: Fix,
    lane: Lane,
    lease: Hold,
    policy: CanaryPolicy,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> CanaryResult:
    """Give the instance its share of traffic, step by step, and judge each until it has a verdict or its deadline.

    The intent and the state before are in the journal before a weight is changed. The first step that is not promoted
    ends it, and everything is put back here, before anything else is written. Missing metrics are no evidence: they
    end inconclusive. Of what is served in a step no more than its share is exposed: the weight follows the counts.
    """
    watch = Watch(res=res, fix=fix, lane=lane, lease=lease, policy=policy, sleep=sleep)
    steps = lane.steps(policy.shares)
    result = no_verdict("the policy has no shares: nothing was tried")
    for place, step in enumerate(steps, start=1):
        result = _run_step(watch, step)
        has_ended = result.verdict is not CanaryVerdict.PROMOTE
        if has_ended:
            close_lane(res, fix)
        watch.count()
        if len(steps) > 1:
            share = f"weight {step.weight}, step {place} of {len(steps)}"
            note(res, fix, f"canary step {result.verdict}", f"{share}: {result.reason}")
        if has_ended:
            note(res, fix, "canary ended", after_canary(fix))
            break
    exposed = f"{watch.exposed:,} of {watch.served:,} requests were exposed to it"
    return replace(result, reason=f"{result.reason}; {exposed}") if watch.served else result


def _run_step(watch: Watch, step: RolloutStep) -> CanaryResult:
    res, policy, lane = watch.res, watch.policy, watch.lane
    counter = Counter(res, lane, policy)
    watch.exposure = exposure = Exposure(lane, counter)
    weight = weight_within(step, 0, 0)
    lane.open(res, watch.fix, watch.lease, step, weight)
    start = res.clock()
    result: CanaryResult | None = None
    before: Sample | None = None
    while True:
        elapsed = res.clock() - start
        with res.store.writing() as tx:
            watch.lease.renew(tx, res.clock())
            if not automation_enabled(tx):
                return _inconclusive(result, "automation was switched off")
        if elapsed > policy.deadline:
            break
        if elapsed >= policy.warm_up and counter.read():
            canary, control = counter.samples()
            if is_due(canary, before) or _is_over(elapsed, policy):
                result, before = judge_canary(canary, _yardstick(lane, control, policy), policy), canary
            if result and _has_ended(result, elapsed, policy):
                break
        weight = _adjust(lane, step, weight, exposure.read())
        watch.sleep(_POLL_SECONDS)
    if result and _has_ended(result, elapsed, policy):
        return result
    return _inconclusive(result, _too_late(result, policy))


def _adjust(lane: Lane, step: RolloutStep, weight: int, counts: tuple[int, int]) -> int:
    """The weight that holds what is exposed to the step's share, in force."""
    wanted = weight_within(step, *counts)
    if wanted != weight:
        lane.weigh(wanted)
    return wanted


def _yardstick(lane: Lane, control: Sample, policy: CanaryPolicy) -> Sample:
    """Where the control runs the very thing that the fix mends, and fails of it, the canary is to have no failures.

    Beside a control that fails as often, a fix that mends nothing would have no excess.
    """
    if lane.is_control_bad and control.error_ratio > policy.control_error_limit:
        return replace(control, errors=0)
    return control


def _is_over(elapsed: timedelta, policy: CanaryPolicy) -> bool:
    """Whether this is the last look, which is taken whatever has come since the one before."""
    return elapsed + timedelta(seconds=_POLL_SECONDS) > policy.deadline


def _has_ended(result: CanaryResult, elapsed: timedelta, policy: CanaryPolicy) -> bool:
    if result.verdict is CanaryVerdict.PROMOTE:
        return elapsed >= policy.window
    return result.verdict is CanaryVerdict.REVERT


def _too_late(result: CanaryResult | None, policy: CanaryPolicy) -> str:
    text = f"no verdict within {policy.deadline.total_seconds():g} s"
    if result is None:
        return text
    planned = requests_needed(policy, error_ratio=result.control.error_ratio)
    missing = f"{result.missing:,} requests of the canary were missing, of about {planned:,} that the policy takes"
    return f"{text}: {result.reason}" + (f"; {missing}" if result.missing else "")


def no_verdict(reason: str) -> CanaryResult:
    """Inconclusive, before anything could be counted."""
    nothing = Sample(requests=0, errors=0)
    return CanaryResult(verdict=CanaryVerdict.INCONCLUSIVE, reason=reason, canary=nothing, control=nothing)


def _inconclusive(result: CanaryResult | None, reason: str) -> CanaryResult:
    return replace(result, verdict=CanaryVerdict.INCONCLUSIVE, reason=reason) if result else no_verdict(reason)
