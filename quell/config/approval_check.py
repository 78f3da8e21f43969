"""What can be wrong between a playbook's approval and the people and receivers that it names."""

from collections.abc import Iterator
from typing import Any, cast

from quell.config.problem import Problem, not_defined
from quell.config.source import Source
from quell.config.value import parse_duration
from quell.incidents.errors import InvalidInput
from quell.response.approval import DEFAULT_ROLES
from quell.response.playbook import ApprovalPolicy


def check_approval(source: Source, people: Source, notifications: Source) -> Iterator[Problem]:
    """Roles that nobody holds, more approvers than there are, and escalations that reach nobody or come too late."""
    approval, persons = _mapping(source.data.get("approval")), _mapping(people.data.get("people"))
    held = {role for person in persons.values() for role in _texts(_mapping(person).get("roles"))}
    for index, role in enumerate(_texts(approval.get("roles"))):
        if role not in held:
            yield source.problem(("approval", "roles", index), not_defined("role", role, held))
    yield from _check_number(source, approval, persons)
    yield from _check_escalation(source, approval, notifications)


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


def _check_escalation(source: Source, approval: dict[str, Any], notifications: Source) -> Iterator[Problem]:
    names, after = _texts(approval.get("escalate_to")), approval.get("escalate_after")
    receivers = _mapping(notifications.data.get("receivers"))
    for index, name in enumerate(names if notifications.is_read else ()):
        if name not in receivers:
            yield source.problem(("approval", "escalate_to", index), not_defined("receiver", name, receivers))
    if after is not None and not names:
        yield source.problem(("approval", "escalate_after"), "escalate_after needs escalate_to: say who is told then")
    if names and after is None:
        yield source.problem(("approval", "escalate_to"), "escalate_to needs escalate_after: say after how long")
    try:
        late = parse_duration(str(after))
        deadline = parse_duration(str(approval.get("deadline", "")) or "") if "deadline" in approval else None
    except InvalidInput:
        return
    if late >= (deadline or ApprovalPolicy().deadline):
        text = f"escalate_after {after} must be shorter than deadline {approval.get('deadline', '15m')}"
        yield source.problem(("approval", "escalate_after"), text)


def _mapping(value: object) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [item for item in cast(list[Any], value) if isinstance(item, str)] if isinstance(value, list) else []
