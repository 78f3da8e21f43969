"""Rights: which roles may do what to an incident; whether a plan may be approved is asked in `approval`."""

from dataclasses import dataclass
from enum import StrEnum

from quell.incidents.decision import Person

VIEWER = "viewer"  # reads, and does nothing


class Action(StrEnum):
    ACKNOWLEDGE = "acknowledge"
    DISMISS = "dismiss"
    RELEASE = "release"
    MERGE = "merge"
    SPLIT = "split"
    SILENCE = "silence"
    EXPIRE = "expire"  # a silence


@dataclass(frozen=True, slots=True, kw_only=True)
class ActDetails:
    """What an act needs beside its subject: a merge `other`, a split `alerts` or `groups` (service and name of
    alerts), a silence `matchers` and how long it is `lasting`.
    """

    other: str = ""
    alerts: tuple[str, ...] = ()
    groups: tuple[tuple[str | None, str], ...] = ()
    matchers: str = ""
    lasting: str = ""


def may_act(person: Person, action: Action, approvers: tuple[str, ...]) -> bool:
    """A release changes production as an approval does: it takes the playbook's `approvers`. The rest takes a role.

    >>> carol = Person(name="carol", full_name="Carol", team="shop", roles=("analyst",))
    >>> may_act(carol, Action.DISMISS, ("approver",)), may_act(carol, Action.RELEASE, ("approver",))
    (True, False)
    """
    if action is Action.RELEASE:
        return bool(set(person.roles) & set(approvers))
    return bool(set(person.roles) - {VIEWER})


def needed_roles(action: Action, approvers: tuple[str, ...]) -> str:
    return " or ".join(approvers) if action is Action.RELEASE else f"any role but {VIEWER}"
