"""Triage at work: places alerts, reports and changes in incidents inside one writing transaction."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from quell.config.config import Config
from quell.incidents.alert import Alert, AlertId, AlertOutcome, AlertStatus, alert_id
from quell.incidents.change import Change
from quell.incidents.incident import (
    ACTIVE_STATES,
    Incident,
    IncidentId,
    IncidentState,
    Severity,
    move_incident,
)
from quell.incidents.labels import ALERTNAME, SERVICE, SEVERITY, fingerprint
from quell.incidents.report import Report
from quell.incidents.timeline import Event, event_of
from quell.ports import Transaction
from quell.triage.effect import Effect, effect_of
from quell.triage.impact import judge_impact, title_of
from quell.triage.linking import link_changes
from quell.triage.placement import (
    REOPENABLE,
    Candidate,
    Placement,
    place_alert,
    place_report,
    reports_that_count,
)
from quell.triage.relation import service_of
from quell.triage.suspects import describe_change, rank_suspects

BY = "quell"
REPORTS_ALERT = "UserReports"
# What may still be renamed: once somebody acts on an incident its title and service stay.
_NAMING = frozenset({IncidentState.OPEN, IncidentState.TRIAGED})


@dataclass(kw_only=True)
class Case:
    """An incident with its alerts while triage works on it."""

    incident: Incident
    alerts: dict[AlertId, Alert] = field(default_factory=dict[AlertId, Alert])

    @property
    def candidate(self) -> Candidate:
        alerts = sorted(self.alerts.values(), key=lambda alert: (alert.starts_at, alert.id))
        return Candidate(incident=self.incident, alerts=tuple(alerts))


class Triage:
    """One sitting: reads the active and lately resolved incidents once, writes what it decides."""

    def __init__(self, tx: Transaction, config: Config, now: datetime) -> None:
        self._tx = tx
        self._config = config
        self._now = now
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
        """Place a new episode, or record what is new about a known one; its outcome never changes."""
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
            self._say(case, "alert resolved", f"{_called(alert)} is resolved", subject=alert.id, by=alert.source)
        if known.annotations != alert.annotations or known.status is not alert.status:
            self._touch(case)

    def take_change(self, change: Change) -> None:
        """Keep a change; incidents that it may have caused are looked at again."""
        if self._tx.changes.get(change.id) is not None:
            return
        self._tx.changes.put(change)
        for case in self._active():
            if self._link([change], case):
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
        )
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
            event = Event(incident=None, at=self._now, kind="alert waiting", by=BY, text=text, subject=alert.id)
            self._tx.timeline.append(event)
            return
        case.alerts[decided.id] = decided
        self._settle(case, decided, placement)

    def _settle(self, case: Case, alert: Alert, placement: Placement) -> None:
        if placement.reopens:
            self._reopen(case, placement.reason)
        if alert.outcome is not AlertOutcome.OPENED:
            kind = f"alert {alert.outcome}"
            self._say(case, kind, f"{_called(alert)}: {placement.reason}", subject=alert.id)
        if alert.outcome is not AlertOutcome.DUPLICATE:
            self._touch(case)

    def _open(self, alert: Alert, reason: str) -> Case:
        catalog = self._config.catalog
        incident = Incident(
            id=IncidentId(f"INC-{self._tx.next_number('INC')}"),
            state=IncidentState.OPEN,
            severity=Severity.MINOR,
            title=title_of(self._effect(alert), catalog),
            service=service_of(alert, catalog),
            onset_at=alert.starts_at,
            opened_at=self._now,
            updated_at=self._now,
            opened_because=f"{_called(alert)}: {reason}",
            opened_by=alert.source,
        )
        case = self._cases[incident.id] = Case(incident=incident)
        self._say(case, "incident opened", incident.opened_because, subject=incident.id, by=alert.source)
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
        self._say(case, "report joined", f"{who}: “{report.text}” ({placement.reason})", subject=report.id)
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
        self._judge(case)
        if case.incident.state is IncidentState.OPEN:
            best = case.incident.suspects[0] if case.incident.suspects else None
            why = (
                f"first suspect {best.node}: {best.reason}" if best else "nothing stands out yet: a person has to look"
            )
            case.incident, move = move_incident(case.incident, IncidentState.TRIAGED, now=self._now, by=BY, why=why)
            self._tx.timeline.append(event_of(move))
        self._tx.incidents.put(replace(case.incident, updated_at=self._now))

    def _judge(self, case: Case) -> None:
        """Onset, severity, changes, suspects and name, from everything that is now known."""
        alerts = [alert for alert in case.alerts.values() if alert.outcome is not AlertOutcome.DUPLICATE]
        effects = [self._effect(alert) for alert in alerts]
        before = case.incident
        onset = min([before.onset_at, *(alert.starts_at for alert in alerts)])
        case.incident = replace(before, onset_at=onset)
        changes = self._linked_changes(case)
        suspects = rank_suspects(effects, changes, self._config.catalog)
        reports = self._tx.reports.count({"incident": before.id})
        impact = judge_impact(alerts, effects, reports, self._config.catalog)
        is_worse = impact.severity.rank < before.severity.rank
        case.incident = replace(
            case.incident,
            severity=impact.severity if is_worse else before.severity,
            changes=tuple(change.id for change in changes),
            suspects=suspects,
        )
        self._name(case, effects)
        self._say_what_is_new(case, before, changes)
        if is_worse:
            self._say(case, "severity", f"{impact.severity}: {impact.reason}")

    def _name(self, case: Case, effects: list[Effect]) -> None:
        if case.incident.state not in _NAMING or not case.incident.suspects:
            return
        best = case.incident.suspects[0].node
        own = [effect for effect in effects if effect.node == best]
        if own:
            main = max(own, key=lambda effect: (effect.value is not None, effect.strength, effect.metric))
            title = title_of(main, self._config.catalog)
            case.incident = replace(case.incident, title=title, service=main.service)

    def _say_what_is_new(self, case: Case, before: Incident, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.id not in before.changes:
                text = describe_change(change, case.incident.onset_at)
                self._say(case, "change linked", text, subject=change.id, by=change.author or BY)
        suspects = case.incident.suspects
        if suspects and (not before.suspects or _head(before) != _head(case.incident)):
            scores = {suspect.node: f"{suspect.score:.2f}" for suspect in suspects}
            text = f"first suspect {suspects[0].node}: {suspects[0].reason}"
            self._say(case, "suspects ranked", text, evidence=scores)

    def _linked_changes(self, case: Case) -> tuple[Change, ...]:
        window = self._config.grouping.change_window
        start = case.incident.onset_at - window - timedelta(minutes=1)
        return self._link(self._tx.changes.find(after=("at", start)), case)

    def _link(self, changes: Iterable[Change], case: Case) -> tuple[Change, ...]:
        catalog = self._config.catalog
        return link_changes(
            changes,
            onset_at=case.incident.onset_at,
            services=case.candidate.services(catalog),
            catalog=catalog,
            window=self._config.grouping.change_window,
        )

    def _effect(self, alert: Alert) -> Effect:
        return effect_of(alert, self._config.catalog, self._config.signals)

    def _active(self) -> list[Case]:
        return [case for case in self._cases.values() if case.incident.is_active]

    def _touch(self, case: Case) -> None:
        self._touched[case.incident.id] = None

    def _say(
        self,
        case: Case,
        kind: str,
        text: str,
        *,
        subject: str | None = None,
        by: str = BY,
        evidence: dict[str, str] | None = None,
    ) -> None:
        event = Event(
            incident=case.incident.id,
            at=self._now,
            kind=kind,
            by=by,
            text=text,
            subject=subject or case.incident.id,
            evidence=evidence or {},
        )
        self._tx.timeline.append(event)


def _called(alert: Alert) -> str:
    """How people speak of an alert: its name and what it is about."""
    about = alert.instance or alert.labels.get("client") or alert.service
    signal = alert.labels.get("signal")
    name = f"{alert.name} {signal}" if signal else alert.name
    return f"{name} of {about}" if about else name


def _head(incident: Incident) -> tuple[str, str | None]:
    return incident.suspects[0].node, incident.suspects[0].change


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
