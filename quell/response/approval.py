"""Approval: who may say yes or no to which plan; every channel asks here."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from quell.incidents.decision import Answer, Decision, Person
from quell.response import refusal
from quell.response.refusal import Allowed, Refusal

MAX_FAILED_CODES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: a plan by its hash, who asked for it, who may answer, until when, and whether it is still open."""

    subject: str
    plan_hash: str
    requested_by: str
    roles: tuple[str, ...]
    deadline: datetime | None
    is_open: bool
    state: str  # what it is now, in words, for the refusal


def check(
    question: Question,
    *,
    plan_hash: str,
    person: Person | None,
    name: str,
    answer: Answer,
    code_step: int | None,
    used_steps: Collection[int],
    failed_codes: int,
    now: datetime,
) -> refusal.Answer:
    """Whether this answer counts: allowed, or the first rule that it breaks.

    `code_step` is the time step of the one-time code, None when the code is wrong; `used_steps` are the steps of
    codes that this person has used before, on whatever plan; `failed_codes` are the recent wrong codes given in this
    person's name for this question. The requester may refuse (withdraw) a plan, but not approve it.
    """
    if person is None:
        return Refusal(rule="known person", value=name or "nobody", limit="people.yaml", advice="ask an approver")
    return (
        _plan(question, plan_hash, now)
        or _person(question, person, answer)
        or _code(person, code_step, used_steps, failed_codes)
        or Allowed(reason=f"{person.name} ({', '.join(person.roles)}) with a valid one-time code")
    )


def is_valid(question: Question, decision: Decision) -> bool:
    """Whether a stored decision approves exactly this plan; asked again right before the first effect."""
    return (
        decision.subject == question.subject
        and decision.plan_hash == question.plan_hash
        and decision.answer is Answer.APPROVE
        and decision.person != question.requested_by
        and (question.deadline is None or decision.at <= question.deadline)
    )


def _plan(question: Question, plan_hash: str, now: datetime) -> Refusal | None:
    if not question.is_open:
        return Refusal(
            rule="open question", value=f"{question.subject} is {question.state}", limit="waiting for an answer"
        )
    if plan_hash != question.plan_hash:
        return Refusal(
            rule="plan hash",
            value=plan_hash[:12] or "none",
            limit=question.plan_hash[:12],
            advice="the plan is not the one that was shown: read it again and decide on that",
        )
    if question.deadline is not None and now > question.deadline:
        late = (now - question.deadline).total_seconds()
        return Refusal(
            rule="deadline",
            value=f"{late:.0f} s too late",
            limit=f"{question.deadline:%H:%M:%S} UTC",
            advice="plan again",
        )
    return None


def _person(question: Question, person: Person, answer: Answer) -> Refusal | None:
    if not set(person.roles) & set(question.roles):
        return Refusal(
            rule="role",
            value=f"{person.name} is {', '.join(person.roles) or 'nothing'}",
            limit=" or ".join(question.roles),
        )
    if person.name == question.requested_by and answer is Answer.APPROVE:
        return Refusal(
            rule="four eyes",
            value=f"{person.name} asked for it",
            limit="another person",
            advice="let a colleague decide",
        )
    return None


def _code(person: Person, step: int | None, used: Collection[int], failed_codes: int) -> Refusal | None:
    if failed_codes >= MAX_FAILED_CODES:
        return Refusal(
            rule="wrong codes",
            value=f"{failed_codes} wrong codes for {person.name}",
            limit=str(MAX_FAILED_CODES),
            advice="wait ten minutes or let a colleague decide",
        )
    if step is None:
        return Refusal(rule="one-time code", value="wrong or expired", limit=f"the code of {person.name} now")
    if step in used:
        return Refusal(rule="one-time code", value="already used", limit="once", advice="wait for the next code (30 s)")
    return None
