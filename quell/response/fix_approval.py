"""Who has to agree to a fix: what may be undone without asking, and which people own a service's configuration."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from quell.incidents.decision import Person
from quell.incidents.fix import Fix, FixState
from quell.incidents.service import Service
from quell.response.approval import Question


class Undoing(StrEnum):
    """What happens with a fix that only takes back what a linked change did."""

    APPROVE = "approve"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, slots=True, kw_only=True)
class FixPolicy:
    """`undo` is about fixes that Quell makes by itself; what a person asks for always takes another person.

    An approval is waited for until `deadline`, then the fix is taken back and a person told.
    """

    undo: Undoing = Undoing.APPROVE
    roles: tuple[str, ...] = ("approver",)
    deadline: timedelta = timedelta(hours=4)


def question_of_fix(fix: Fix, policy: FixPolicy, service: Service | None, people: Iterable[Person]) -> Question:
    """What is asked about a fix: its diff, of those who own the service. Whether it is answered, a tally says."""
    waits = fix.state is FixState.VALIDATED and fix.approval_deadline is not None
    state = f"{fix.state}, and nobody has to agree" if fix.approval_deadline is None else str(fix.state)
    return Question(
        subject=fix.id,
        plan_hash=text_hash(fix.diff),
        requested_by=fix.requested_by,
        roles=policy.roles,
        deadline=fix.approval_deadline,
        is_open=waits and fix.applying_since is None and not fix.taking_back,
        state="being applied" if waits and fix.applying_since else state,
        owners=owners_of(service, people, policy.roles, fix.requested_by) if service else (),
    )


def owners_of(service: Service, people: Iterable[Person], roles: Iterable[str], requested_by: str) -> tuple[str, ...]:
    """Who may approve a fix of the service: who holds one of the roles and is its owner or of its team.

    Empty where that is nobody but the requester: then anybody with one of the roles may, since four eyes go first.

    >>> shop = Service(name="checkout", team="shop", owner="ann")
    >>> folk = [Person(name=n, full_name=n, team=t, roles=("approver",)) for n, t in (("ann", "x"), ("bo", "shop"))]
    >>> owners_of(shop, folk, ("approver",), "bo"), owners_of(shop, folk[:1], ("approver",), "ann")
    (('ann',), ())
    """
    wanted = set(roles)
    return tuple(
        one.name
        for one in people
        if wanted & set(one.roles)
        and (one.name == service.owner or one.team == service.team)
        and one.name != requested_by
    )


def text_hash(text: str) -> str:
    """The hash to which the approval of a diff or a rule file is bound."""
    return hashlib.sha256(text.encode()).hexdigest()
