"""False isolation at work: the isolated instances are asked directly, and given back when they are well."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial

from quell.incidents.errors import QuellError
from quell.incidents.mitigation import Mitigation, Recovery
from quell.incidents.series import SeriesMatrix
from quell.incidents.service import Instance
from quell.response.false_isolation import (
    FEWEST_PROBES,
    Probe,
    accusation,
    trouble_of_probes,
    users_gained_nothing,
)
from quell.response.plan import share_caps
from quell.response.playbook import RecoveryRule
from quell.response.recovery import Judgement, worst_series
from tasks.resources import Resources

_BETWEEN_SECONDS = 0.2
_MOST_SIBLINGS = 3


def accuse(
    res: Resources, mitigation: Mitigation, rule: RecoveryRule, matrix: SeriesMatrix, limit: float, now: datetime
) -> Judgement | None:
    """The judgement that the isolation was a mistake; None while there is too little to say so.

    Not before the rule's `hold` and a quarter of its deadline: what users see needs time to show it. That users who
    suffer do so no less is believed after half of the deadline.
    """
    applied_at = mitigation.applied_at
    if applied_at is None or rule.preventive or now - applied_at < max(rule.hold, rule.deadline / 4):
        return None
    out = _taken_out(res, mitigation)
    if not out:
        return None
    why = users_gained_nothing(
        matrix.timestamps,
        worst_series(matrix),
        applied_at=applied_at.timestamp(),
        limit=limit,
        may_still_improve=now - applied_at < rule.deadline / 2,
    )
    if not why or not _levers_see_nothing(res, mitigation) or _trouble(res, mitigation, out):
        return None
    seconds = (now - applied_at).total_seconds()
    reason = accusation([one.name for one in out], why, mitigation.plan.blast_radius, seconds)
    return Judgement(recovery=Recovery.INEFFECTIVE, reason=reason)


def _taken_out(res: Resources, mitigation: Mitigation) -> list[Instance]:
    """The instances that get no traffic because of it; empty when one of them cannot be asked directly."""
    service = res.config.catalog.service(mitigation.service)
    if service is None:
        return []
    caps = share_caps(mitigation.plan.steps, service)
    out = [one for one in service.instances if caps.get(one.server or "", 1.0) == 0.0]
    return out if all(one.url for one in out) else []


def _levers_see_nothing(res: Resources, mitigation: Mitigation) -> bool:
    """Whether no lever itself finds its target in trouble; one that cannot be asked is no witness for health."""
    try:
        return not any(res.actuators[step.actuator].witness(step) for step in mitigation.plan.steps)
    except (QuellError, KeyError):
        return False


def _trouble(res: Resources, mitigation: Mitigation, out: list[Instance]) -> str:
    service = res.config.catalog.services[mitigation.service]
    others = [one for one in service.instances if one.url and one not in out][:_MOST_SIBLINGS]
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="probe") as pool:
        asked = list(pool.map(partial(_ask, res), [*out, *others]))
    own = {one.name: probes for one, probes in zip(out, asked, strict=False)}
    return trouble_of_probes(own, [probe for probes in asked[len(out) :] for probe in probes])


def _ask(res: Resources, instance: Instance) -> list[Probe]:
    """Some requests, a moment apart."""
    probes: list[Probe] = []
    for number in range(FEWEST_PROBES):
        if number:
            time.sleep(_BETWEEN_SECONDS)
        probes.append(res.probe(f"{(instance.url or '').rstrip('/')}{instance.probe}"))
    return probes
