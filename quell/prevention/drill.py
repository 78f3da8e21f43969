"""Drills scored: what was seen of the world and of the record while a fault was on, held against what should happen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from quell.incidents.drill import Mark, Part, Strike
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.labels import SERVICE
from quell.incidents.mitigation import Mitigation, MitigationState, Recovery
from quell.incidents.service import Catalog
from quell.incidents.suspect import CLIENT_PREFIX

_OVER = (IncidentState.RESOLVED, IncidentState.REVIEWED, IncidentState.CLOSED)
_UNTOUCHED = (MitigationState.REFUSED, MitigationState.EXPIRED)
_FULL = 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """The world at one moment: service -> share of its capacity that serves, and the users' errors since the last."""

    at: datetime
    capacity: Mapping[str, float]
    requests: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that a drill knows at its end. `touched` are the incidents that took up an alert since the fault began."""

    strike: Strike
    began_at: datetime
    detected_at: datetime | None
    touched: tuple[Incident, ...]
    mitigations: tuple[Mitigation, ...]
    glances: tuple[Glance, ...]
    floors: Mapping[str, float] = field(default_factory=dict[str, float])
    detect_within: timedelta = timedelta.max  # what comes later is not counted as detected
    differences: tuple[str, ...] = ()  # what is not as it was before, at the load balancer
    unanswered: str = ""  # why nothing was planned, from the timeline


def score(seen: Seen, catalog: Catalog) -> Mapping[str, Part]:
    """The scorecard, in the order of an incident's life."""
    return {
        "detected": _detected(seen),
        "grouped": _grouped(seen),
        "suspect": _suspect(seen, catalog),
        "contained": _contained(seen),
        "harmless": _harmless(seen),
        "undone": _undone(seen),
        "resolved": _resolved(seen),
    }


def floor_crossed(glance: Glance, floors: Mapping[str, float]) -> str:
    """Which service has less than its floor, in words; empty where none has. A drill ends there."""
    for service, share in glance.capacity.items():
        if share < floors.get(service, 0.0):
            return f"{share:.0%} of {service} serves, its floor is {floors[service]:.0%}"
    return ""


def _detected(seen: Seen) -> Part:
    if seen.detected_at is None or not seen.touched:
        return Part(mark=Mark.NO, words="no incident took up an alert")
    seconds = (seen.detected_at - seen.began_at).total_seconds()
    limit = seen.detect_within.total_seconds()
    if seconds > limit:
        return Part(mark=Mark.NO, seconds=seconds, words=f"{seen.touched[0].id} came later than {limit:.0f} s")
    return Part(mark=Mark.YES, seconds=seconds, words=f"{seen.touched[0].id}: {seen.touched[0].title}")


def _grouped(seen: Seen) -> Part:
    ids = ", ".join(incident.id for incident in seen.touched)
    if len(seen.touched) == 1:
        return Part(mark=Mark.YES, words=f"one incident, {ids}")
    return Part(mark=Mark.NO, words=f"{len(seen.touched)} incidents for one cause: {ids or 'none'}")


def _suspect(seen: Seen, catalog: Catalog) -> Part:
    if not seen.strike.target:
        return Part(mark=Mark.NOT_ASKED, words="everybody sends more: no part is at fault")
    suspects = [incident.suspects[0] for incident in seen.touched if incident.suspects]
    if not suspects:
        return Part(mark=Mark.NO, words="nobody is suspected")
    first = suspects[0]
    wanted = {CLIENT_PREFIX * (seen.strike.kind == "client") + seen.strike.target}
    if seen.strike.kind == SERVICE and (service := catalog.service(seen.strike.target)) is not None:
        wanted |= {instance.name for instance in service.instances}
    mark = Mark.YES if first.node in wanted else Mark.NO
    return Part(mark=mark, words=f"{first.node} ({first.score:.2f}): {first.reason}")


