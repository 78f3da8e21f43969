"""What follows: which flow an incident is waiting for, seen from its record alone."""

from collections.abc import Sequence
from enum import StrEnum

from quell.incidents.change import Change
from quell.incidents.incident import Incident, IncidentState


class NextStep(StrEnum):
    """The flow to start; the value is its name in Prefect."""

    RESPOND = "respond"
    RESOLVE = "resolve"
    REVIEW = "review-incident"
    RECOMPUTE = "recompute-thresholds"


def step_key(incident: Incident, step: NextStep) -> str:
    """The name under which the incident remembers the run; a reopened incident runs through its life again."""
    return step if incident.reopened == 0 else f"{step} {incident.reopened + 1}"


_STEP_OF_STATE = {
    IncidentState.TRIAGED: NextStep.RESPOND,
    IncidentState.CONTAINED: NextStep.RESOLVE,
    IncidentState.RESOLVED: NextStep.REVIEW,
    IncidentState.REVIEWED: NextStep.RECOMPUTE,
}


def is_answered(incident: Incident) -> bool:
    """Whether what its state could wait for was started already: seen from the record, without reading more."""
    step = _STEP_OF_STATE.get(incident.state)
    return step is None or step_key(incident, step) in incident.flow_runs


def next_step(incident: Incident, changes: Sequence[Change], *, has_holding_mitigation: bool) -> NextStep | None:
    """The flow that should run next and has not been started yet; None when it is waiting for something else.

    Resolution starts by itself only where the first suspect is accused of a change whose commit can be looked at;
    everything else waits for a person or for quiet. A resolved incident is reviewed once nothing of Quell's holds on
    to production.
    """
    step: NextStep | None = None
    match incident.state:
        case IncidentState.TRIAGED:
            step = NextStep.RESPOND
        case IncidentState.CONTAINED if any(c.commit for c in changes if c.id == incident.accused_change):
            step = NextStep.RESOLVE
        case IncidentState.RESOLVED if not has_holding_mitigation:
            step = NextStep.REVIEW
        case IncidentState.REVIEWED:
            step = NextStep.RECOMPUTE
        case _:
            pass
    if step is None or step_key(incident, step) in incident.flow_runs:
        return None
    return step
