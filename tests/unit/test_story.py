"""The story of a mitigation: a question short enough to be read, an outcome that says first how it ended."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from quell.incidents.mitigation import (
    BlastRadius,
    Mitigation,
    MitigationId,
    MitigationState,
    Plan,
    Step,
    move_mitigation,
    plan_hash,
)
from quell.incidents.timeline import TimelineEntry, chain_entry, event_of
from quell.response.story import short_title, tell_outcome, tell_plan, tell_question

pytestmark = pytest.mark.unit

T0 = datetime(2026, 11, 23, 15, 55, tzinfo=UTC)
STEP = Step(actuator="haproxy", action="isolate", target="be_checkout/checkout-2")
PLAN = Plan(
    playbook="isolate-bad-instance",
    incident="INC-1",
    target="instance:checkout-2",
    steps=(STEP,),
    undo=("put be_checkout/checkout-2 back",),
    blast_radius=BlastRadius(service="checkout", instances=("checkout-2",), capacity_share=1 / 3, capacity_left=2 / 3),
    evidence=("suspect checkout-2: " + "it fails, and fails again; " * 40, "alert <b>[x](http://evil)</b>"),
    needs_approval=True,
    approval_reason="it takes 33%, more than 25%",
    expires_after=timedelta(hours=1),
)
ASKED = Mitigation(
    id=MitigationId("MIT-1"),
    state=MitigationState.AWAITING_APPROVAL,
    plan=PLAN,
    plan_hash=plan_hash(PLAN),
    incident="INC-1",
    playbook=PLAN.playbook,
    service="checkout",
    target=PLAN.target,
    requested_by="carol",
    created_at=T0,
    updated_at=T0,
    approval_deadline=T0 + timedelta(minutes=15),
)
EFFECTS = ["drain be_checkout/checkout-2: no new requests"]


def question(**more: int) -> str:
    return tell_question(ASKED, EFFECTS, T0 + timedelta(minutes=15), incident="[INC-1](http://quell/INC-1)", **more)


def test_the_question_fits_above_a_form() -> None:
    text = question()
    assert len(text.splitlines()) <= 8 and len(text) < 800


def test_the_question_names_what_who_how_much_undo_deadline_and_hash() -> None:
    text = question()
    for part in ("drain be_checkout/checkout-2", "asked by carol", "33%", "67%", "put be_checkout", "16:10:00 UTC"):
        assert part in text
    assert PLAN.evidence[0][:40] in text and ASKED.plan_hash[:16] in text and "[INC-1](http://quell/INC-1)" in text


def test_answers_that_were_not_accepted_are_counted() -> None:
    assert "Not accepted" not in question()
    assert "Not accepted so far: 2" in question(failed=2)


def test_words_from_outside_are_no_markup() -> None:
    text = tell_plan(PLAN, ASKED.plan_hash, EFFECTS)
    assert "<b>" not in text and "](http://evil)" not in text


def told(*moves: tuple[MitigationState, float, str]) -> str:
    """The outcome after these moves, each at so many seconds."""
    mitigation, entries = ASKED, list[TimelineEntry]()
    for to, seconds, why in moves:
        mitigation, step = move_mitigation(mitigation, to, now=T0 + timedelta(seconds=seconds), by="quell", why=why)
        before = entries[-1] if entries else None
        entries.append(chain_entry(event_of(step), last=before, last_of_incident=before))
    return tell_outcome(replace(mitigation, approved_by="bob"), entries, incident="[INC-1](http://quell/INC-1)")


S = MitigationState
LIFE = (
    (S.APPLYING, 30.0, "approved by bob"),
    (S.APPLIED, 30.2, "every step is done"),
    (S.INCONCLUSIVE, 50.2, "no data: 0 samples"),
    (S.UNDOING, 50.3, "it was inconclusive"),
    (S.UNDONE, 50.5, "it was inconclusive; everything is back"),
)


def test_the_outcome_begins_with_the_end() -> None:
    lines = told(*LIFE).splitlines()
    assert lines[0] == "## MIT-1 (isolate checkout-2) is undone"
    assert "http://quell/INC-1" in lines[2] and "approved by bob" in lines[2]
    assert lines[4] == "It was inconclusive; everything is back."


def test_states_are_drawn_by_how_long_they_lasted() -> None:
    text = told(*LIFE)
    assert "applied 20 s :2026-11-23T15:55:30, 2026-11-23T15:55:50" in text
    assert "undone :milestone" in text and "inconclusive :crit, milestone" in text
    assert "applying" not in text.split("```")[1]  # shorter than a second


def test_a_run_is_named_by_incident_action_and_target() -> None:
    assert short_title(PLAN) == "INC-1 isolate checkout-2"
