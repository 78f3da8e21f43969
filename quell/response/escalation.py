"""Escalation: who is told when nobody answers what waits for approval, and when."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from quell.incidents.decision import Answer, Person
from quell.incidents.mitigation import Mitigation, MitigationState
from quell.response.playbook import ApprovalPolicy

_PERSON = "person:"  # before the name of a person, where receivers are named


def is_escalation_due(mitigation: Mitigation, policy: ApprovalPolicy, *, answer: Answer | None, now: datetime) -> bool:
    """Whether it waits for longer than `escalate_after`, still in time, and nobody was told of that yet."""
    if policy.escalate_after is None or not policy.escalate_to or mitigation.escalated_at is not None:
        return False
    deadline = mitigation.approval_deadline
    return (
        mitigation.state is MitigationState.AWAITING_APPROVAL
        and answer is None
        and now >= mitigation.created_at + policy.escalate_after
        and (deadline is None or now < deadline)
    )


def escalation_receivers(
    names: Sequence[str], receivers: Collection[str], people: Mapping[str, Person]
) -> tuple[str, ...]:
    """Who is meant: a receiver of that name, else the person, else everybody who holds the role; with an address.

    >>> alice = Person(name="alice", full_name="Alice", team="shop", roles=("lead",), email="alice@shop.example")
    >>> escalation_receivers(["oncall", "lead"], ["oncall"], {"alice": alice})
    ('oncall', 'person:alice')
    """
    found: list[str] = []
    for name in names:
        if name in receivers:
            found.append(name)
            continue
        meant = [people[name]] if name in people else [p for p in people.values() if name in p.roles]
        found += [person_receiver(person.name) for person in meant if person.email]
    return tuple(dict.fromkeys(found))


def person_receiver(name: str) -> str:
    """The receiver that stands for one person."""
    return f"{_PERSON}{name}"


def person_told(people: Mapping[str, Person], receiver: str) -> Person | None:
    """The person behind a receiver; None where it is none, or has no address."""
    person = people.get(receiver.removeprefix(_PERSON)) if receiver.startswith(_PERSON) else None
    return person if person is not None and person.email else None
