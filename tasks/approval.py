"""Approval: take a person's answer to a plan, from whatever channel, through the one check."""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta

from quell.adapters.identity import code_step
from quell.incidents.decision import Answer, Decision, Person
from quell.incidents.errors import InvalidInput, NotFound, Refused
from quell.incidents.fix import FixState
from quell.incidents.mitigation import MitigationState
from quell.incidents.threshold import ThresholdState
from quell.incidents.timeline import NO_INCIDENT, Event
from quell.ports import Transaction
from quell.response.approval import Question, check
from quell.response.refusal import Allowed, Refusal
from tasks.proof import spent_steps
from tasks.record import QUELL, acknowledge
from tasks.resources import Resources

_REJECTED = "decision rejected"
_FAILED_CODES_COUNT_FOR = timedelta(minutes=10)
_LONGEST_WAY = timedelta(minutes=5)  # a resumed run waits for a worker and its own start
_DEFAULT_ROLES = ("approver",)


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
            id=f"{subject}/{plan_hash[:16]}",
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
            _store(tx, decision, _incident_of(tx, subject))
            return decision
        _tell_rejected(tx, decision, verdict)
    # outside of the transaction, which would take the line on the timeline back
    raise _refused(decision, verdict)


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
    incident = _incident_of(tx, decision.subject)
    tx.timeline.append(_event(incident, decision.subject, _REJECTED, QUELL, text, decision.at, evidence))


def _refused(decision: Decision, verdict: Refusal) -> Refused:
    return Refused(
        f"{decision.answer} of {decision.subject} was not accepted: {verdict.sentence}",
        rule=verdict.rule,
        value=verdict.value,
        limit=verdict.limit,
    )


def question_about(res: Resources, tx: Transaction, subject: str) -> Question:
    """What is asked about a mitigation, a fix or a threshold version, and whether it is still open."""
    if (mitigation := tx.mitigations.get(subject)) is not None:
        playbook = res.config.playbooks.get(mitigation.playbook)
        return _question(
            tx,
            subject,
            hash=mitigation.plan_hash,
            requested_by=mitigation.requested_by,
            roles=playbook.approval.roles if playbook else _DEFAULT_ROLES,
            deadline=mitigation.approval_deadline,
            waits=mitigation.state is MitigationState.AWAITING_APPROVAL,
            state=mitigation.state,
        )
    if (fix := tx.fixes.get(subject)) is not None:
        waits = fix.state in (FixState.PROPOSED, FixState.VALIDATED)
        return _question(tx, subject, hash=text_hash(fix.diff), waits=waits, state=fix.state)
    if (version := tx.thresholds.get(subject)) is not None:
        waits = version.state in (ThresholdState.PROPOSED, ThresholdState.SHADOW)
        return _question(tx, subject, hash=text_hash(version.rule), waits=waits, state=version.state)
    raise NotFound(f"{subject} is no mitigation, fix or threshold version in the store")


def used_code_steps(tx: Transaction, person: str) -> set[int]:
    """The time steps of every code that the person has used: to decide, to label, to sign in and to act."""
    steps = [decision.code_step for decision in tx.decisions.find({"person": person})]
    steps += [anomaly.code_step for anomaly in tx.anomalies.find({"labelled_by": person})]
    return {step for step in steps if step is not None} | set(spent_steps(tx, person))


def text_hash(text: str) -> str:
    """The hash to which the approval of a diff or a rule file is bound."""
    return hashlib.sha256(text.encode()).hexdigest()


def rejections(res: Resources, subject: str, channel: str) -> int:
    """How many answers from one channel were not accepted; the next question of that channel has the next number."""
    with res.store.reading() as tx:
        entries = tx.timeline.of(_incident_of(tx, subject) or NO_INCIDENT)
    return sum(e.kind == _REJECTED and e.subject == subject and e.evidence.get("channel") == channel for e in entries)


def _question(
    tx: Transaction,
    subject: str,
    *,
    hash: str,  # noqa: A002 - the word of the field
    waits: bool,
    state: str,
    requested_by: str = QUELL,
    roles: tuple[str, ...] = _DEFAULT_ROLES,
    deadline: datetime | None = None,
) -> Question:
    known = next((d for d in tx.decisions.find({"subject": subject}) if d.plan_hash == hash), None)
    return Question(
        subject=subject,
        plan_hash=hash,
        requested_by=requested_by,
        roles=roles,
        deadline=deadline,
        is_open=waits and known is None,
        state=f"answered by {known.person} ({known.answer})" if known else state.replace("_", " "),
    )


def _store(tx: Transaction, decision: Decision, incident: str | None) -> None:
    tx.decisions.add(decision)
    mitigation = tx.mitigations.get(decision.subject)
    if mitigation is not None and decision.answer is Answer.APPROVE:
        tx.mitigations.put(
            replace(mitigation, approved_by=decision.person, approved_at=decision.at, updated_at=decision.at)
        )
    acknowledge(tx, incident, decision.at)
    evidence = {"plan_hash": decision.plan_hash, "channel": decision.channel}
    text = decision.comment or f"{decision.answer} of plan {decision.plan_hash[:12]}"
    kind = f"decision {decision.answer}"
    tx.timeline.append(_event(incident, decision.subject, kind, decision.person, text, decision.at, evidence))


def _answer(answer: str) -> Answer:
    try:
        return Answer(answer.strip().lower())
    except ValueError as error:
        raise InvalidInput(f"answer is {answer!r}; it must be {' or '.join(Answer)}") from error


def _failed_codes(res: Resources, tx: Transaction, subject: str, person: str) -> int:
    since = res.clock() - _FAILED_CODES_COUNT_FOR
    entries = tx.timeline.of(_incident_of(tx, subject) or NO_INCIDENT)
    return sum(
        e.kind == _REJECTED
        and e.subject == subject
        and e.at >= since
        and e.evidence.get("person") == person
        and e.evidence.get("rule") == "one-time code"
        for e in entries
    )


def _incident_of(tx: Transaction, subject: str) -> str | None:
    record = tx.mitigations.get(subject) or tx.fixes.get(subject) or tx.thresholds.get(subject)
    return record.incident if record else None


def _event(
    incident: str | None,
    subject: str,
    kind: str,
    by: str,
    text: str,
    at: datetime,
    evidence: dict[str, str],
) -> Event:
    return Event(incident=incident, at=at, kind=kind, by=by, text=text, subject=subject, evidence=evidence)
