"""A digest: what was held for a receiver, a line for each incident, as it stands now."""

from collections.abc import Iterable, Mapping, Sequence

from quell.incidents.incident import Incident
from quell.incidents.notification import MITIGATION_KINDS, Notification, NotificationKind

_OF_A_MITIGATION = MITIGATION_KINDS | {NotificationKind.APPROVAL, NotificationKind.ESCALATION}


def digest_lines(members: Sequence[Notification], incidents: Mapping[str, Incident]) -> list[str]:
    """What happened to each incident, in the order of the first word about it; then what belongs to none."""
    by_incident: dict[str, list[Notification]] = {}
    for member in sorted(members, key=lambda m: (m.created_at, m.id)):
        by_incident.setdefault(member.incident or member.subject, []).append(member)
    lines = [_line(subject, told, incidents.get(subject)) for subject, told in by_incident.items()]
    worst_first = {
        line: incidents[key].severity.rank for key, line in zip(by_incident, lines, strict=True) if key in incidents
    }
    return sorted(lines, key=lambda line: worst_first.get(line, len(worst_first)))


def _line(subject: str, told: Sequence[Notification], incident: Incident | None) -> str:
    happened = ", ".join(_happened(told))
    if incident is None:
        return f"{subject}: {told[-1].cause} ({happened})"
    return f"{incident.id} {incident.severity}: {incident.title} ({happened}; now {incident.state})"


def _happened(told: Iterable[Notification]) -> Iterable[str]:
    for one in told:
        about = f" of {one.subject}" if one.kind in _OF_A_MITIGATION else ""
        yield f"{one.kind.replace('_', ' ')}{about} {one.created_at:%H:%M} UTC"
