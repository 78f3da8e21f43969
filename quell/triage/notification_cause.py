"""Causes: which entries of the timeline call for a notification, and under which key it is sent once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from quell.incidents.incident import Incident
from quell.incidents.notification import MITIGATION_KINDS, NotificationKind
from quell.incidents.timeline import NO_INCIDENT, TimelineEntry

# Alerts that Quell raises about its own watching.
OWN_ALERTS = frozenset({"SweepsStopped", "SweepFailing"})
_KIND_OF_ENTRY: Mapping[str, NotificationKind] = {
    "incident opened": NotificationKind.OPENED,
    "incident open": NotificationKind.REOPENED,
    "severity": NotificationKind.SEVERITY,
    "mitigation awaiting approval": NotificationKind.APPROVAL,
    "page": NotificationKind.PAGE,
    "fix validated": NotificationKind.APPROVAL,
    "threshold proposed": NotificationKind.APPROVAL,
    "approval escalated": NotificationKind.ESCALATION,
    "mitigation undo failed": NotificationKind.UNDO_FAILED,
    **{f"mitigation {kind}": kind for kind in MITIGATION_KINDS},
    "incident resolved": NotificationKind.RESOLVED,
    "incident dismissed": NotificationKind.RESOLVED,
    "review asked": NotificationKind.REVIEW,
    "review assigned": NotificationKind.REVIEW,
    "review reminder": NotificationKind.REVIEW,
}
_WAITS = frozenset({NotificationKind.OPENED, NotificationKind.REOPENED, NotificationKind.SEVERITY})
# What may make an incident actionable that was not: somebody or something now says what to do.
REVEALING = frozenset({"suspects ranked", "plan", "change linked", "report joined", "severity", "alert joined"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """`detail` tells two causes of one kind apart; `wait` is how long more may become known first."""

    kind: NotificationKind
    subject: str
    incident: str | None
    detail: str
    text: str
    wait: timedelta

    def key(self, receiver: str) -> str:
        """The id under which one receiver hears of this once, however often it is derived."""
        return f"{receiver}/{self.kind}/{self.subject}/{self.detail}"


def cause_of(entry: TimelineEntry, *, incident: Incident | None, alertname: str, wait: timedelta) -> Cause | None:
    """What the entry calls for, None where nothing. `alertname` is the alert that opened the incident."""
    kind = _KIND_OF_ENTRY.get(entry.kind)
    if kind is None:
        return None
    if kind is NotificationKind.OPENED and alertname in OWN_ALERTS:
        kind = NotificationKind.SWEEPS_STOPPED
    if kind is NotificationKind.SEVERITY and incident is not None and entry.at <= incident.opened_at:
        return None  # the opening says it
    subject = entry.subject or entry.incident
    return Cause(
        kind=kind,
        subject=subject,
        incident=None if entry.incident == NO_INCIDENT else entry.incident,
        detail=_detail(kind, entry, incident),
        text=f"{subject} is {kind}: {entry.text}" if kind in MITIGATION_KINDS else entry.text,
        wait=wait if kind in _WAITS else timedelta(0),
    )


def _detail(kind: NotificationKind, entry: TimelineEntry, incident: Incident | None) -> str:
    """An opening happens once in each life of an incident; everything else once for each entry that says it."""
    if kind in (NotificationKind.OPENED, NotificationKind.SWEEPS_STOPPED) or incident is None:
        return "1" if incident else str(entry.id)
    return str(entry.number)


def routing_labels(
    incident: Incident | None, kind: NotificationKind, *, team: str, alertname: str = ""
) -> Mapping[str, str]:
    """What matchers of routes see."""
    if incident is None:
        return {"kind": kind, "team": team}
    return {
        "kind": kind,
        "team": team,
        "service": incident.service,
        "severity": incident.severity,
        "incident": incident.id,
        "alertname": alertname,
    }
