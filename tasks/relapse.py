"""Answering an open incident once more: its trouble came back after a release, or another alert tells more of it.

The evidence of an incident comes in the order of its senders: a sweep may open it seconds before the alert that says
what to do.
"""

from zlib import crc32

from quell.incidents.alert import AlertStatus
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.mitigation import MitigationState, Recovery
from quell.incidents.next_step import NextStep, step_key
from quell.ports import Transaction

_MOST_EVIDENCE = 6  # answers to one incident for new evidence alone, the first among them


def again_key(tx: Transaction, incident: Incident) -> str:
    """The name under which the incident would remember one more answer; empty where it waits for none."""
    return relapse_key(tx, incident) or _news_key(tx, incident)


def evidence_key(incident: Incident) -> str:
    """What an answer was given to: the first suspect, and the values of the labels of all alerts."""
    first = incident.suspects[0].node if incident.suspects else ""
    digest = crc32("\n".join([first, *sorted(incident.keywords)]).encode())
    return f"{_evidence(incident)}{digest:08x}"


def _evidence(incident: Incident) -> str:
    return f"{step_key(incident, NextStep.RESPOND)} on evidence "


def _news_key(tx: Transaction, incident: Incident) -> str:
    """Where nothing was planned: an answer for each new first suspect or kind of alert, a few at most."""
    if incident.state is not IncidentState.TRIAGED or (incident.tally is not None and not incident.tally.firing):
        return ""
    key, start = evidence_key(incident), _evidence(incident)
    answered = sum(name.startswith(start) for name in incident.flow_runs)
    if not 0 < answered < _MOST_EVIDENCE or key in incident.flow_runs:
        return ""
    return "" if tx.mitigations.count({"incident": incident.id}) else key


def relapse_key(tx: Transaction, incident: Incident) -> str:
    """The name for one more answer to trouble that came back; empty where it did not.

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
