"""What can be wrong between a playbook's approval and notification and the people and receivers that they name."""

from collections.abc import Iterator
from typing import Any, cast

from quell.config.problem import KeyPath, Problem, not_defined
from quell.config.source import Source
from quell.config.value import parse_duration
from quell.incidents.errors import InvalidInput
from quell.response.approval import DEFAULT_ROLES
from quell.response.playbook import ApprovalPolicy


def check_approval(source: Source, people: Source, notifications: Source) -> Iterator[Problem]:
    """Roles that nobody holds, more approvers than there are, and escalations that reach nobody or come too late."""
    approval, persons = _mapping(source.data.get("approval")), _mapping(people.data.get("people"))
    held = _roles(persons)
    for index, role in enumerate(_texts(approval.get("roles"))):
        if role not in held:
            yield source.problem(("approval", "roles", index), not_defined("role", role, held))
    yield from _check_number(source, approval, persons)
    yield from _check_escalation(source, approval, persons, notifications)
    told = _texts(_mapping(source.data.get("notification")).get("to"))
    yield from _check_told(source, ("notification", "to"), told, persons, notifications)


def check_fixes(quell: Source, people: Source) -> Iterator[Problem]:
    """Roles of [fixes] that nobody holds: every fix would wait in vain."""
    held = _roles(_mapping(people.data.get("people")))
    for index, role in enumerate(_texts(_mapping(quell.data.get("fixes")).get("roles")) if people.is_read else ()):
        if role not in held:
            yield quell.problem(("fixes", "roles", index), not_defined("role", role, held))


def _check_number(source: Source, approval: dict[str, Any], persons: dict[str, Any]) -> Iterator[Problem]:
    """A question that too few can answer would always run out."""
    roles = set(_texts(approval.get("roles")) or DEFAULT_ROLES)
    able = sorted(
        name
        for name, person in persons.items()
        if roles & set(_texts(_mapping(person).get("roles"))) and _mapping(person).get("totp_secret")
    )
    asked: dict[tuple[str, ...], Any] = {("approvers",): approval.get("approvers")}
    asked |= {("approvers_by_severity", s): n for s, n in _mapping(approval.get("approvers_by_severity")).items()}
    for path, number in asked.items():
        if isinstance(number, int) and number > max(len(able), 1):
            who = f"{' or '.join(sorted(roles))} with a totp_secret"
            text = f"{'.'.join(path)} is {number}, but only {len(able)} in people.yaml are {who}: {', '.join(able)}"
            yield source.problem(("approval", *path), text)


def _check_escalation(
    source: Source, approval: dict[str, Any], persons: dict[str, Any], notifications: Source
) -> Iterator[Problem]:
    names, after = _texts(approval.get("escalate_to")), approval.get("escalate_after")
    yield from _check_told(source, ("approval", "escalate_to"), names, persons, notifications)
    if after is not None and not names:
        yield source.problem(("approval", "escalate_after"), "escalate_after needs escalate_to: say who is told then")
    if names and after is None:
        yield source.problem(("approval", "escalate_to"), "escalate_to needs escalate_after: say after how long")
    yield from _check_order(source, approval)


def _check_told(
    source: Source, path: KeyPath, names: list[str], persons: dict[str, Any], notifications: Source
) -> Iterator[Problem]:
    """Each is a receiver, a person or a role, and can be reached."""
    receivers, roles = _mapping(notifications.data.get("receivers")), _roles(persons)
    for index, name in enumerate(names if notifications.is_read else ()):
        place = (*path, index)
        if name in receivers:
            continue
        if name not in persons and name not in roles:
            yield source.problem(place, not_defined("receiver, person or role", name, {*receivers, *persons, *roles}))
        elif not notifications.data.get("people"):
            text = f"{name} is told by e-mail, and notifications.yaml does not say how: add people.url there"
            yield source.problem(place, text)
        elif not any(_mapping(persons[who]).get("email") for who in roles.get(name, [name])):
            yield source.problem(place, f"{name} has no email in people.yaml")


def _check_order(source: Source, approval: dict[str, Any]) -> Iterator[Problem]:
    after, deadline = approval.get("escalate_after"), approval.get("deadline")
    try:
        late = parse_duration(str(after))
        last = ApprovalPolicy().deadline if deadline is None else parse_duration(str(deadline))
    except InvalidInput:
        return  # the parser of the file says so
    if late >= last:
        text = f"escalate_after {after} must be shorter than deadline {deadline or '15m'}"
        yield source.problem(("approval", "escalate_after"), text)


def _roles(persons: dict[str, Any]) -> dict[str, list[str]]:
    """role -> who holds it"""
    held: dict[str, list[str]] = {}
    for name, person in persons.items():
        for role in _texts(_mapping(person).get("roles")):
            held.setdefault(role, []).append(name)
    return held


def _mapping(value: object) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [item for item in cast(list[Any], value) if isinstance(item, str)] if isinstance(value, list) else []
