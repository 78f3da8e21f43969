"""Placement: which incident an alert or a report belongs to, and why, in one sentence.

The order in which the rules are asked: muting; the same alert held already; a related active incident; the end of an
incident that this alert belonged to (reopening); flapping; the opening threshold; opening.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.incidents.alert import Alert, AlertOutcome, AlertStatus
from quell.incidents.incident import Incident, IncidentId, IncidentState
from quell.incidents.report import Report
from quell.incidents.service import Catalog
from quell.triage.flapping import flaps
from quell.triage.kinship import Kinship
from quell.triage.muting import Mute
from quell.triage.relation import UNKNOWN_SERVICE, Relation, relate
from quell.triage.rules import OpenAfter, Rules

# While somebody works on an incident it stays open to new alerts: isolation silences the alerts it began with.
IN_WORK = frozenset({IncidentState.MITIGATING, IncidentState.CONTAINED, IncidentState.RESOLVING})
REOPENABLE = frozenset({IncidentState.RESOLVED, IncidentState.REVIEWED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An incident at whose footprints the alert was seen: how they are related, and whether it is the same trouble."""

    incident: Incident
    link: Relation | None = None
    is_alike: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What triage does with one alert. `incident` is None when it opens one, waits or is muted."""

    outcome: AlertOutcome
    reason: str
    rule: str = ""
    rule_at: str = ""
    incident: IncidentId | None = None
    reopens: bool = False
    is_flapping: bool = False
    due_at: datetime | None = None
    held_by: str | None = None


def place_alert(
    alert: Alert,
    *,
    candidates: Sequence[Candidate],
    episodes: Sequence[Alert],
    waiting: Sequence[Alert],
    kinship: Kinship,
    rules: Rules,
    window: timedelta,
    reopen: timedelta,
    now: datetime,
    mute: Mute | None = None,
) -> Placement:
    """Decide on an episode. `episodes` are others of the same fingerprint, `waiting` those without an incident yet.

    What is muted is held back only while it fires; what is resolved always passes.
    """
    if mute is not None and alert.status is AlertStatus.FIRING:
        return _muted(mute)
    flapping = flaps(alert, episodes, rules.flapping)
    return (
        _as_duplicate(alert, episodes, candidates)
        or _as_joined(alert, candidates, window, now, flapping)
        or _as_over(alert)
        or _as_reopening(alert, candidates, kinship, reopen, flapping)
        or _as_flapping(alert, rules, now, flapping)
        or _as_waiting(alert, waiting, kinship, rules, now)
        or _as_opened(alert, kinship, window)
    )


def _muted(mute: Mute) -> Placement:
    return Placement(
        outcome=AlertOutcome.MUTED,
        reason=mute.reason,
        rule=mute.rule,
        rule_at=mute.rule_at,
        due_at=mute.until,
        held_by=mute.held_by,
    )


def is_near(incident: Incident, start: datetime, end: datetime, window: timedelta, now: datetime) -> bool:
    """Whether a time touches the incident's own, or lies at most `window` beside it."""
    first, last = hull(incident, now)
    return first - window <= end and start <= last + window


def hull(incident: Incident, now: datetime) -> tuple[datetime, datetime]:
    """From the first evidence to the last; an incident that fires, or that somebody works on, lasts until now."""
    tally = incident.tally
    if tally is None or tally.firing or incident.state in IN_WORK:
        return incident.onset_at, max(now, incident.onset_at)
    return incident.onset_at, max(tally.last_end_at or incident.opened_at, incident.opened_at)


def _as_duplicate(alert: Alert, episodes: Sequence[Alert], candidates: Sequence[Candidate]) -> Placement | None:
    """The same label set overlapping an episode we hold: a second sender, or a restarted one."""
    active = {candidate.incident.id for candidate in candidates if candidate.incident.is_active}
    for known in episodes:
        if known.incident in active and known.id != alert.id and _overlap(known, alert):
            return Placement(
                outcome=AlertOutcome.DUPLICATE,
                incident=IncidentId(known.incident or ""),
                rule="duplicate",
                reason=f"the same alert, begun {_clock(known.starts_at)}, is already in {known.incident}",
            )
    return None


def _overlap(one: Alert, other: Alert) -> bool:
    first, second = sorted((one, other), key=lambda alert: alert.starts_at)
    return first.ends_at is None or first.ends_at > second.starts_at


def _as_joined(
    alert: Alert, candidates: Sequence[Candidate], window: timedelta, now: datetime, flapping: str
) -> Placement | None:
    """The nearest related incident: same alert or instance, then same service, then the fewest calls away."""
    end = alert.ends_at or max(now, alert.starts_at)
    found = [
        (candidate.link.hops, candidate.incident.onset_at, candidate.incident.id, candidate.link)
        for candidate in candidates
        if candidate.link is not None
        and candidate.incident.is_active
        and is_near(candidate.incident, alert.starts_at, end, window, now)
    ]
    if not found:
        return None
    _, _, chosen, link = min(found, key=lambda entry: entry[:3])
    why = f"{link.words}, within {span(window)} of {chosen}"
    return Placement(
        outcome=AlertOutcome.JOINED,
        incident=chosen,
        reason=f"{why}; {flapping}, so it is told once" if flapping else why,
        rule="flapping" if flapping else link.rule,
        is_flapping=bool(flapping),
    )


