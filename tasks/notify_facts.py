"""What a notification has to say, gathered from the record; `quell.triage.notification` writes it."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from quell.incidents.alert import Alert, AlertOutcome
from quell.incidents.errors import NotFound
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import Incident
from quell.incidents.mitigation import Mitigation, MitigationState
from quell.incidents.notification import Notification, NotificationKind
from quell.ports import Transaction
from quell.prevention.reminder import guard_subject, is_still_open
from quell.triage.impact import users_behind
from quell.triage.notification import Message, Situation, missing_from, write_message, write_short
from quell.triage.notification_cause import OWN_ALERTS
from quell.triage.notification_link import fill_links, link_values
from quell.triage.relation import service_of
from tasks.guard_standing import standings_of
from tasks.question import question_about, standing_of
from tasks.resources import Resources
from tasks.runs import run_url

_ALERTS_READ = 200  # the first ones; ten thousand would say no more
_OWN_RUNBOOK = "docs/runbooks/sweeps.md"


def opening_alert(tx: Transaction, incident: str) -> Alert | None:
    """The alert that the incident was opened for."""
    found = tx.alerts.find({"incident": incident, "outcome": AlertOutcome.OPENED}, order="starts_at", limit=1)
    return found[0] if found else None


def team_of(res: Resources, service: str) -> str:
    known = res.config.catalog.service(service)
    return known.team if known else ""


def describe(tx: Transaction, res: Resources, notification: Notification, now: datetime) -> tuple[Message, str]:
    """The message as it reads now, and what it lacks to be acted on."""
    incident = tx.incidents.get(notification.incident) if notification.incident else None
    if incident is None:
        page = "/thresholds" if notification.subject.startswith("THR") else ""
        links = [("Open", f"{res.config.gateway_url}{page}")]
        return write_short(notification.kind, notification.subject, cause=notification.cause, links=links), ""
    if notification.kind is NotificationKind.REVIEW:
        links = [("Post-mortem", f"{res.config.gateway_url}/incidents/{incident.id}/postmortem")]
        return write_short(notification.kind, incident.id, cause=notification.cause, links=links), ""
    situation = situation_of(tx, res, incident, now)
    return write_message(notification.kind, situation, cause=notification.cause, now=now), missing_from(situation)


def is_still_asked(tx: Transaction, res: Resources, notification: Notification) -> bool:
    """Whether what it asks for still waits for an answer."""
    if notification.kind is NotificationKind.REVIEW:
        return _still_waits(tx, notification)
    if notification.kind not in (NotificationKind.APPROVAL, NotificationKind.ESCALATION):
        return True
    try:
        return question_about(res, tx, notification.subject).is_open
    except NotFound:
        return False


def _still_waits(tx: Transaction, notification: Notification) -> bool:
    review = tx.reviews.get(notification.incident or "")
    if review is None:
        return False
    if notification.subject == guard_subject(review.id):
        return review.guard_waiver is None and not standings_of(tx, [review.id])[review.id].is_accepted
    return is_still_open(review, notification.subject)


def situation_of(tx: Transaction, res: Resources, incident: Incident, now: datetime) -> Situation:
    """Everything that somebody who is woken by it wants to know."""
    alerts = tx.alerts.find({"incident": incident.id}, order="starts_at", limit=_ALERTS_READ)
    mitigations = tx.mitigations.find({"incident": incident.id})
    fixes = tx.fixes.find({"incident": incident.id})
    service = res.config.catalog.service(incident.service)
    reports = tx.reports.count({"incident": incident.id})
    return Situation(
        incident=incident,
        users=_users(res, alerts, reports),
        reach=users_behind(incident.service, res.config.catalog) or "",
        did=tuple(_did(mitigations, fixes)),
        proposes=tuple(_proposals(tx, res, mitigations, fixes)),
        runbook=_runbook(res, incident, alerts, mitigations),
        owner=service.owner if service else "",
        team=service.team if service else "",
        alerts=tx.alerts.count({"incident": incident.id}),
        reports=reports,
        links=tuple(_links(res, incident, alerts, mitigations, now)),
    )


def _users(res: Resources, alerts: Sequence[Alert], reports: int) -> str:
    """How users are seen to suffer: an alert of what they call, or their own reports."""
    catalog = res.config.catalog
    seen: list[str] = []
    for alert in alerts:
        service = catalog.service(service_of(alert, catalog))
        if service is not None and service.is_user_facing and alert.source != "report":
            seen.append(f"{service.name}, which users call: {alert.annotations.get('summary') or alert.name}")
            break
    if reports:
        seen.append(f"{reports} users report it" if reports > 1 else "a user reports it")
    return "; ".join(seen)


def _did(mitigations: Iterable[Mitigation], fixes: Iterable[Fix]) -> Iterable[str]:
    for each in mitigations:
        if each.applied_at is not None:
            yield f"{_called(each)} is {each.state.replace('_', ' ')}."
    for fix in fixes:
        if fix.state in (FixState.CANARY, FixState.PROMOTED):
            where = "on a canary" if fix.state is FixState.CANARY else "in force"
            yield f"{fix.id}, {fix.deed} in {fix.file}, is {where}."


def _proposals(
    tx: Transaction, res: Resources, mitigations: Iterable[Mitigation], fixes: Iterable[Fix]
) -> Iterable[str]:
    for each in mitigations:
        if each.state is MitigationState.AWAITING_APPROVAL:
            until = f" until {each.approval_deadline:%H:%M:%S} UTC" if each.approval_deadline else ""
            share = f"{each.plan.blast_radius.capacity_share:.0%} of {each.service}"
            standing = f" ({text})" if (text := standing_of(tx, question_about(res, tx, each.id))) else ""
            yield f"{_called(each)} takes {share} and waits for approval{until}{standing}: quell approve {each.id}."
        elif each.state is MitigationState.PLANNED:
            yield f"{_called(each)} is planned."
    for fix in fixes:
        if question_about(res, tx, fix.id).is_open:
            yield f"{fix.id} ({fix.deed} in {fix.file}) waits for approval: quell approve {fix.id}."
        elif fix.state in (FixState.PROPOSED, FixState.VALIDATED):
            yield f"{fix.id} ({fix.deed} in {fix.file}) is being prepared."


def _called(mitigation: Mitigation) -> str:
    return f"{mitigation.id} ({mitigation.playbook} on {mitigation.target})"


def _runbook(res: Resources, incident: Incident, alerts: Sequence[Alert], mitigations: Sequence[Mitigation]) -> str:
    """The alert's own, else the playbook's, else the service's."""
    for alert in alerts:
        if address := alert.annotations.get("runbook_url") or alert.annotations.get("runbook"):
            return address
        if alert.name in OWN_ALERTS:
            return _OWN_RUNBOOK
    for mitigation in reversed(mitigations):
        playbook = res.config.playbooks.get(mitigation.playbook)
        if playbook is not None:
            return playbook.runbook or f"playbook {playbook.name}"
    service = res.config.catalog.service(incident.service)
    return service.runbook if service else ""


def _links(
    res: Resources, incident: Incident, alerts: Sequence[Alert], mitigations: Sequence[Mitigation], now: datetime
) -> Iterable[tuple[str, str]]:
    yield "Incident", f"{res.config.gateway_url}/incidents/{incident.id}"
    runs = [each.flow_run for each in mitigations if each.flow_run]
    runs += [run for run in incident.flow_runs.values() if "-" in run]  # an id; "in process" is none
    if runs:
        yield "Prefect run", run_url(runs[-1])
    service = res.config.catalog.service(incident.service)
    values = link_values(
        incident, instance=_instance(res, incident, alerts), team=service.team if service else "", now=now
    )
    yield from fill_links({**res.config.notifying.links, **(service.links if service else {})}, values)


def _instance(res: Resources, incident: Incident, alerts: Sequence[Alert]) -> str | None:
    suspects = [suspect.node for suspect in incident.suspects if res.config.catalog.instance(suspect.node)]
    return next(iter([*suspects, *(alert.instance for alert in alerts if alert.instance)]), None)
