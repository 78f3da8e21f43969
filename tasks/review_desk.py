"""The desk at which people work on a post-mortem: every act passes one check, and goes on the timeline."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime

from quell.incidents.decision import Person
from quell.incidents.errors import Conflict, InvalidInput, NotFound, Refused
from quell.incidents.incident import IncidentState
from quell.incidents.review import Review
from quell.ports import Transaction
from quell.prevention import action_item, review_edit, sign_off
from quell.prevention.review_act import NO_REVIEW_DETAILS, ReviewAct, ReviewDetails, may_review
from quell.prevention.review_edit import Edit
from tasks.acts import prove
from tasks.guard_standing import standing_of
from tasks.resources import Resources
from tasks.review_export import can_export, export_action
from tasks.review_record import addressee, close_if_complete, get_review, keep_edit

_CLOSING = frozenset({ReviewAct.SIGN, ReviewAct.WAIVE, ReviewAct.CLOSE})
# What may still be done once the incident is closed: its follow-ups live on.
_AFTERWARDS = frozenset(
    {
        ReviewAct.COMMENT,
        ReviewAct.ADD_ACTION,
        ReviewAct.CHANGE_ACTION,
        ReviewAct.FINISH_ACTION,
        ReviewAct.REOPEN_ACTION,
        ReviewAct.EXPORT,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desk:
    """One act: who does it, to which review, inside one transaction."""

    res: Resources
    tx: Transaction
    review: Review
    person: Person
    details: ReviewDetails
    now: datetime

    @property
    def today(self) -> date:
        return self.now.date()

    @property
    def known(self) -> frozenset[str]:
        """People and teams that may look after something."""
        return known_owners(self.res)


def act_on_review(
    res: Resources,
    *,
    action: str,
    incident: str,
    person: str,
    code: str,
    is_signed_in: bool,
    details: ReviewDetails = NO_REVIEW_DETAILS,
) -> str:
    """Do it, if the person may; returns what was done, in words.

    Raises Refused, TooManyTries, NotFound, Conflict, InvalidInput or Unavailable.
    """
    act = _act(action)
    known = res.config.people.get(person)
    if known is None:
        raise Refused(f"{act} by {person or 'nobody'} is not accepted: people.yaml knows no such person")
    if not is_signed_in:
        prove(res, known, code)
    if not may_review(known):
        held = ", ".join(known.roles) or "no role"
        raise Refused(f"{act} is not accepted: {person} has {held}, it needs any role but viewer", rule="role")
    if act is ReviewAct.EXPORT and not can_export(res):
        raise InvalidInput("nothing says where issues are kept: write [tracker] into quell.toml")
    said = _do(res, act, incident, known, details)
    if act is ReviewAct.EXPORT:
        return export_action(res, incident, details.subject)
    return said


def _do(res: Resources, act: ReviewAct, incident_id: str, person: Person, details: ReviewDetails) -> str:
    with res.store.writing() as tx:
        review, now = get_review(tx, incident_id), res.clock()
        incident = tx.incidents.get(incident_id)
        state = incident.state if incident else IncidentState.CLOSED
        if state is not IncidentState.REVIEWED and act not in _AFTERWARDS:
            raise Conflict(f"{incident_id} is {state}: {act} takes an incident that is reviewed and not yet closed")
        if not review.sections:
            raise NotFound(f"the post-mortem of {incident_id} has no sections: run review-incident to write it anew")
        desk = _Desk(res=res, tx=tx, review=review, person=person, details=details, now=now)
        said = ""
        if (make := _EDITS.get(act)) is not None:
            edit = make(desk)
            review, said = keep_edit(tx, edit, by=person.name, now=now), edit.text
        if act in _CLOSING:
            closed = close_if_complete(tx, review, by=person.name, now=now)
            if closed.state is IncidentState.CLOSED:
                said = f"{incident_id} is closed"
            elif act is ReviewAct.CLOSE:
                missing = "; ".join(sign_off.missing_to_close(review, standing_of(tx, incident_id)))
                raise Conflict(f"{incident_id} cannot be closed yet: {missing}")
    return said


def known_owners(res: Resources) -> frozenset[str]:
    """Teams of services and people, and the people themselves."""
    config = res.config
    teams = {service.team for service in config.catalog.services.values()}
    teams |= {person.team for person in config.people.values()}
    return frozenset(teams | set(config.people))


def _edit(desk: _Desk) -> Edit:
    d = desk.details
    return review_edit.edit_section(
        desk.review, d.subject, d.text, version=d.version, by=desk.person.name, now=desk.now
    )


def _take_draft(desk: _Desk) -> Edit:
    d = desk.details
    return review_edit.take_draft(desk.review, d.subject, version=d.version, by=desk.person.name, now=desk.now)


def _assign(desk: _Desk) -> Edit:
    edit = review_edit.assign_section(desk.review, desk.details.subject, desk.details.owner, known=desk.known)
    return replace(edit, evidence={**edit.evidence, **addressee(desk.res, desk.details.owner)})


def _comment(desk: _Desk) -> Edit:
    d = desk.details
    return review_edit.comment_on(desk.review, d.subject, d.text, by=desk.person.name, now=desk.now)


def _sign(desk: _Desk) -> Edit:
    d = desk.details
    return sign_off.sign(
        desk.review,
        d.subject,
        person=desk.person,
        people=desk.res.config.people,
        edition=d.version,
        comment=d.text,
        now=desk.now,
    )


def _withdraw(desk: _Desk) -> Edit:
    d, people = desk.details, desk.res.config.people
    return sign_off.withdraw(desk.review, d.subject, person=desk.person, people=people, why=d.text)


def _waive(desk: _Desk) -> Edit:
    guards = standing_of(desk.tx, desk.review.id)
    return sign_off.waive_guard(desk.review, desk.details.text, guards=guards, by=desk.person.name, now=desk.now)


def _add(desk: _Desk) -> Edit:
    d = desk.details
    return action_item.add_action(
        desk.review,
        text=d.text,
        owner=d.owner,
        due=_date(d.due),
        by=desk.person.name,
        known=desk.known,
        today=desk.today,
    )


def _change(desk: _Desk) -> Edit:
    d = desk.details
    return action_item.change_action(
        desk.review,
        d.subject,
        version=d.version,
        text=d.text,
        owner=d.owner,
        due=_date(d.due),
        by=desk.person.name,
        known=desk.known,
        today=desk.today,
    )


def _finish(desk: _Desk) -> Edit:
    return action_item.finish_action(desk.review, desk.details.subject, by=desk.person.name, now=desk.now)


def _reopen(desk: _Desk) -> Edit:
    return action_item.reopen_action(desk.review, desk.details.subject)


def _export(desk: _Desk) -> Edit:
    return action_item.want_export(desk.review, desk.details.subject, by=desk.person.name, now=desk.now)


_EDITS: dict[ReviewAct, Callable[[_Desk], Edit]] = {
    ReviewAct.EDIT: _edit,
    ReviewAct.TAKE_DRAFT: _take_draft,
    ReviewAct.ASSIGN: _assign,
    ReviewAct.COMMENT: _comment,
    ReviewAct.SIGN: _sign,
    ReviewAct.WITHDRAW: _withdraw,
    ReviewAct.WAIVE: _waive,
    ReviewAct.ADD_ACTION: _add,
    ReviewAct.CHANGE_ACTION: _change,
    ReviewAct.FINISH_ACTION: _finish,
    ReviewAct.REOPEN_ACTION: _reopen,
    ReviewAct.EXPORT: _export,
}


def _act(action: str) -> ReviewAct:
    try:
        return ReviewAct(action)
    except ValueError as error:
        raise InvalidInput(f"action is {action[:40]!r}; it must be one of {', '.join(ReviewAct)}") from error


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidInput(f"due is {text[:40]!r}: write a date as 2026-12-31") from error