def _as_over(alert: Alert) -> Placement | None:
    if alert.status is AlertStatus.FIRING or alert.heard_firing:
        return None
    return Placement(
        outcome=AlertOutcome.WAITING,
        rule="over before it was heard of",
        reason="it was resolved before it was heard of, and no active incident is related: nothing to open",
    )


def _as_reopening(
    alert: Alert, candidates: Sequence[Candidate], kinship: Kinship, reopen: timedelta, flapping: str
) -> Placement | None:
    """The trouble came back: same service, and the same alert or signal, soon after the incident was resolved."""
    ended = [c.incident for c in candidates if c.is_alike and c.incident.state in REOPENABLE and c.incident.resolved_at]
    for incident in sorted(ended, key=lambda i: i.resolved_at or i.updated_at, reverse=True):
        if flapping or alert.starts_at > (incident.resolved_at or incident.updated_at) + reopen:
            continue
        what = f"{alert.name} of {kinship.service_of(alert)}"
        return Placement(
            outcome=AlertOutcome.JOINED,
            incident=incident.id,
            reopens=True,
            rule="reopen window",
            reason=f"{what} is back within {span(reopen)} of the end of {incident.id}",
        )
    return None


def _as_flapping(alert: Alert, rules: Rules, now: datetime, flapping: str) -> Placement | None:
    """Nothing is opened or reopened for it, unless it holds still: then it is trouble like any other."""
    due = alert.starts_at + rules.flapping.within
    if not flapping or alert.status is not AlertStatus.FIRING or now >= due:
        return None
    return Placement(
        outcome=AlertOutcome.WAITING,
        rule="flapping",
        rule_at=rules.flapping.where,
        is_flapping=True,
        due_at=due,
        reason=f"{flapping}; placed at {_clock(due)} if it still fires then",
    )


def _as_waiting(
    alert: Alert, waiting: Sequence[Alert], kinship: Kinship, rules: Rules, now: datetime
) -> Placement | None:
    """The opening threshold: so many different alerts that are related, or one that lasts."""
    rule = rules.threshold_of(kinship.labels_of(alert))
    if rule is None:
        return None
    lasted = (alert.ends_at or now) - alert.starts_at
    seen = {alert.fingerprint} | {
        other.fingerprint for other in waiting if is_counted_with(alert, other, rule, kinship, rules)
    }
    if lasted >= rule.lasting or len(seen) >= rule.count > 1:
        return None
    name = f'opening threshold "{rule.name}"'
    if alert.status is not AlertStatus.FIRING:
        reason = f"{name}: it was over after {span(lasted)}, before {span(rule.lasting)}"
        return Placement(outcome=AlertOutcome.WAITING, rule=name, rule_at=rule.where, reason=reason)
    due = alert.starts_at + rule.lasting
    several = f"{len(seen)} of {rule.count} alerts within {span(rule.within)}; " if rule.count > 1 else ""
    return Placement(
        outcome=AlertOutcome.WAITING,
        rule=name,
        rule_at=rule.where,
        reason=f"{name}: {several}opens at {_clock(due)} if it still fires then",
        due_at=due,
    )


def is_counted_with(alert: Alert, other: Alert, rule: OpenAfter, kinship: Kinship, rules: Rules) -> bool:
    """Whether two alerts count together towards the threshold."""
    return (
        abs(alert.starts_at - other.starts_at) <= rule.within
        and (other.status is AlertStatus.FIRING or other.heard_firing)
        and rules.threshold_of(kinship.labels_of(other)) == rule
        and kinship.relation(alert, other) is not None
    )


def _as_opened(alert: Alert, kinship: Kinship, window: timedelta) -> Placement:
    service = kinship.service_of(alert)
    if service == UNKNOWN_SERVICE:
        reason = "it names no service or instance of the catalog, so it is related to no active incident"
    else:
        reason = f"no active incident of {service} or of a service related to it within {span(window)}"
    if alert.status is not AlertStatus.FIRING:
        reason += "; it fired, and was over when triage came to it"
    return Placement(outcome=AlertOutcome.OPENED, rule="opens", reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPlacement:
    """`incident` is None while the report waits."""

    reason: str
    incident: IncidentId | None = None


def place_report(
    report: Report, *, active: Sequence[Incident], catalog: Catalog, window: timedelta, now: datetime
) -> ReportPlacement:
    """Join a report to the nearest related incident; one without a service joins if there is exactly one incident."""
    near = [incident for incident in active if is_near(incident, report.at, report.at, window, now)]
    if report.service is None:
        if len(near) == 1:
            return ReportPlacement(incident=near[0].id, reason="it names no service; only one incident is active")
        return ReportPlacement(reason=f"it names no service, and {len(near) or 'no'} incidents are active")
    found: list[tuple[int, datetime, str, str]] = []
    for incident in near:
        for other in dict.fromkeys((incident.service, *(incident.tally.services if incident.tally else ()))):
            link = relate(report.service, other, catalog)
            if link:
                found.append((link.hops, incident.onset_at, incident.id, link.words))
    if not found:
        return ReportPlacement(reason=f"no active incident of {report.service} or of a service related to it")
    _, _, chosen, words = min(found)
    return ReportPlacement(incident=IncidentId(chosen), reason=words)


def span(length: timedelta) -> str:
    """
    >>> span(timedelta(minutes=10)), span(timedelta(seconds=45))
    ('10 min', '45 s')
    """
    seconds = length.total_seconds()
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S} UTC"
