"""Records move only as their tables say, every move tells its story, and nothing is a dead end by accident."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest

from quell.incidents.errors import InvalidTransition
from quell.incidents.fix import FIX_TRANSITIONS, Fix, FixState, move_fix
from quell.incidents.incident import (
    ACTIVE_STATES,
    INCIDENT_TRANSITIONS,
    Incident,
    IncidentId,
    IncidentState,
    Severity,
    incident_times,
    move_incident,
)
from quell.incidents.lifecycle import Move
from quell.incidents.mitigation import (
    HOLDING_STATES,
    MITIGATION_TRANSITIONS,
    PENDING_STATES,
    BlastRadius,
    Mitigation,
    MitigationId,
    MitigationState,
    Plan,
    Step,
    move_mitigation,
    plan_hash,
)
from quell.incidents.threshold import THRESHOLD_TRANSITIONS, ThresholdState, ThresholdVersion, move_threshold

pytestmark = pytest.mark.unit
NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
LATER = NOW + timedelta(seconds=90)

INCIDENT = Incident(
    id=IncidentId("INC-1"),
    state=IncidentState.OPEN,
    severity=Severity.CRITICAL,
    title="checkout errors",
    service="checkout",
    onset_at=NOW - timedelta(seconds=30),
    opened_at=NOW,
    updated_at=NOW,
    opened_because="first alert",
    opened_by="sweep",
)
PLAN = Plan(
    playbook="isolate-bad-instance",
    incident="INC-1",
    target="be_checkout/checkout-2",
    steps=(Step(actuator="haproxy", action="isolate", target="be_checkout/checkout-2", params={"weight": 0}),),
    undo=("put checkout-2 back",),
    blast_radius=BlastRadius(service="checkout", instances=("checkout-2",), capacity_share=0.33, capacity_left=0.67),
    evidence=("error ratio 0.4",),
    needs_approval=True,
    approval_reason="0.33 above 0.25",
    expires_after=timedelta(hours=1),
)
MITIGATION = Mitigation(
    id=MitigationId("MIT-1"),
    state=MitigationState.PLANNED,
    plan=PLAN,
    plan_hash=plan_hash(PLAN),
    incident="INC-1",
    playbook=PLAN.playbook,
    service="checkout",
    target=PLAN.target,
    requested_by="quell",
    created_at=NOW,
    updated_at=NOW,
)
FIX = Fix(
    id="FIX-1",
    state=FixState.PROPOSED,
    incident="INC-1",
    service="checkout",
    instance="checkout-2",
    repository="shop-config",
    file="services/checkout-2.yaml",
    bad_commit="abc",
    diff="-1\n+2",
    created_at=NOW,
    updated_at=NOW,
)
THRESHOLD = ThresholdVersion(
    id="THR-1",
    signal="error-ratio",
    state=ThresholdState.PROPOSED,
    upper=0.1,
    lower=None,
    created_at=NOW,
    updated_at=NOW,
)

LIVES: list[tuple[Any, type[StrEnum], Mapping[Any, frozenset[Any]], Callable[..., tuple[Any, Move]]]] = [
    (INCIDENT, IncidentState, INCIDENT_TRANSITIONS, move_incident),
    (MITIGATION, MitigationState, MITIGATION_TRANSITIONS, move_mitigation),
    (FIX, FixState, FIX_TRANSITIONS, move_fix),
    (THRESHOLD, ThresholdState, THRESHOLD_TRANSITIONS, move_threshold),
]
STEPS = [(record, old, new, table, move) for record, states, table, move in LIVES for old in states for new in states]


@pytest.mark.parametrize(
    ("record", "old", "new", "table", "move"), STEPS, ids=[f"{r.id}-{o}-{n}" for r, o, n, _, _ in STEPS]
)
def test_a_record_moves_exactly_as_its_table_says(record: Any, old: Any, new: Any, table: Any, move: Any) -> None:
    before = replace(record, state=old)
    if new in table[old]:
        after, story = move(before, new, now=LATER, by="alice", why="because", evidence={"value": "0.4"})
        assert (after.state, after.updated_at, before.state) == (new, LATER, old)
        assert (story.subject, story.at, story.by, story.why) == (record.id, LATER, "alice", "because")
        assert (story.from_state, story.to_state, story.evidence) == (old, new, {"value": "0.4"})
        assert story.incident == (None if record is THRESHOLD else "INC-1")
    else:
        with pytest.raises(InvalidTransition, match=f"{record.id} is {old} and cannot become {new}"):
            move(before, new, now=LATER, by="alice", why="because")


@pytest.mark.parametrize(("record", "states", "table", "move"), LIVES, ids=[life[0].id for life in LIVES])
def test_every_state_has_a_row_and_can_be_reached(record: Any, states: Any, table: Any, move: Any) -> None:
    assert set(table) == set(states)
    reached, todo = {record.state}, [record.state]
    while todo:
        for state in table[todo.pop()] - reached:
            reached.add(state)
            todo.append(state)
    assert reached == set(states)


def test_a_refusal_names_what_is_allowed_or_that_the_state_is_final() -> None:
    with pytest.raises(InvalidTransition, match="from open it can become: dismissed, merged, resolved, triaged"):
        move_incident(INCIDENT, IncidentState.CLOSED, now=NOW, by="alice", why="")
    with pytest.raises(InvalidTransition, match=r"nothing \(final\)"):
        move_incident(replace(INCIDENT, state=IncidentState.CLOSED), IncidentState.OPEN, now=NOW, by="alice", why="")


def test_every_mitigation_state_is_pending_holding_or_over() -> None:
    over = {state for state, following in MITIGATION_TRANSITIONS.items() if not following}
    assert over == {MitigationState.REFUSED, MitigationState.EXPIRED, MitigationState.UNDONE}
    assert over | HOLDING_STATES | PENDING_STATES == set(MitigationState)
    assert not HOLDING_STATES & PENDING_STATES


def test_a_holding_mitigation_can_always_reach_undone() -> None:
    for start in HOLDING_STATES:
        reached: set[MitigationState] = {start}
        for _ in MitigationState:
            reached |= {following for state in reached for following in MITIGATION_TRANSITIONS[state]}
        assert MitigationState.UNDONE in reached


# --- times ---------------------------------------------------------------------------------------------------------


def through(incident: Incident, *states: IncidentState) -> Incident:
    for n, state in enumerate(states, start=1):
        incident, _ = move_incident(incident, state, now=NOW + timedelta(minutes=n), by="quell", why="")
    return incident


def test_the_times_of_an_incident_are_measured_from_its_onset() -> None:
    S = IncidentState  # noqa: N806  # short for the table below
    ended = through(INCIDENT, S.TRIAGED, S.MITIGATING, S.CONTAINED, S.RESOLVING, S.RESOLVED)
    times = incident_times(replace(ended, acknowledged_at=NOW + timedelta(seconds=20)))
    assert times.to_detect == timedelta(seconds=30)
    assert times.to_acknowledge == timedelta(seconds=20)
    assert times.to_contain == timedelta(minutes=3, seconds=30)
    assert times.to_resolve == timedelta(minutes=5, seconds=30)


def test_what_has_not_happened_has_no_time_and_no_time_is_negative() -> None:
    times = incident_times(replace(INCIDENT, onset_at=NOW + timedelta(seconds=5)))
    assert (times.to_detect, times.to_acknowledge, times.to_contain, times.to_resolve) == (
        timedelta(0),
        None,
        None,
        None,
    )


def test_the_first_containment_counts_and_a_resolved_incident_was_contained() -> None:
    S = IncidentState  # noqa: N806  # short for the tables below
    twice = through(INCIDENT, S.TRIAGED, S.CONTAINED, S.RESOLVING, S.CONTAINED)
    assert twice.contained_at == NOW + timedelta(minutes=2)
    by_itself = through(INCIDENT, S.RESOLVED)
    assert by_itself.contained_at == by_itself.resolved_at == NOW + timedelta(minutes=1)


def test_a_reopened_incident_is_active_again_and_counted() -> None:
    again = through(INCIDENT, IncidentState.RESOLVED, IncidentState.OPEN)
    assert again.is_active and (again.reopened, again.resolved_at, again.contained_at) == (1, None, None)
    assert not through(INCIDENT, IncidentState.DISMISSED).is_active
    assert IncidentState.RESOLVED not in ACTIVE_STATES


def test_severities_rank_the_worst_first() -> None:
    assert sorted(Severity, key=lambda s: s.rank) == [Severity.CRITICAL, Severity.MAJOR, Severity.MINOR]


# --- mitigations ---------------------------------------------------------------------------------------------------


def test_applying_starts_the_expiry_and_judging_keeps_the_reason() -> None:
    M = MitigationState  # noqa: N806  # short for the story below
    mitigation, _ = move_mitigation(MITIGATION, M.APPLYING, now=NOW, by="quell", why="")
    mitigation, _ = move_mitigation(mitigation, M.APPLIED, now=LATER, by="quell", why="")
    assert (mitigation.applied_at, mitigation.expires_at) == (LATER, LATER + timedelta(hours=1))
    assert mitigation.is_holding
    mitigation, _ = move_mitigation(mitigation, M.EFFECTIVE, now=LATER, by="quell", why="0.01 below 0.05 for 15 s")
    assert (mitigation.judged_at, mitigation.recovery_reason) == (LATER, "0.01 below 0.05 for 15 s")
    mitigation, _ = move_mitigation(mitigation, M.UNDOING, now=LATER, by="quell", why="")
    mitigation, _ = move_mitigation(mitigation, M.UNDONE, now=LATER, by="quell", why="")
    assert mitigation.ended_at == LATER and not mitigation.is_holding


@pytest.mark.parametrize(
    "changed",
    [
        {"target": "be_checkout/checkout-3"},
        {"incident": "INC-2"},
        {"playbook": "throttle"},
        {"expires_after": timedelta(hours=2)},
        {"steps": (replace(PLAN.steps[0], action="drain"),)},
        {"steps": (replace(PLAN.steps[0], params={"weight": 1}),)},
        {"steps": PLAN.steps * 2},
        {"steps": ()},
    ],
)
def test_the_hash_of_a_plan_changes_with_its_effects(changed: dict[str, Any]) -> None:
    assert plan_hash(replace(PLAN, **changed)) != plan_hash(PLAN)


def test_the_hash_of_a_plan_stays_when_only_its_words_change() -> None:
    reworded = replace(PLAN, evidence=("other words",), approval_reason="", undo=("put it back",))
    assert plan_hash(reworded) == plan_hash(PLAN)
    assert len(plan_hash(PLAN)) == 64
