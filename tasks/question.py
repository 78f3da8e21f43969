"""The question: what is asked about a mitigation, a fix or a threshold version, and where its answers stand."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from quell.incidents.decision import Answer
from quell.incidents.errors import NotFound
from quell.incidents.fix import Fix
from quell.incidents.incident import ACTIVE_STATES, Severity
from quell.incidents.mitigation import Mitigation
from quell.incidents.standing import span_in_words
from quell.incidents.threshold import ThresholdState
from quell.incidents.timeline import NO_INCIDENT, Event
from quell.ports import Transaction
from quell.response.approval import DEFAULT_ROLES, Question, Tally, approvers_needed, question_of, tally
from quell.response.fix_approval import question_of_fix, text_hash
from quell.response.playbook import ApprovalPolicy
from tasks.record import QUELL
from tasks.refusals import shadow_left
from tasks.resources import Resources

PREFECT = "prefect"  # the channel of the run's own dialog
REJECTED = "decision rejected"
_ASKED_AGAIN = "asked again"


def question_about(res: Resources, tx: Transaction, subject: str) -> Question:
    """What is asked about a mitigation, a fix or a threshold version, and whether it is still open."""
    if (mitigation := tx.mitigations.get(subject)) is not None:
        return _question_about_mitigation(res, tx, mitigation)
    if (fix := tx.fixes.get(subject)) is not None:
        return _question_about_fix(res, tx, fix)
    if (version := tx.thresholds.get(subject)) is not None:
        waits, state = version.state in (ThresholdState.PROPOSED, ThresholdState.SHADOW), str(version.state)
        if waits and version.clients is not None and (left := shadow_left(res, tx, version)) > timedelta():
            waits, state = False, f"{state}, {span_in_words(left)} of measured traffic too short to decide"
        return _question_about_text(tx, subject, version.rule, waits=waits, state=state)
    raise NotFound(f"{subject} is no mitigation, fix or threshold version in the store")


def tally_of(res: Resources, tx: Transaction, mitigation: Mitigation) -> Tally:
    """What the stored answers to exactly this plan come to, with as many approvers as it takes now."""
    return tally(question_about(res, tx, mitigation.id), tx.decisions.find({"subject": mitigation.id}))


def standing_of(tx: Transaction, question: Question) -> str:
    """Who has agreed so far and who is waited for; empty where one person decides and has not."""
    return tally(question, tx.decisions.find({"subject": question.subject})).standing


def approvers_now(
    tx: Transaction, policy: ApprovalPolicy | None, *, incident: str | None, service: str, planned: int = 1
) -> int:
    """How many persons must agree, by the worst that the incident ever was.

    Without an incident, the worst that goes on with the service counts: leaving it out of a form saves no approver.
    """
    if incident is not None:
        found = [known] if (known := tx.incidents.get(incident)) is not None else []
    else:
        found = tx.incidents.find({"service": service, "state": tuple(ACTIVE_STATES)})
    severities: list[Severity] = [i.worst_severity or i.severity for i in found]
    worst = min(severities, key=lambda severity: severity.rank, default=None)
    return approvers_needed(policy, worst, planned=planned)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What became of a channel's questions so far: answers that were not accepted, and how often it came back."""

    rejected: int
    answered: int  # with an answer, accepted or not, or because somebody had answered elsewhere
    woken: int  # of these, because somebody had answered elsewhere


def asked_on(tx: Transaction, subject: str, channel: str) -> Asked:
    """The next question of the channel has the next number: each asking is one of its own."""
    entries = tx.timeline.of(incident_of(tx, subject) or NO_INCIDENT)
    kinds = [e.kind for e in entries if e.subject == subject and e.evidence.get("channel") == channel]
    taken = {REJECTED, _ASKED_AGAIN, *(f"decision {answer}" for answer in Answer)}
    return Asked(
        rejected=kinds.count(REJECTED),
        answered=sum(kind in taken for kind in kinds),
        woken=kinds.count(_ASKED_AGAIN),
    )


def is_answered_elsewhere(res: Resources, tx: Transaction, subject: str) -> bool:
    """Whether the run in Prefect of a mitigation or a fix waits although a person has answered on another channel.

    With all answers given it may go on; otherwise it has to ask anew once for each answer.
    """
    found = tx.decisions.find({"subject": subject})
    if all(decision.channel == PREFECT for decision in found):  # asked every second, and mostly so
        return False
    question = question_about(res, tx, subject)
    elsewhere = [d for d in found if d.plan_hash == question.plan_hash and d.channel != PREFECT]
    if not elsewhere or tally(question, found).answer is not None:
        return bool(elsewhere)
    return len(elsewhere) > asked_on(tx, subject, PREFECT).woken


def ask_again(res: Resources, subject: str, channel: str) -> None:
    """Somebody answered elsewhere, and others are still needed: the channel shows its question anew."""
    with res.store.writing() as tx:
        standing = standing_of(tx, question_about(res, tx, subject))
        text = f"{standing or 'nobody has answered'}: its run asks again"
        incident = incident_of(tx, subject)
        tx.timeline.append(about(incident, subject, _ASKED_AGAIN, QUELL, text, res.clock(), {"channel": channel}))


def incident_of(tx: Transaction, subject: str) -> str | None:
    record = tx.mitigations.get(subject) or tx.fixes.get(subject) or tx.thresholds.get(subject)
    return record.incident if record else None


def about(
    incident: str | None,
    subject: str,
    kind: str,
    by: str,
    text: str,
    at: datetime,
    evidence: dict[str, str],
) -> Event:
    return Event(incident=incident, at=at, kind=kind, by=by, text=text, subject=subject, evidence=evidence)


def _question_about_mitigation(res: Resources, tx: Transaction, mitigation: Mitigation) -> Question:
    playbook = res.config.playbooks.get(mitigation.playbook)
    policy = playbook.approval if playbook else None
    needed = approvers_now(
        tx, policy, incident=mitigation.incident, service=mitigation.service, planned=mitigation.approvers
    )
    return _with_answers(tx, question_of(mitigation, playbook, needed))


def _question_about_fix(res: Resources, tx: Transaction, fix: Fix) -> Question:
    service, people = res.config.catalog.service(fix.service), res.config.people.values()
    return _with_answers(tx, question_of_fix(fix, res.config.fixes, service, people))


def _question_about_text(tx: Transaction, subject: str, text: str, *, waits: bool, state: str) -> Question:
    """A rule file; Quell itself has made it, so any approver may answer."""
    asked = Question(
        subject=subject,
        plan_hash=text_hash(text),
        requested_by=QUELL,
        roles=DEFAULT_ROLES,
        deadline=None,
        is_open=waits,
        state=state.replace("_", " "),
    )
    return _with_answers(tx, asked)


def _with_answers(tx: Transaction, asked: Question) -> Question:
    """Open while not enough persons have answered."""
    so_far = tally(asked, tx.decisions.find({"subject": asked.subject}))
    if so_far.answer is None:
        return replace(asked, approved_by=so_far.people)
    last = so_far.refusal or so_far.approvals[-1]
    return replace(asked, is_open=False, state=f"answered by {last.person} ({last.answer})", approved_by=so_far.people)
