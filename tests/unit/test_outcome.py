"""Outcomes of mitigations, counted by hand: the ladder, the commands and the weekly report must say the same."""

from datetime import UTC, datetime, timedelta

import pytest

from quell.incidents.mitigation import BlastRadius, Mitigation, MitigationId, MitigationState, Plan, Recovery
from quell.incidents.outcome import FALSE_ISOLATION, Harm, by_playbook, capacity_taken, count_outcomes

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
S = MitigationState


def second(number: float) -> timedelta:
    return timedelta(seconds=number)


def mitigation(
    number: int,
    state: MitigationState = S.UNDONE,
    recovery: Recovery | None = Recovery.EFFECTIVE,
    *,
    applied: float | None = 10,
    judged: float | None = 30,
    ended: float | None = 100,
    share: float = 1 / 4,
    answers: str = "InstanceErrors",
    reason: str = "",
) -> Mitigation:
    """Created one hour before NOW; the times are seconds after that."""
    at = NOW - timedelta(hours=1)
    radius = BlastRadius(service="c", instances=(), capacity_share=share, capacity_left=1 - share)
    plan = Plan(
        playbook="p", incident=f"INC-{number}", target="c-1", steps=(), undo=(), blast_radius=radius, evidence=(),
        needs_approval=False, approval_reason="", expires_after=timedelta(hours=1),
    )  # fmt: skip
    return Mitigation(
        id=MitigationId(f"MIT-{number}"), state=state, plan=plan, plan_hash="h", incident=f"INC-{number}", playbook="p",
        service="c", target="c-1", requested_by="quell", created_at=at, updated_at=at, answers=answers,
        applied_at=None if applied is None else at + second(applied),
        judged_at=None if judged is None else at + second(judged),
        ended_at=None if ended is None else at + second(ended), recovery=recovery, recovery_reason=reason,
    )  # fmt: skip


def test_success_is_a_share_of_what_could_be_judged() -> None:
    past = [
        mitigation(1),
        mitigation(2, judged=50),
        mitigation(3, recovery=Recovery.INEFFECTIVE),
        mitigation(4, recovery=Recovery.INCONCLUSIVE),
        mitigation(5, S.REFUSED, None, applied=None, judged=None),
        mitigation(6, S.AWAITING_APPROVAL, None, applied=None, judged=None, ended=None),
    ]
    found = count_outcomes(past, NOW)
    assert (found.uses, found.effective, found.failed, found.unknown) == (4, 2, 1, 1)
    assert found.success_share == 2 / 3
    assert found.to_effect == (second(20), second(40))
    assert found.last_used_at == NOW - timedelta(hours=1)


def test_nothing_judged_is_no_success_and_no_failure() -> None:
    assert count_outcomes([], NOW).success_share is None
    assert count_outcomes([mitigation(1, recovery=Recovery.INCONCLUSIVE)], NOW).success_share is None


def test_what_helped_and_could_not_be_taken_back_is_a_failure_only() -> None:
    found = count_outcomes([mitigation(1, S.UNDO_FAILED)], NOW)
    assert (found.effective, found.failed, found.harm.undo_failed, found.to_effect) == (0, 1, 1, ())


def test_harm_is_capacity_that_helped_nobody_and_requests_wrongly_refused() -> None:
    past = [
        mitigation(1),  # it helped: what it took was its price, not harm
        mitigation(2, recovery=Recovery.INEFFECTIVE, reason=f"{FALSE_ISOLATION}users were never outside the limit"),
        mitigation(3, recovery=Recovery.INCONCLUSIVE, applied=10, ended=50, share=0.5),
    ]
    harm = count_outcomes(past, NOW, {"MIT-1": 7, "MIT-9": 100}).harm
    assert harm == Harm(false_isolations=1, capacity=second(90 / 4 + 40 / 2), wrongly_refused=7)
    assert count_outcomes([mitigation(1)], NOW).harm.is_none


def test_capacity_counts_until_now_while_it_is_still_taken() -> None:
    assert capacity_taken(mitigation(1, ended=None, share=0.5), NOW) == second(0.5 * 3590)
    assert capacity_taken(mitigation(1, applied=None, ended=None), NOW) == second(0)


def test_groups_keep_the_order_of_what_they_are_given() -> None:
    past = [mitigation(3), mitigation(2, answers=""), mitigation(1)]
    assert {key: [m.id for m in group] for key, group in by_playbook(past).items()} == {
        ("p", ""): ["MIT-2"],
        ("p", "InstanceErrors"): ["MIT-3", "MIT-1"],
    }
