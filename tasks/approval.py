"""Approval: take a person's answer to a plan, from whatever channel, through the one check."""

from dataclasses import replace
from datetime import datetime, timedelta

from quell.adapters.identity import code_step
from quell.incidents.decision import Answer, Decision, Person
from quell.incidents.errors import InvalidInput, Refused
from quell.incidents.timeline import NO_INCIDENT
from quell.ports import Transaction
from quell.response.approval import Question, check, tally
from quell.response.refusal import Allowed, Refusal
from tasks.proof import spent_steps
from tasks.question import REJECTED, about, incident_of, question_about
from tasks.record import QUELL, acknowledge
from tasks.resources import Resources

_FAILED_CODES_COUNT_FOR = timedelta(minutes=10)
_LONGEST_WAY = timedelta(minutes=5)  # a resumed run waits for a worker and its own start


def decide(
    res: Resources,
    *,
    subject: str,
    plan_hash: str,
    person: str,
    code: str,
    answer: str,
    comment: str,
    channel: str,
    given_at: datetime | None = None,
) -> Decision:
    """Record the answer of a person who proved with a one-time code who they are.

    `given_at` is when the person sent it, where a channel needs time to bring it: the code counts from then.

    `subject` is a mitigation, a fix or a threshold version, `plan_hash` the hash that the person was shown. Raises
    Refused (rule, value, limit), InvalidInput (the answer is neither approve nor refuse) or NotFound. What is
    refused is on the timeline too.
    """
    given = _answer(answer)
    found = res.config.people.get(person)
    with res.store.writing() as tx:
        now, question = res.clock(), question_about(res, tx, subject)
        decision = Decision(
            id=_next_id(tx, subject, plan_hash),
            subject=subject,
            plan_hash=plan_hash,
            person=person,
            answer=given,
            comment=comment,
            channel=channel,
            at=now,
            code_step=_proven_step(found, code, given_at, now),
        )
        verdict = _verdict(res, tx, question, decision, found)
        if not isinstance(verdict, Refusal):
            return _store(tx, question, decision)
        _tell_rejected(tx, decision, verdict)
    # outside of the transaction, which would take the line on the timeline back
    raise _refused(decision, verdict)


def _next_id(tx: Transaction, subject: str, plan_hash: str) -> str:
    """The first answer to a plan has the plan's id, the next ones a number: of two at once the store takes one."""
    first = f"{subject}/{plan_hash[:16]}"
    given = sum(decision.id.startswith(first) for decision in tx.decisions.find({"subject": subject}))
    return f"{first}/{given + 1}" if given else first


def _proven_step(person: Person | None, code: str, given_at: datetime | None, now: datetime) -> int | None:
    """The time step of the code, as of when it was given if that is believable; None when it proves nothing."""
    if person is None:
        return None
    is_fresh = given_at is not None and now - _LONGEST_WAY <= given_at <= now
    return code_step(person, code, given_at if given_at and is_fresh else now)


def _verdict(
    res: Resources, tx: Transaction, question: Question, decision: Decision, person: Person | None
) -> Allowed | Refusal:
    return check(
        question,
        plan_hash=decision.plan_hash,
        person=person,
        name=decision.person,
        answer=decision.answer,
        code_step=decision.code_step,
        used_steps=used_code_steps(tx, decision.person),
        failed_codes=_failed_codes(res, tx, decision.subject, decision.person),
        now=decision.at,
    )


def _tell_rejected(tx: Transaction, decision: Decision, verdict: Refusal) -> None:
    evidence = {"rule": verdict.rule, "channel": decision.channel, "person": decision.person}
    text = f"{decision.answer} by {decision.person or 'nobody'}: {verdict.sentence}"
    incident = incident_of(tx, decision.subject)
    tx.timeline.append(about(incident, decision.subject, REJECTED, QUELL, text, decision.at, evidence))


def _refused(decision: Decision, verdict: Refusal) -> Refused:
    return Refused(
        f"{decision.answer} of {decision.subject} was not accepted: {verdict.sentence}",
        rule=verdict.rule,
        value=verdict.value,
        limit=verdict.limit,
    )


def used_code_steps(tx: Transaction, person: str) -> set[int]:
    """The time steps of every code that the person has used: to decide, to label, to sign in and to act."""
    steps = [decision.code_step for decision in tx.decisions.find({"person": person})]
    steps += [anomaly.code_step for anomaly in tx.anomalies.find({"labelled_by": person})]
    return {step for step in steps if step is not None} | set(spent_steps(tx, person))


def _store(tx: Transaction, question: Question, decision: Decision) -> Decision:
    """Write it down, with where the question stands now; enough approvals are the mitigation's approval."""
    so_far = tally(question, [*tx.decisions.find({"subject": decision.subject}), decision])
    decision = replace(decision, standing=so_far.standing)
    tx.decisions.add(decision)
    incident, mitigation = incident_of(tx, decision.subject), tx.mitigations.get(decision.subject)
    if mitigation is not None:
        known = replace(mitigation, approvers=question.approvers)
        if so_far.answer is Answer.APPROVE:
            by = ", ".join(so_far.people)
            known = replace(known, approved_by=by, approved_at=decision.at, updated_at=decision.at)
        tx.mitigations.put(known)
    fix = tx.fixes.get(decision.subject)
    if fix is not None and so_far.answer is Answer.APPROVE:
        tx.fixes.put(replace(fix, approved_by=", ".join(so_far.people), updated_at=decision.at))
    acknowledge(tx, incident, decision.at)
    evidence = {"plan_hash": decision.plan_hash, "channel": decision.channel}
    text = decision.comment or f"{decision.answer} of plan {decision.plan_hash[:12]}"
    if question.approvers > 1:
        text = f"{text}; {so_far.standing}"
    kind = f"decision {decision.answer}"
    tx.timeline.append(about(incident, decision.subject, kind, decision.person, text, decision.at, evidence))
    return decision


def _answer(answer: str) -> Answer:
    try:
        return Answer(answer.strip().lower())
    except ValueError as error:
        raise InvalidInput(f"answer is {answer!r}; it must be {' or '.join(Answer)}") from error


def _failed_codes(res: Resources, tx: Transaction, subject: str, person: str) -> int:
    since = res.clock() - _FAILED_CODES_COUNT_FOR
    entries = tx.timeline.of(incident_of(tx, subject) or NO_INCIDENT)
    return sum(
        e.kind == REJECTED
        and e.subject == subject
        and e.at >= since
        and e.evidence.get("person") == person
        and e.evidence.get("rule") == "one-time code"
        for e in entries
    )
