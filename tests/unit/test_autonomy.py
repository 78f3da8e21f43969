"""How far Quell may go by itself: the evidence that it needs, and the rungs that a playbook has to earn."""

from datetime import UTC, datetime, timedelta

import pytest

from quell.incidents.mitigation import BlastRadius, Mitigation, MitigationId, MitigationState, Plan, Recovery
from quell.response.autonomy import Autonomy, Level, standing_of
from quell.response.evidence import EvidenceKind, doubt_of, kinds_of
from quell.response.plan import with_doubts
from quell.response.playbook import ApprovalPolicy

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
GOOD, BAD, OPEN = Recovery.EFFECTIVE, Recovery.INEFFECTIVE, Recovery.INCONCLUSIVE


def _plan(*, needs_approval: bool = False) -> Plan:
    radius = BlastRadius(service="c", instances=(), capacity_share=0.0, capacity_left=1.0)
    return Plan(
        playbook="p",
        incident="INC-1",
        target="client:x",
        steps=(),
        undo=(),
        blast_radius=radius,
        evidence=(),
        needs_approval=needs_approval,
        approval_reason="the policy says so",
        expires_after=timedelta(hours=1),
    )


def _past(*ends: Recovery | MitigationState) -> list[Mitigation]:
    """The newest first."""
    return [
        Mitigation(
            id=MitigationId(f"MIT-{len(ends) - n}"),
            state=end if isinstance(end, MitigationState) else MitigationState.UNDONE,
            plan=_plan(),
            plan_hash="h",
            incident="INC-1",
            playbook="p",
            service="c",
            target="client:x",
            requested_by="quell",
            created_at=NOW - timedelta(hours=n),
            updated_at=NOW,
            recovery=end if isinstance(end, Recovery) else None,
        )
        for n, end in enumerate(ends)
    ]


@pytest.mark.parametrize(
    ("past", "level"),
    [
        ((), Level.APPROVE),
        ((GOOD, GOOD), Level.APPROVE),
        ((GOOD, GOOD, GOOD), Level.AUTOMATIC),
        ((GOOD, OPEN, GOOD, GOOD), Level.AUTOMATIC),
        ((BAD, GOOD, GOOD, GOOD), Level.APPROVE),
        ((GOOD, GOOD, BAD, GOOD, GOOD, GOOD), Level.APPROVE),
        ((GOOD, GOOD, GOOD, BAD), Level.AUTOMATIC),
        ((MitigationState.UNDO_FAILED, GOOD, GOOD, GOOD), Level.APPROVE),
        ((MitigationState.REFUSED, GOOD, GOOD, GOOD), Level.AUTOMATIC),
    ],
)
def test_the_last_rung_is_earned_and_a_failure_takes_it_away(past: tuple[Recovery, ...], level: Level) -> None:
    found = standing_of(Autonomy(successes=3), "", _past(*past))
    assert found.level is level
    assert "3 " in found.reason


def test_a_trusted_playbook_acts_at_once_until_it_fails_once() -> None:
    trusted = Autonomy(successes=0)
    assert standing_of(trusted, "", []).level is Level.AUTOMATIC
    assert standing_of(trusted, "", _past(BAD)).level is Level.APPROVE
    assert "MIT-1 failed" in standing_of(trusted, "", _past(BAD)).reason
    assert standing_of(trusted, "", _past(GOOD, BAD)).level is Level.AUTOMATIC


def test_an_environment_may_hold_a_playbook_back_whatever_it_earned() -> None:
    careful = Autonomy(environments={"production": Level.SUGGEST}, successes=1)
    assert standing_of(careful, "production", _past(GOOD, GOOD)).level is Level.SUGGEST
    assert standing_of(careful, "staging", _past(GOOD, GOOD)).level is Level.AUTOMATIC


def test_two_alerts_of_rules_are_one_kind_of_evidence() -> None:
    assert kinds_of({"alertmanager-1", "alertmanager-2"}) == (EvidenceKind.RULE,)
    assert doubt_of(kinds_of({"alertmanager-1", "alertmanager-2"}), 2).startswith("only an alert rule speaks for it")


@pytest.mark.parametrize(
    "given",
    [
        {"sources": {"alertmanager", "sweep"}},
        {"sources": {"sweep"}, "reports": 1},
        {"sources": {"sweep", "report"}},
        {"sources": {"alertmanager"}, "accused_change": "c1"},
    ],
)
def test_two_independent_kinds_are_enough(given: dict[str, object]) -> None:
    kinds = kinds_of(**given)  # type: ignore[arg-type]
    assert len(kinds) == 2
    assert doubt_of(kinds, 2) == ""


def test_a_doubt_asks_a_person_and_never_takes_a_question_away() -> None:
    asked = with_doubts(_plan(), ["it was never tried"], ApprovalPolicy(roles=("approver", "lead")))
    assert asked.needs_approval
    assert asked.approval_reason == "it was never tried: a person with role approver or lead must agree"
    strict = _plan(needs_approval=True)
    assert with_doubts(strict, ["it was never tried"], ApprovalPolicy()) is strict
    assert with_doubts(strict, [], ApprovalPolicy()) is strict