def _contained(seen: Seen) -> Part:
    tried = [m for m in seen.mitigations if m.state not in _UNTOUCHED]
    if not tried and seen.unanswered:
        return Part(mark=Mark.NOT_ASKED, words=seen.unanswered)
    if not tried:
        return Part(mark=Mark.NO, words="nothing was planned, and nothing says why")
    helped = [m for m in tried if m.recovery is Recovery.EFFECTIVE]
    best = helped[0] if helped else tried[-1]
    words = f"{best.id} {best.playbook}: {best.recovery_reason or best.state}"
    if not helped or best.applied_at is None:
        return Part(mark=Mark.NO, words=words)
    return Part(mark=Mark.YES, seconds=(best.applied_at - seen.began_at).total_seconds(), words=words)


def _harmless(seen: Seen) -> Part:
    """Harm is what Quell does: capacity under a floor. What users saw of the fault is said beside it."""
    requests, errors = sum(g.requests for g in seen.glances), sum(g.errors for g in seen.glances)
    users = f"users: {errors} errors of {requests} requests" if requests else "no requests were counted"
    crossed = [words for glance in seen.glances if (words := floor_crossed(glance, seen.floors))]
    low = [(share, name) for glance in seen.glances for name, share in glance.capacity.items()]
    lowest = f"least capacity {min(low)[0]:.0%} of {min(low)[1]}" if low else "no capacity was read"
    if crossed and seen.strike.kind != SERVICE:
        return Part(mark=Mark.NO, words=f"{crossed[0]}; {users}")
    return Part(mark=Mark.YES, words=f"{lowest}; {users}")


def _undone(seen: Seen) -> Part:
    left = [f"{m.id} is {m.state}" for m in seen.mitigations if m.is_holding or m.state is MitigationState.UNDO_FAILED]
    if left or seen.differences:
        return Part(mark=Mark.NO, words="; ".join([*left, *seen.differences]))
    if not any(m.applied_at for m in seen.mitigations):
        return Part(mark=Mark.NOT_ASKED, words="nothing was done")
    return Part(mark=Mark.YES, words="the load balancer is as it was before")


def _resolved(seen: Seen) -> Part:
    if not seen.touched:
        return Part(mark=Mark.NO, words="there was no incident")
    open_ones = [f"{i.id} is {i.state}" for i in seen.touched if i.state not in _OVER]
    if open_ones:
        return Part(mark=Mark.NO, words=", ".join(open_ones))
    ends = [i.resolved_at for i in seen.touched if i.resolved_at is not None]
    seconds = (max(ends) - seen.began_at).total_seconds() if ends else None
    return Part(mark=Mark.YES, seconds=seconds, words=", ".join(f"{i.id} is {i.state}" for i in seen.touched))


def differences(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[str, ...]:
    """Server by server, what serves otherwise than before the drill.

    >>> differences({"be/a": 1.0, "be/b": 1.0}, {"be/a": 1.0, "be/b": 0.1})
    ('be/b serves 10% of its share, before 100%',)
    """
    changed = [name for name in before if abs(before[name] - after.get(name, 0.0)) > 1 - _FULL]
    return tuple(
        f"{name} serves {after.get(name, 0.0):.0%} of its share, before {before[name]:.0%}" for name in changed
    )


def strike_of(fault: str, kind: str, parameters: Mapping[str, str | float | bool]) -> Strike:
    """The strike with its target taken from the parameter that names it."""
    return Strike(fault=fault, kind=kind, target=str(parameters.get(kind, "")) if kind else "", parameters=parameters)


def unsteady(
    *,
    firing: Sequence[str],
    open_incidents: Sequence[str],
    holding: Sequence[str],
    capacity: Mapping[str, float],
    error_share: float | None,
    active_faults: Sequence[str],
) -> list[str]:
    """Why a drill must not begin now; empty where the world is in its steady state."""
    reasons = [f"alert {name} fires" for name in firing[:3]]
    reasons += [f"incident {id} is open" for id in open_incidents[:3]]
    reasons += [f"mitigation {id} is in force" for id in holding[:3]]
    reasons += [f"{name} serves {share:.0%} of its capacity" for name, share in capacity.items() if share < _FULL]
    reasons += [f"fault {name} is on" for name in active_faults]
    if error_share is None:
        reasons.append("no user's request was seen")
    elif error_share > 0:
        reasons.append(f"{error_share:.1%} of the users' requests fail")
    return reasons
