"""Relapse: trouble that comes back after what contained it was released, in an incident that is still open."""

from quell.incidents.alert import AlertStatus
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.mitigation import MitigationState, Recovery
from quell.incidents.next_step import NextStep, step_key
from quell.ports import Transaction


def relapse_key(tx: Transaction, incident: Incident) -> str:
    """The name under which the incident would remember one more answer; empty where it waits for none.

    Each release is followed by one answer at most, and only to an alert that began after it. What never helped is not
    tried again: a person has been told.
    """
    if incident.state is not IncidentState.TRIAGED or incident.contained_at is None:
        return ""
    if incident.tally is not None and not incident.tally.firing:
        return ""
    undone = tx.mitigations.find({"incident": incident.id, "state": MitigationState.UNDONE})
    released = [m for m in undone if m.recovery is Recovery.EFFECTIVE and m.ended_at is not None]
    last = max(released, key=lambda mitigation: (mitigation.ended_at, mitigation.id), default=None)
    if last is None or last.ended_at is None:
        return ""
    key = f"{step_key(incident, NextStep.RESPOND)} after {last.id}"
    firing = {"incident": incident.id, "status": AlertStatus.FIRING}
    is_new = key not in incident.flow_runs and tx.alerts.find(firing, after=("starts_at", last.ended_at), limit=1)
    return key if is_new else ""
