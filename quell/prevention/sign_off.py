"""Sign-offs and the end: who may sign for which team, and what an incident still lacks to be closed."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from quell.incidents.decision import Person
from quell.incidents.errors import Conflict, InvalidInput, NotFound, Refused
from quell.incidents.review import GuardWaiver, Review, SignOff
from quell.prevention.guard_standing import GuardStanding
from quell.prevention.reminder import SIGN_OFF
from quell.prevention.review_edit import Edit

LONGEST_WORD = 500
SHORTEST_REASON = 15  # characters: "not needed" is no reason


def sign(
    review: Review,
    team: str,
    *,
    person: Person,
    people: Mapping[str, Person],
    edition: int,
    comment: str,
    now: datetime,
) -> Edit:
    """The team's word that this edition is right and complete. Raises Refused, Conflict, NotFound or InvalidInput."""
    asked, comment = _sign_off(review, team), " ".join(comment.split())
    if not may_sign(person, team, people):
        raise Refused(f"{person.name} is of team {person.team} and cannot sign for {team}: somebody of {team} can")
    if asked.person:
        raise Conflict(f"{team} has signed already: {asked.person} did")
    if edition != review.edition:
        raise Conflict(
            f"the post-mortem was edited while you read it (edition {review.edition}, you saw {edition}):"
            " look at it again, then sign"
        )
    if len(comment) > LONGEST_WORD:
        raise InvalidInput(f"comment has {len(comment)} characters, the limit is {LONGEST_WORD}")
    signed = replace(asked, person=person.name, at=now, comment=comment, edition=edition)
    behalf = "" if person.team == team else f", on behalf of a team of which people.yaml names nobody ({person.team})"
    text = f"{team} signs edition {edition}{behalf}{f': {comment}' if comment else ''}"
    return _about(review, signed, "review signed", text)


def withdraw(review: Review, team: str, *, person: Person, people: Mapping[str, Person], why: str) -> Edit:
    """Take the team's signature back, with the reason."""
    asked, why = _sign_off(review, team), " ".join(why.split())
    if not may_sign(person, team, people):
        raise Refused(f"{person.name} is of team {person.team} and cannot take back what {team} signed")
    if not asked.person:
        raise Conflict(f"{team} has not signed: there is nothing to take back")
    if not why or len(why) > LONGEST_WORD:
        raise InvalidInput(f"why has {len(why)} characters: write between 1 and {LONGEST_WORD}")
    open_again = replace(asked, person=None, at=None, comment="", edition=0)
    return _about(review, open_again, "review signature withdrawn", f"{team} takes its signature back: {why}")


def may_sign(person: Person, team: str, people: Mapping[str, Person]) -> bool:
    """Somebody of the team; for a team of which people.yaml knows nobody, anybody who may act.

    >>> bob = Person(name="bob", full_name="Bob", team="platform", roles=("approver",))
    >>> may_sign(bob, "shop", {"bob": bob, "alice": Person(name="alice", full_name="A", team="shop", roles=("lead",))})
    False
    >>> may_sign(bob, "platform", {"bob": bob}), may_sign(bob, "shop", {"bob": bob})
    (True, True)
    """
    return person.team == team or not any(_can_act(other) and other.team == team for other in people.values())


def _can_act(person: Person) -> bool:
    return bool(set(person.roles) - {"viewer"})


def waive_guard(review: Review, why: str, *, guards: GuardStanding, by: str, now: datetime) -> Edit:
    """Close without an accepted guard, because of a reason that the record keeps."""
    why = " ".join(why.split())
    if guards.is_accepted:
        names = ", ".join(record.file for record in guards.accepted)
        raise Conflict(f"{review.id} has an accepted guard ({names}): there is nothing to waive")
    if not SHORTEST_REASON <= len(why) <= LONGEST_WORD:
        what = "why the guard cannot be accepted" if guards.names else "why no check could have caught it"
        raise InvalidInput(
            f"why has {len(why)} characters: say in {SHORTEST_REASON} to {LONGEST_WORD} {what},"
            " and what watches for it instead"
        )
    without = "an accepted guard" if guards.names else "a guard"
    return Edit(
        review=replace(review, guard_waiver=GuardWaiver(by=by, at=now, why=why)),
        kind="review guard waived",
        text=f"closed without {without}: {why}",
        subject=review.id,
    )


def missing_to_close(review: Review, guards: GuardStanding) -> tuple[str, ...]:
    """What the incident still lacks, a sentence each; empty when it may be closed."""
    missing = [f"{s.team} has not signed (due {s.due})" for s in review.sign_offs if not s.person]
    if guards.lacks and review.guard_waiver is None:
        missing.append(f"{guards.lacks}, and nobody has waived it with a reason")
    return tuple(missing)


def why_closed(review: Review, guards: GuardStanding) -> str:
    signed = ", ".join(f"{s.team} ({s.person})" for s in review.sign_offs) or "no team was involved"
    accepted = ", ".join(record.file for record in guards.accepted)
    guard = f"guarded by {accepted}" if accepted else "without an accepted guard, which was waived with a reason"
    left = len(review.open_actions)
    return f"signed by {signed}; {guard}; {left} action item{'' if left == 1 else 's'} open"


def sign_off_subject(review: Review, team: str) -> str:
    return f"{review.id}/{SIGN_OFF}/{team}"


def _sign_off(review: Review, team: str) -> SignOff:
    asked = review.sign_off(team)
    if asked is None:
        teams = ", ".join(s.team for s in review.sign_offs) or "none"
        raise NotFound(f"{review.id} asks no sign-off of team {team[:60]!r} (asked: {teams})")
    return asked


def _about(review: Review, changed: SignOff, kind: str, text: str) -> Edit:
    sign_offs = tuple(changed if s.team == changed.team else s for s in review.sign_offs)
    subject = sign_off_subject(review, changed.team)
    return Edit(review=replace(review, sign_offs=sign_offs), kind=kind, text=text, subject=subject)
