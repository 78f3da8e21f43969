"""The record of a mitigation: every change of its state, and what that means for its incident, in one transaction."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from quell.incidents.errors import NotFound
from quell.incidents.incident import INCIDENT_TRANSITIONS, Incident, IncidentState, move_incident
from quell.incidents.mitigation import (
    HOLDING_STATES,
    PENDING_STATES,
    Mitigation,
    MitigationState,
    move_mitigation,
)
from quell.incidents.timeline import Event, event_of
from quell.ports import Transaction

ACTIVE_STATES = (*PENDING_STATES, *HOLDING_STATES)
QUELL = "quell"


def get_mitigation(tx: Transaction, id: str) -> Mitigation:
    mitigation = tx.mitigations.get(id)
    if mitigation is None:
        raise NotFound(f"mitigation {id} is not in the store; `quell incident` lists those that are")
    return mitigation


def get_incident(tx: Transaction, id: str) -> Incident:
    incident = tx.incidents.get(id)
    if incident is None:
        raise NotFound(f"incident {id} is not in the store; `quell incident` lists those that are")
    return incident


def move(
    tx: Transaction,
    mitigation: Mitigation,
    to: MitigationState,
    *,
    now: datetime,
    by: str,
    why: str,
    evidence: Mapping[str, str] | None = None,
) -> Mitigation:
    """Move, store, append to the timeline, and let the incident follow."""
    moved, step = move_mitigation(mitigation, to, now=now, by=by, why=why, evidence=evidence)
    tx.mitigations.put(moved)
    tx.timeline.append(event_of(step))
    _let_incident_follow(tx, moved, now, by, why)
    return moved


def note(tx: Transaction, mitigation: Mitigation, kind: str, *, now: datetime, by: str, text: str) -> None:
    """Write on the timeline what is no change of state."""
    tx.timeline.append(Event(incident=mitigation.incident, at=now, kind=kind, by=by, text=text, subject=mitigation.id))


def move_incident_if_possible(
    tx: Transaction, id: str | None, to: IncidentState, *, now: datetime, by: str, why: str
) -> None:
    """Move the incident when its table allows it; an incident that is already further stays where it is."""
    incident = tx.incidents.get(id) if id else None
    if incident is None or to not in INCIDENT_TRANSITIONS[incident.state]:
        return
    moved, step = move_incident(incident, to, now=now, by=by, why=why)
    tx.incidents.put(moved)
    tx.timeline.append(event_of(step))


def acknowledge(tx: Transaction, id: str | None, now: datetime) -> None:
    incident = tx.incidents.get(id) if id else None
    if incident is not None and incident.acknowledged_at is None:
        tx.incidents.put(replace(incident, acknowledged_at=now, updated_at=now))


def _let_incident_follow(tx: Transaction, mitigation: Mitigation, now: datetime, by: str, why: str) -> None:
    text = f"{mitigation.id} is {mitigation.state}: {why}"
    if mitigation.state is MitigationState.EFFECTIVE:
        move_incident_if_possible(tx, mitigation.incident, IncidentState.CONTAINED, now=now, by=by, why=text)
    ended = (MitigationState.UNDONE, MitigationState.REFUSED, MitigationState.EXPIRED)
    if mitigation.state not in ended or mitigation.incident is None:
        return
    others = tx.mitigations.find({"incident": mitigation.incident, "state": ACTIVE_STATES})
    incident = tx.incidents.get(mitigation.incident)
    if incident is None or incident.state not in (IncidentState.MITIGATING, IncidentState.CONTAINED):
        return
    if not others:
        move_incident_if_possible(tx, incident.id, IncidentState.TRIAGED, now=now, by=by, why=text)
    elif all(other.state is MitigationState.EFFECTIVE for other in others):
        move_incident_if_possible(tx, incident.id, IncidentState.CONTAINED, now=now, by=by, why=text)
