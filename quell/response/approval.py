"""Approval: who may say yes or no to which plan, and how many of them it takes; every channel asks here."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from unicodedata import normalize

from quell.incidents.decision import Answer, Decision, Person
from quell.incidents.incident import Severity
from quell.incidents.mitigation import Mitigation, MitigationState
from quell.response import refusal
from quell.response.playbook import ApprovalPolicy, Playbook
from quell.response.refusal import Allowed, Refusal

MAX_FAILED_CODES = 5
HOLDS_FOR = timedelta(minutes=10)  # an approval after its question's deadline, until the first effect
DEFAULT_ROLES = ("approver",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: a plan by its hash, who asked for it, who may answer, until when, and whether it is still open.

    As many different persons as `approvers` must say yes; `approved_by` are those who did. Where `owners` are named,
    only they may say yes.
    """

    subject: str
    plan_hash: str
    requested_by: str
    roles: tuple[str, ...]
    deadline: datetime | None
    is_open: bool
    state: str  # what it is now, in words, for the refusal
    approvers: int = 1
    approved_by: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the answers to one plan come to. `answer` is None while not enough persons have said yes, and none no."""

    approvers: int
    approvals: tuple[Decision, ...]
    refusal: Decision | None = None

    @property
    def answer(self) -> Answer | None:
        if self.refusal is not None:
            return Answer.REFUSE
        return Answer.APPROVE if len(self.approvals) >= self.approvers else None

    @property
    def people(self) -> tuple[str, ...]:
        return tuple(decision.person for decision in self.approvals)

    @property
    def standing(self) -> str:
        """In words, the same on every channel; empty where one person decides and has not.

        >>> Tally(approvers=2, approvals=()).standing
        '0 of 2 approvals, waiting for 2 persons'
        """
        if self.refusal is not None:
            return f"refused by {self.refusal.person}"
        if self.approvers == 1 and not self.approvals:
            return ""
        given, left = f"{len(self.approvals)} of {self.approvers}", self.approvers - len(self.approvals)
        if left <= 0:
            return f"approved by {', '.join(self.people)}"
        if not self.approvals:
            return f"{given} approvals, waiting for {left} persons"
        waits = "another person" if left == 1 else f"{left} more persons"
        return f"{given} approvals ({', '.join(self.people)}), waiting for {waits}"


def question_of(mitigation: Mitigation, playbook: Playbook | None, approvers: int) -> Question:
    """What is asked about a mitigation; whether it is answered already is for `tally` to say."""
    return Question(
        subject=mitigation.id,
        plan_hash=mitigation.plan_hash,
        requested_by=mitigation.requested_by,
        roles=playbook.approval.roles if playbook else DEFAULT_ROLES,
        deadline=mitigation.approval_deadline,
        is_open=mitigation.state is MitigationState.AWAITING_APPROVAL,
        state=mitigation.state.replace("_", " "),
        approvers=approvers,
    )


def approvers_needed(policy: ApprovalPolicy | None, severity: Severity | None, *, planned: int = 1) -> int:
    """How many persons must agree now; never fewer than when it was `planned`.

    >>> policy = ApprovalPolicy(approvers_by_severity={Severity.CRITICAL: 2})
    >>> approvers_needed(policy, Severity.CRITICAL), approvers_needed(policy, Severity.MINOR, planned=2)
    (2, 2)
    """
    if policy is None:
        return planned
    by_severity = policy.approvers if severity is None else policy.approvers_by_severity.get(severity, policy.approvers)
    return max(planned, by_severity)


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
    person's name for this question. The requester may refuse (withdraw) a plan, but not approve it; who has approved
    may still refuse while others are waited for.
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
        and not _is_named(decision.person, question.requested_by)
        and (question.deadline is None or decision.at <= question.deadline)
    )


def has_run_out(deadline: datetime | None, now: datetime) -> str | None:
    """Why an approval counts no more: it was given for the trouble of then, and nothing carried it out in time."""
    if deadline is None or now <= deadline + HOLDS_FOR:
        return None
    minutes = HOLDS_FOR.total_seconds() / 60
    return f"it was approved, but not carried out within {minutes:g} min after the deadline {deadline:%H:%M:%S} UTC"


def tally(question: Question, decisions: Iterable[Decision]) -> Tally:
    """What the stored decisions on this plan come to; one person counts once, and one refusal ends it."""
    on_plan = [d for d in decisions if d.subject == question.subject and d.plan_hash == question.plan_hash]
    valid = {d.person: d for d in reversed(on_plan) if is_valid(question, d)}
    refused = next((d for d in on_plan if d.answer is Answer.REFUSE), None)
    approvals = tuple(d for d in on_plan if valid.get(d.person) is d)
    return Tally(approvers=question.approvers, approvals=approvals, refusal=refused)


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
    if answer is Answer.REFUSE:
        return None
    if any(_is_named(name, question.requested_by) for name in (person.name, person.full_name, person.email)):
        return Refusal(
            rule="four eyes",
            value=f"{person.name} asked for it",
            limit="another person",
            advice="let a colleague decide",
        )
    if question.owners and person.name not in question.owners:
        return Refusal(
            rule="owner",
            value=f"{person.name} is of team {person.team}",
            limit=" or ".join(question.owners),
            advice="it is for those who own the service",
        )
    if person.name in question.approved_by:
        return Refusal(
            rule="different persons",
            value=f"{person.name} has approved it already",
            limit=f"{question.approvers} different persons",
            advice="let a colleague decide",
        )
    return None


def _is_named(name: str, requester: str) -> bool:
    """Whether the requester's name, which is typed freely, means this one: case, blanks and look-alikes aside."""
    plain, typed = (" ".join(normalize("NFKC", text).casefold().split()) for text in (name, requester))
    return bool(plain) and plain == typed


def _code(person: Person, step: int | None, used: Collection[int], failed_codes: int) -> Refusal | None:
    if failed_codes >= MAX_FAILED_CODES:
        return Refusal(
            rule="wrong codes",
            value=f"{failed_codes} wrong codes for {person.name}",
            limit=str(MAX_FAILED_CODES),
            advice="wait ten minutes or let a colleague decide",
        )
    if step is None:
        advice = f"type the one that {person.name}'s device shows now"
        return Refusal(rule="one-time code", value="wrong or expired", advice=advice)
    if step in used:
        return Refusal(rule="one-time code", value="already used", limit="once", advice="wait for the next code (30 s)")
    return None
