"""Regrouping: whether two incidents may become one, or one become two."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from quell.incidents.alert import Alert, AlertOutcome
from quell.incidents.errors import Refused
from quell.incidents.incident import INCIDENT_TRANSITIONS, Incident, IncidentState
from quell.incidents.mitigation import HOLDING_STATES, PENDING_STATES, Mitigation

_UNTOUCHED = frozenset({IncidentState.OPEN, IncidentState.TRIAGED})


def check_merge(into: Incident, other: Incident, mitigations: Sequence[Mitigation]) -> None:
    """Raise Refused where a person may not merge `other` into `into`; `mitigations` are the other's."""
    if into.id == other.id:
        raise Refused(f"{other.id} cannot be merged into itself: name two incidents", rule="merge")
    if not into.is_active:
        raise Refused(f"{into.id} is {into.state}: merge into an active incident", rule="merge", value=into.state)
    if IncidentState.MERGED not in INCIDENT_TRANSITIONS[other.state]:
        text = f"{other.id} is {other.state} and cannot be merged away; try {other.id} as the one that stays"
        raise Refused(text, rule="merge", value=other.state)
    for mitigation in mitigations:
        if mitigation.state in PENDING_STATES or mitigation.state in HOLDING_STATES:
            raise Refused(
                f"{mitigation.id} of {other.id} is {mitigation.state}, and its plan and approval name {other.id}: "
                f"merge {into.id} into {other.id} instead, or release it first",
                rule="merge",
                value=mitigation.state,
            )


def check_split(incident: Incident, chosen: Collection[str], alerts: Sequence[Alert]) -> list[Alert]:
    """The alerts to be split off. Raises Refused where nothing would be left, or one is not there."""
    if not incident.is_active:
        raise Refused(f"{incident.id} is {incident.state}: only an active incident can be split", rule="split")
    known = {alert.id for alert in alerts}
    missing = sorted(set(chosen) - known)
    if not chosen or missing:
        what = f"alert {missing[0]} is not in {incident.id}" if missing else "no alert is named"
        raise Refused(f"{what}: `quell incident show {incident.id}` lists its alerts", rule="split")
    if not any(a.id not in chosen and a.outcome is not AlertOutcome.DUPLICATE for a in alerts):
        raise Refused(f"nothing of {incident.id} would be left: leave at least one alert in it", rule="split")
    return [alert for alert in alerts if alert.id in chosen]


@dataclass(frozen=True, slots=True, kw_only=True)
class Union:
    """Two incidents that turned out to be one."""

    into: Incident
    other: Incident


def unite(one: Incident, other: Incident, *, worked_on: Collection[str]) -> Union | None:
    """Which of two related incidents takes up the other by itself; None where a person has to decide.

    The older one stays, unless only the other is worked on. What a person split is never joined again, and an incident
    that somebody works on is never taken away.
    """
    if other.id in one.kept_apart or one.id in other.kept_apart or not (one.is_active and other.is_active):
        return None
    older, younger = sorted((one, other), key=lambda i: (i.opened_at, int(i.id.rpartition("-")[2])))
    for into, gone in ((older, younger), (younger, older)):
        if gone.id not in worked_on and gone.state in _UNTOUCHED:
            return Union(into=into, other=gone)
    return None
