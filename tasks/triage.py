"""Triage at work: places alerts, reports and changes in incidents inside one writing transaction."""

from dataclasses import replace
from datetime import datetime

from quell.config.config import Config
from quell.incidents.alert import Alert, AlertOutcome, AlertStatus, alert_id
from quell.incidents.change import Change
from quell.incidents.incident import (
    ACTIVE_STATES,
    Incident,
    IncidentId,
    IncidentState,
    Severity,
    move_incident,
    remember_keywords,
)
from quell.incidents.labels import ALERTNAME, SERVICE, SEVERITY, fingerprint
from quell.incidents.report import Report
from quell.incidents.timeline import Event, event_of
from quell.ports import Transaction
from quell.triage.impact import title_of
from quell.triage.placement import (
    REOPENABLE,
    Placement,
    place_alert,
    place_report,
    reports_that_count,
)
from quell.triage.relation import service_of
from tasks.assessment import BY, Assessment, Case

REPORTS_ALERT = "UserReports"
MUTED_AND_FIRING = {"outcome": AlertOutcome.MUTED, "status": AlertStatus.FIRING}


class Triage:
    """One sitting: reads the active and lately resolved incidents once, writes what it decides."""

    def __init__(self, tx: Transaction, config: Config, now: datetime) -> None:
        self._tx = tx
        self._config = config
        self._now = now
        self._assessment = Assessment(tx, config, now)
        self._touched: dict[IncidentId, None] = {}
        lately = now - config.grouping.reopen
        active = tx.incidents.find({"state": tuple(ACTIVE_STATES)})
        ended = tx.incidents.find({"state": tuple(REOPENABLE)}, after=("updated_at", lately))
        self._cases = {incident.id: Case(incident=incident) for incident in (*active, *ended)}
        if self._cases:
            for alert in tx.alerts.find({"incident": tuple(self._cases)}):
                self._cases[IncidentId(alert.incident or "")].alerts[alert.id] = alert

    # ---- what came in -------------------------------------------------------------------------------------------

    def take_alert(self, alert: Alert) -> None:
        """Place a new episode, or record what is new about a known one; its outcome changes only from muted."""
        known = self._tx.alerts.get(alert.id)
        if known is None or known.outcome is None:
            self._place(alert)
            return
        self._tx.alerts.put(alert)
        case = self._cases.get(IncidentId(alert.incident or ""))
        if case is None:
            return
        case.alerts[alert.id] = alert
        if known.status is not alert.status:
            self._assessment.say(
                case, "alert resolved", f"{_called(alert)} is resolved", subject=alert.id, by=alert.source
            )
        if known.annotations != alert.annotations or known.status is not alert.status:
            self._touch(case)

    def release_muted(self) -> None:
        """Place what was muted and still fires, now that its maintenance is over."""
        for alert in self._tx.alerts.find(MUTED_AND_FIRING, order="starts_at"):
            self._place(alert)

    def take_change(self, change: Change) -> None:
        """Keep a change; incidents that it may have caused are looked at again."""
        if self._tx.changes.get(change.id) is not None:
            return
        self._tx.changes.put(change)
        for case in self._active():
            if self._assessment.link([change], case):
                self._touch(case)

    def take_report(self, report: Report) -> None:
        """Join a report to an incident, or let it wait; enough waiting reports are as good as an alert."""
        if self._tx.reports.get(report.id) is not None:
            return
        if not self._join_report(report):
            self._tx.reports.put(report)
            self._count_reports(report)

    def finish(self) -> list[str]:
        """Rank suspects, link changes, name and move every incident that was touched; returns their ids."""
        for incident_id in tuple(self._touched):
            self._refresh(self._cases[incident_id])
        return list(self._touched)

    # ---- alerts -------------------------------------------------------------------------------------------------

    def _place(self, alert: Alert) -> None:
        grouping = self._config.grouping
        placement = place_alert(
            alert,
            active=[case.candidate for case in self._active()],
            ended=[case.candidate for case in self._cases.values() if not case.incident.is_active],
            catalog=self._config.catalog,
            window=grouping.window,
            reopen=grouping.reopen,
            now=self._now,
            maintenance=self._config.maintenance,
        )
        if alert.outcome is AlertOutcome.MUTED and placement.outcome is AlertOutcome.MUTED:
            return
        if placement.outcome is AlertOutcome.OPENED:
            case = self._open(alert, placement.reason)
        else:
            case = self._cases[placement.incident] if placement.incident else None
        decided = replace(
            alert,
            outcome=placement.outcome,
            outcome_reason=placement.reason,
            incident=case.incident.id if case else None,
        )
        self._tx.alerts.put(decided)
        if case is None:
            text = f"{_called(alert)} opens nothing: {placement.reason}"
            kind = f"alert {placement.outcome}"
            event = Event(incident=None, at=self._now, kind=kind, by=BY, text=text, subject=alert.id)
            self._tx.timeline.append(event)
            return
        case.alerts[decided.id] = decided
        self._settle(case, decided, placement)

    def _settle(self, case: Case, alert: Alert, placement: Placement) -> None:
        if placement.reopens:
            self._reopen(case, placement.reason)
        case.incident = remember_keywords(case.incident, alert.labels)
        if alert.outcome is not AlertOutcome.OPENED:
            kind = f"alert {alert.outcome}"
            self._assessment.say(case, kind, f"{_called(alert)}: {placement.reason}", subject=alert.id)
        if alert.outcome is not AlertOutcome.DUPLICATE:
            self._touch(case)

    def _open(self, alert: Alert, reason: str) -> Case:
        catalog = self._config.catalog
        incident = Incident(
            id=IncidentId(f"INC-{self._tx.next_number('INC')}"),
            state=IncidentState.OPEN,
            severity=Severity.MINOR,
            title=title_of(self._assessment.effect(alert), catalog),
            service=service_of(alert, catalog),
            onset_at=alert.starts_at,
            opened_at=self._now,
            updated_at=self._now,
            opened_because=f"{_called(alert)}: {reason}",
            opened_by=alert.source,
        )
        case = self._cases[incident.id] = Case(incident=incident)
        self._assessment.say(case, "incident opened", incident.opened_because, subject=incident.id, by=alert.source)
        return case

    def _reopen(self, case: Case, reason: str) -> None:
        case.incident, move = move_incident(case.incident, IncidentState.OPEN, now=self._now, by=BY, why=reason)
        self._tx.timeline.append(event_of(move))

    # ---- reports ------------------------------------------------------------------------------------------------

    def _join_report(self, report: Report) -> bool:
        placement = place_report(
            report,
            active=[case.candidate for case in self._active()],
            catalog=self._config.catalog,
            window=self._config.grouping.window,
            now=self._now,
        )
        if placement.incident is None:
            return False
        case = self._cases[placement.incident]
        self._tx.reports.put(replace(report, incident=placement.incident))
        who = report.reporter or "a user"
        self._assessment.say(case, "report joined", f"{who}: “{report.text}” ({placement.reason})", subject=report.id)
        self._touch(case)
        return True

    def _count_reports(self, report: Report) -> None:
        if report.service is None:
            return
        waiting = self._tx.reports.find({"service": report.service, "incident": None})
        counted = reports_that_count(
            waiting,
            service=report.service,
            catalog=self._config.catalog,
            window=self._config.grouping.window,
            now=self._now,
        )
        if counted:
            self._place(_alert_of_reports(report.service, counted, self._now))

    def _join_waiting_reports(self) -> None:
        since = self._now - self._config.grouping.window
        for report in self._tx.reports.find({"incident": None}, after=("at", since)):
            self._join_report(report)

    # ---- the incident as a whole --------------------------------------------------------------------------------

    def _refresh(self, case: Case) -> None:
        if case.incident.state is IncidentState.OPEN:
            self._join_waiting_reports()
        self._assessment.assess(case)
        if case.incident.state is IncidentState.OPEN:
            best = case.incident.suspects[0] if case.incident.suspects else None
            why = f"first suspect {best.node}, score {best.score:.2f}" if best else "nothing stands out: look yourself"
            case.incident, move = move_incident(case.incident, IncidentState.TRIAGED, now=self._now, by=BY, why=why)
            self._tx.timeline.append(event_of(move))
        self._tx.incidents.put(replace(case.incident, updated_at=self._now))

    def _active(self) -> list[Case]:
        return [case for case in self._cases.values() if case.incident.is_active]

    def _touch(self, case: Case) -> None:
        self._touched[case.incident.id] = None


def _called(alert: Alert) -> str:
    """How people speak of an alert: its name and what it is about."""
    about = alert.instance or alert.labels.get("client") or alert.service
    signal = alert.labels.get("signal")
    name = f"{alert.name} {signal}" if signal else alert.name
    return f"{name} of {about}" if about else name


def _alert_of_reports(service: str, reports: tuple[Report, ...], now: datetime) -> Alert:
    labels = {ALERTNAME: REPORTS_ALERT, SERVICE: service, SEVERITY: "major"}
    mark, starts_at = fingerprint(labels), reports[0].at
    return Alert(
        id=alert_id(mark, starts_at),
        fingerprint=mark,
        status=AlertStatus.FIRING,
        labels=labels,
        annotations={"summary": f"{len(reports)} users report trouble: “{reports[0].text}”"},
        starts_at=starts_at,
        source="report",
        received_at=now,
        updated_at=now,
    )
