"""Placement: which incident an alert or a report belongs to, and why, in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.incidents.alert import Alert, AlertOutcome, AlertStatus
from quell.incidents.incident import Incident, IncidentId, IncidentState
from quell.incidents.labels import SERVICE, SIGNAL
from quell.incidents.maintenance import Maintenance, find_maintenance
from quell.incidents.report import Report
from quell.incidents.service import Catalog
from quell.triage.relation import UNKNOWN_SERVICE, Relation, relate, service_of

# While somebody works on an incident it stays open to new alerts: isolation silences the alerts it began with.
IN_WORK = frozenset({IncidentState.MITIGATING, IncidentState.CONTAINED, IncidentState.RESOLVING})
REOPENABLE = frozenset({IncidentState.RESOLVED, IncidentState.REVIEWED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An incident that an alert may belong to, with the alerts already in it."""

    incident: Incident
    alerts: tuple[Alert, ...] = ()

    def services(self, catalog: Catalog) -> list[str]:
        """The incident's own service first, then those of its alerts."""
        return list(dict.fromkeys([self.incident.service, *(service_of(alert, catalog) for alert in self.alerts)]))

    def is_near(self, at: datetime, window: timedelta, now: datetime) -> bool:
        """Whether `at` lies in the incident's time, or at most `window` beside it."""
        ends = [
            now if alert.status is AlertStatus.FIRING else alert.ends_at or alert.updated_at for alert in self.alerts
        ]
        if self.incident.state in IN_WORK:
            ends.append(now)
        start = self.incident.onset_at
        return start - window <= at <= max([*ends, self.incident.opened_at]) + window


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What triage does with one alert. `incident` is None when it opens one or waits."""

    outcome: AlertOutcome
    reason: str
    incident: IncidentId | None = None
    reopens: bool = False


def place_alert(
    alert: Alert,
    *,
    active: Sequence[Candidate],
    ended: Sequence[Candidate],
    catalog: Catalog,
    window: timedelta,
    reopen: timedelta,
    now: datetime,
    maintenance: Sequence[Maintenance] = (),
) -> Placement:
    """Decide on an episode that triage has not seen before; `ended` are the lately resolved incidents.

    One that fires during planned maintenance is muted for now; what is resolved always passes.
    """
    return (
        mute_of(alert, maintenance, catalog, now)
        or _as_duplicate(alert, active)
        or _as_joined(alert, active, catalog, window, now)
        or _as_over(alert)
        or _as_reopening(alert, ended, catalog, reopen)
        or _as_opened(alert, catalog, window)
    )


def mute_of(alert: Alert, maintenance: Sequence[Maintenance], catalog: Catalog, now: datetime) -> Placement | None:
    """The outcome `muted` with its reason, None where no maintenance covers the alert now."""
    if alert.status is not AlertStatus.FIRING:
        return None
    found = find_maintenance(maintenance, {SERVICE: service_of(alert, catalog)} | dict(alert.labels), now=now)
    if found is None:
        return None
    planned, end = found
    why = f" ({planned.reason})" if planned.reason else ""
    return Placement(
        outcome=AlertOutcome.MUTED,
        reason=f'maintenance "{planned.name}"{why} until {end:%Y-%m-%d %H:%M} UTC; placed then if it still fires',
    )


def _as_duplicate(alert: Alert, active: Sequence[Candidate]) -> Placement | None:
    """The same label set overlapping an episode we hold: a second sender, or a restarted one."""
    for candidate in active:
        for known in candidate.alerts:
            if known.fingerprint == alert.fingerprint and known.id != alert.id and _overlap(known, alert):
                return Placement(
                    outcome=AlertOutcome.DUPLICATE,
                    incident=candidate.incident.id,
                    reason=f"the same alert, begun {_clock(known.starts_at)}, is already in {candidate.incident.id}",
                )
    return None


def _overlap(one: Alert, other: Alert) -> bool:
    first, second = sorted((one, other), key=lambda alert: alert.starts_at)
    return first.ends_at is None or first.ends_at > second.starts_at


def _as_joined(
    alert: Alert, active: Sequence[Candidate], catalog: Catalog, window: timedelta, now: datetime
) -> Placement | None:
    """The nearest related incident: same alert or instance, then same service, then the fewest calls away."""
    found: list[tuple[int, datetime, str, str]] = []
    for candidate in active:
        link = _link(alert, candidate, catalog)
        if link and candidate.is_near(alert.starts_at, window, now):
            found.append((link.hops, candidate.incident.onset_at, candidate.incident.id, link.words))
    if not found:
        return None
    _, _, chosen, words = min(found)
    return Placement(
        outcome=AlertOutcome.JOINED,
        incident=IncidentId(chosen),
        reason=f"{words}, within {_span(window)} of {chosen}",
    )


def _link(alert: Alert, candidate: Candidate, catalog: Catalog) -> Relation | None:
    if any(known.fingerprint == alert.fingerprint for known in candidate.alerts):
        return Relation(hops=-2, words="the same alert fires again")
    if alert.instance and any(known.instance == alert.instance for known in candidate.alerts):
        return Relation(hops=-1, words=f"same instance {alert.instance}")
    service = service_of(alert, catalog)
    links = [link for other in candidate.services(catalog) if (link := relate(service, other, catalog))]
    if not links and service == UNKNOWN_SERVICE and any(known.name == alert.name for known in candidate.alerts):
        return Relation(hops=9, words=f"no service named, but the same alert name {alert.name}")
    return min(links, key=lambda link: link.hops, default=None)


def _as_over(alert: Alert) -> Placement | None:
    if alert.status is AlertStatus.FIRING:
        return None
    return Placement(
        outcome=AlertOutcome.WAITING,
        reason="it was resolved before it was heard of, and no active incident is related: nothing to open",
    )


def _as_reopening(alert: Alert, ended: Sequence[Candidate], catalog: Catalog, reopen: timedelta) -> Placement | None:
    """The trouble came back: same service, and the same alert or signal, soon after the incident was resolved."""
    service = service_of(alert, catalog)
    for candidate in sorted(ended, key=lambda c: c.incident.resolved_at or c.incident.updated_at, reverse=True):
        incident = candidate.incident
        resolved_at = incident.resolved_at
        if incident.state not in REOPENABLE or resolved_at is None or alert.starts_at > resolved_at + reopen:
            continue
        is_alike = any(
            known.name == alert.name
            and known.labels.get(SIGNAL) == alert.labels.get(SIGNAL)  # the sweep's alerts all have one name
            and service_of(known, catalog) == service
            for known in candidate.alerts
        )
        if is_alike:
            return Placement(
                outcome=AlertOutcome.JOINED,
                incident=incident.id,
                reopens=True,
                reason=f"{alert.name} of {service} is back within {_span(reopen)} of the end of {incident.id}",
            )
    return None


def _as_opened(alert: Alert, catalog: Catalog, window: timedelta) -> Placement:
    service = service_of(alert, catalog)
    if service == UNKNOWN_SERVICE:
        reason = "it names no service or instance of the catalog, so it is related to no active incident"
    else:
        reason = f"no active incident of {service} or of a service related to it within {_span(window)}"
    return Placement(outcome=AlertOutcome.OPENED, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPlacement:
    """`incident` is None while the report waits."""

    reason: str
    incident: IncidentId | None = None


def place_report(
    report: Report, *, active: Sequence[Candidate], catalog: Catalog, window: timedelta, now: datetime
) -> ReportPlacement:
    """Join a report to the nearest related incident; one without a service joins if there is exactly one incident."""
    near = [candidate for candidate in active if candidate.is_near(report.at, window, now)]
    if report.service is None:
        if len(near) == 1:
            return ReportPlacement(
                incident=near[0].incident.id, reason="it names no service; only one incident is active"
            )
        return ReportPlacement(reason=f"it names no service, and {len(near) or 'no'} incidents are active")
    found: list[tuple[int, datetime, str, str]] = []
    for candidate in near:
        for other in candidate.services(catalog):
            link = relate(report.service, other, catalog)
            if link:
                found.append((link.hops, candidate.incident.onset_at, candidate.incident.id, link.words))
    if not found:
        return ReportPlacement(reason=f"no active incident of {report.service} or of a service related to it")
    _, _, chosen, words = min(found)
    return ReportPlacement(incident=IncidentId(chosen), reason=words)


def _span(span: timedelta) -> str:
    """
    >>> _span(timedelta(minutes=10)), _span(timedelta(seconds=45))
    ('10 min', '45 s')
    """
    seconds = span.total_seconds()
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S} UTC"
