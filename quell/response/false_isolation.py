"""False isolation: a healthy instance that was taken out by mistake, told by users whom it did not help and by probes.

Neither is enough alone: an instance may say that it is well and fail its users, and users may be slow to recover.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from quell.incidents.mitigation import BlastRadius, Mitigation, MitigationState, Step
from quell.incidents.outcome import FALSE_ISOLATION
from quell.incidents.probe import Answered
from quell.incidents.series import FloatArray
from quell.incidents.service import Instance, Service
from quell.response.plan import ISOLATING, WEIGHT
from quell.response.playbook import RecoveryRule

SAMPLES = 3  # probes that must all be answered well
_LEAST_STEPS = 3  # samples of the users' signal since the effect
_STILL_AS_BAD = 0.9  # of the level of the trouble: what is below is an improvement
_SLOW_TIMES, _SLOW_SECONDS = 3.0, 0.1  # both above the siblings: far slower than they are


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether probes find an instance well, and what they say."""

    is_well: bool
    words: str


def isolated_instances(steps: Sequence[Step], service: Service) -> tuple[Instance, ...]:
    """The instances that the steps take out altogether; none where a step does something else as well."""
    by_server = {i.server: i for i in service.instances if i.server}
    if not all(_isolates(step) and step.target in by_server for step in steps):
        return ()
    return tuple(dict.fromkeys(by_server[step.target] for step in steps))


def users_not_helped(
    rule: RecoveryRule,
    times: FloatArray,
    worst: FloatArray,
    *,
    limit: float | None,
    step: timedelta,
    applied_at: datetime,
    now: datetime,
    window: timedelta = timedelta(0),
    idle: NDArray[np.bool_] | None = None,
) -> str:
    """Why the isolation cannot be what users needed, in words; empty while that is not known.

    They were never outside the limit for all of `hold`, or they are outside as much as before although the signal has
    forgotten what was before: it looks back over `window`, and cannot fall earlier. `idle` says at which of `times`
    the metrics answered that nobody asked for anything: nobody was outside then. Where samples are missing nothing is
    known.
    """
    wait, lasted = max(rule.hold, _LEAST_STEPS * step), now - applied_at
    if limit is None or rule.preventive or lasted < wait:
        return ""
    known = np.isfinite(worst)
    told = known if idle is None else known | idle
    until, after = times <= applied_at.timestamp(), (times > applied_at.timestamp()) & (times <= now.timestamp())
    if np.sum(after) < wait // step or not np.all(told[after]) or not np.any(told[until]):
        return ""
    before, since = worst[until & known], worst[after & known]
    figures = f"{rule.signal} {_worst(before)} before, {_latest(worst[after])} now, limit {limit:.4g}"
    if not np.any(worst[known & (until | after)] > limit):
        return f"users were never outside the limit ({figures})"
    is_settled = window <= timedelta(0) or lasted >= window + step
    if not is_settled or not len(before) or len(since) < np.sum(after) or not _is_as_bad(before, since, limit):
        return ""
    return f"users were not helped in {lasted.total_seconds():.0f} s ({figures})"


def _is_as_bad(before: FloatArray, since: FloatArray, limit: float) -> bool:
    level = max(float(np.median(part)) for part in (before[before > limit], since) if len(part))
    recent = since[-_LEAST_STEPS:]
    return bool(recent[-1] > limit and min(recent[-1], np.median(recent)) >= _STILL_AS_BAD * level)


def _worst(values: FloatArray) -> str:
    return f"{np.max(values):.4g} at worst" if len(values) else "without traffic"


def _latest(values: FloatArray) -> str:
    return f"{values[-1]:.4g}" if np.isfinite(values[-1]) else "without traffic"


def health_of(name: str, samples: Sequence[Answered], siblings: Sequence[Answered]) -> Health:
    """Well: every probe is answered well, and not far more slowly than those siblings that are well."""
    bad = [answer for answer in samples if not answer.is_well]
    if bad or len(samples) < SAMPLES:
        said = bad[0].words if bad else f"{len(samples)} of {SAMPLES} samples"
        return Health(is_well=False, words=f"{name} does not answer its probe well: {said}")
    own = float(np.median([answer.seconds for answer in samples]))
    others = [answer.seconds for answer in siblings if answer.is_well]
    usual = float(np.median(others)) if others else None
    compared = f", its siblings {usual * 1000:.0f} ms" if usual is not None else ""
    figures = f"{len(samples)} of {len(samples)}, {own * 1000:.0f} ms in the median{compared}"
    if usual is not None and own > _SLOW_TIMES * usual and own > usual + _SLOW_SECONDS:
        return Health(is_well=False, words=f"{name} answers its probe far more slowly than its siblings: {figures}")
    return Health(is_well=True, words=f"{name} answers its probe well: {figures}")


def false_isolation(unhelped: str, health: Sequence[Health], trouble: Sequence[str], cost: str) -> str:
    """The judgement in words; empty where something speaks for the isolation. `trouble`: what the lever sees."""
    if not unhelped or not health or trouble or not all(one.is_well for one in health):
        return ""
    said = "; ".join(one.words for one in health)
    return f"{FALSE_ISOLATION}{unhelped}; {said}; the load balancer finds nothing wrong; {cost}"


def cost_of(radius: BlastRadius, lasted: timedelta) -> str:
    """What a mitigation took from its service, and for how long.

    >>> cost_of(BlastRadius(service="api", instances=("api-1",), capacity_share=1 / 3, capacity_left=2 / 3),
    ...     timedelta(seconds=12))
    "it cost 33 % of api's capacity for 12 s"
    """
    return f"it cost {radius.capacity_share * 100:.0f} % of {radius.service}'s capacity for {_span(lasted)}"


def cost_so_far(mitigation: Mitigation, now: datetime) -> str:
    """From the effect to its end, or until now; empty where no capacity was ever taken."""
    radius, since = mitigation.plan.blast_radius, mitigation.applied_at
    if since is None or radius.capacity_share <= 0 or mitigation.state is MitigationState.APPLYING:
        return ""
    return cost_of(radius, max((mitigation.ended_at or now) - since, timedelta(0)))


def siblings_of(service: Service, isolated: Sequence[Instance]) -> tuple[Instance, ...]:
    """Those of the service that still serve and can be asked."""
    taken = {instance.name for instance in isolated}
    return tuple(i for i in service.instances if i.name not in taken and i.url)


def probe_urls(instances: Sequence[Instance]) -> Mapping[str, str]:
    """Instance -> where it is asked; without those that have no address."""
    return {i.name: i.url.rstrip("/") + i.probe for i in instances if i.url}


def _isolates(step: Step) -> bool:
    return step.action in ISOLATING or (step.action == WEIGHT and str(step.params.get("weight")) == "0")


def _span(lasted: timedelta) -> str:
    seconds = lasted.total_seconds()
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
