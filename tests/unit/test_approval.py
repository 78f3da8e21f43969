"""An answer counts only from a known person with the role, on the plan that was shown, in time, with a fresh code."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
import pytest

from quell.adapters.identity import code_step
from quell.incidents.decision import Answer, Decision, Person
from quell.incidents.errors import InvalidInput
from quell.response.approval import Question, check, is_valid
from quell.response.refusal import Allowed, Refusal

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
ALICE = Person(name="alice", full_name="Alice", team="shop", roles=("approver",), totp_secret="env:X")
CAROL = replace(ALICE, name="carol", roles=("analyst",))
QUESTION = Question(
    subject="MIT-1",
    plan_hash="a" * 64,
    requested_by="bob",
    roles=("approver",),
    deadline=NOW + timedelta(minutes=15),
    is_open=True,
    state="awaiting approval",
)
GOOD = {
    "plan_hash": "a" * 64,
    "person": ALICE,
    "name": "alice",
    "answer": Answer.APPROVE,
    "code_step": 100,
    "used_steps": frozenset({98}),
    "failed_codes": 0,
    "now": NOW,
}


def test_a_proper_answer_counts() -> None:
    assert isinstance(check(QUESTION, **GOOD), Allowed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("question", "given", "rule"),
    [
        ({}, {"person": None, "name": "mallory"}, "known person"),
        ({}, {"person": CAROL}, "role"),
        ({"requested_by": "alice"}, {}, "four eyes"),
        ({}, {"plan_hash": "b" * 64}, "plan hash"),
        ({}, {"plan_hash": ""}, "plan hash"),
        ({}, {"now": NOW + timedelta(minutes=16)}, "deadline"),
        ({"is_open": False, "state": "answered by bob (approve)"}, {}, "open question"),
        ({}, {"code_step": None}, "one-time code"),
        ({}, {"code_step": 98}, "one-time code"),
        ({}, {"failed_codes": 5}, "wrong codes"),
    ],
)
def test_an_answer_that_breaks_a_rule_is_refused_by_its_name(
    question: dict[str, object], given: dict[str, object], rule: str
) -> None:
    verdict = check(replace(QUESTION, **question), **{**GOOD, **given})  # type: ignore[arg-type]
    assert isinstance(verdict, Refusal) and verdict.rule == rule


def test_the_requester_may_withdraw_but_not_approve() -> None:
    own = replace(QUESTION, requested_by="alice")
    assert isinstance(check(own, **{**GOOD, "answer": Answer.REFUSE}), Allowed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"plan_hash": "b" * 64},
        {"answer": Answer.REFUSE},
        {"person": "bob"},
        {"subject": "MIT-2"},
        {"at": NOW + timedelta(hours=1)},
    ],
)
def test_only_a_decision_on_exactly_this_plan_opens_the_way(change: dict[str, object]) -> None:
    decision = Decision(
        id="d",
        subject="MIT-1",
        plan_hash="a" * 64,
        person="alice",
        answer=Answer.APPROVE,
        channel="page",
        at=NOW,
    )
    assert is_valid(QUESTION, decision)
    assert not is_valid(QUESTION, replace(decision, **change))  # type: ignore[arg-type]


@pytest.fixture
def alice(tmp_path: Path) -> tuple[Person, pyotp.TOTP]:
    secret = pyotp.random_base32()
    (tmp_path / "alice.totp").write_text(secret + "\n")
    return replace(ALICE, totp_secret=f"file:{tmp_path / 'alice.totp'}"), pyotp.TOTP(secret)


@pytest.mark.parametrize(("late_seconds", "counts"), [(-30, True), (0, True), (30, True), (60, False), (-60, False)])
def test_a_code_counts_one_step_early_or_late(
    alice: tuple[Person, pyotp.TOTP], late_seconds: int, counts: bool
) -> None:
    person, totp = alice
    step = code_step(person, totp.at(NOW), NOW + timedelta(seconds=late_seconds))
    assert step == (int(NOW.timestamp()) // 30 if counts else None)


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦"])
def test_what_is_no_code_is_wrong(alice: tuple[Person, pyotp.TOTP], code: str) -> None:
    assert code_step(alice[0], code, NOW) is None


@pytest.mark.parametrize("place", ["env:NOT_SET_ANYWHERE", "file:/nonexistent", "plain"])
def test_a_secret_that_cannot_be_read_says_where_it_was_looked_for(place: str) -> None:
    with pytest.raises(InvalidInput, match="totp_secret of alice"):
        code_step(replace(ALICE, totp_secret=place), "123456", NOW)
