"""What an incident waits for follows from its record alone."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from quell.incidents.change import Change, ChangeKind
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.next_step import NextStep, is_answered, next_step, step_key
from quell.incidents.suspect import Suspect

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
INCIDENT = Incident(
    id=IncidentId("INC-1"),
    state=IncidentState.TRIAGED,
    severity=Severity.MAJOR,
    title="checkout-2 errors",
    service="checkout",
    onset_at=NOW,
    opened_at=NOW,
    updated_at=NOW,
    opened_because="test",
    opened_by="sweep",
    suspects=(Suspect(node="checkout-2", metric="errors", score=0.9, reason="it fails", change="c1"),),
)
CHANGE = Change(
    id="c1", kind=ChangeKind.CONFIG, service="checkout", at=NOW, summary="timeout", commit="abc", received_at=NOW
)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (IncidentState.OPEN, None),
        (IncidentState.TRIAGED, NextStep.RESPOND),
        (IncidentState.MITIGATING, None),
        (IncidentState.CONTAINED, NextStep.RESOLVE),
        (IncidentState.RESOLVING, None),
        (IncidentState.RESOLVED, NextStep.REVIEW),
        (IncidentState.REVIEWED, NextStep.RECOMPUTE),
        (IncidentState.CLOSED, None),
        (IncidentState.DISMISSED, None),
    ],
)
def test_each_state_waits_for_its_flow(state: IncidentState, expected: NextStep | None) -> None:
    assert next_step(replace(INCIDENT, state=state), [CHANGE], has_holding_mitigation=False) is expected


def test_a_started_flow_is_not_started_again() -> None:
    started = replace(INCIDENT, flow_runs={step_key(INCIDENT, NextStep.RESPOND): "run"})
    assert next_step(started, [], has_holding_mitigation=False) is None


def test_a_reopened_incident_is_answered_again() -> None:
    reopened = replace(INCIDENT, reopened=1, flow_runs={"respond": "run"})
    assert next_step(reopened, [], has_holding_mitigation=False) is NextStep.RESPOND


def test_containment_without_a_commit_to_look_at_waits_for_a_person() -> None:
    contained = replace(INCIDENT, state=IncidentState.CONTAINED)
    assert next_step(contained, [replace(CHANGE, commit=None)], has_holding_mitigation=False) is None


def test_a_change_that_nobody_is_accused_of_is_not_undone() -> None:
    """A noisy client minutes after another incident's bad commit once had that commit looked at again."""
    client = replace(INCIDENT.suspects[0], node="client:batch-importer", change=None)
    contained = replace(INCIDENT, state=IncidentState.CONTAINED, changes=("c1",), suspects=(client,))
    assert next_step(contained, [CHANGE], has_holding_mitigation=False) is None


def test_a_review_waits_until_nothing_is_held() -> None:
    resolved = replace(INCIDENT, state=IncidentState.RESOLVED)
    assert next_step(resolved, [], has_holding_mitigation=True) is None


@pytest.mark.parametrize("state", [s for s in IncidentState if s not in (IncidentState.CONTAINED, IncidentState.OPEN)])
def test_what_is_answered_has_no_next_step(state: IncidentState) -> None:
    """The responder asks this first: it must never hide a step that is due."""
    waiting = replace(INCIDENT, state=state)
    step = next_step(waiting, [], has_holding_mitigation=False)
    assert is_answered(waiting) is (step is None)
    if step is not None:
        started = replace(waiting, flow_runs={step_key(waiting, step): "run"})
        assert is_answered(started) and next_step(started, [], has_holding_mitigation=False) is None
