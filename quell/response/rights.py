"""Rights: which roles may do what to an incident; whether a plan may be approved is asked in `approval`."""

from enum import StrEnum

from quell.incidents.decision import Person

VIEWER = "viewer"  # reads, and does nothing


class Action(StrEnum):
    ACKNOWLEDGE = "acknowledge"
    DISMISS = "dismiss"
    RELEASE = "release"


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
