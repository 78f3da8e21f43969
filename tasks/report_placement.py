"""Where users' reports belong: in an incident, or waiting until enough of them are as good as an alert."""

from datetime import datetime

from quell.config.config import Config
from quell.incidents.alert import Alert
from quell.incidents.report import Report
from quell.ports import Transaction
from quell.triage.kinship import SERVICE_KEY
from quell.triage.placement import place_report
from tasks.assessment import Assessment
from tasks.ground import Case, Ground
from tasks.report_desk import ReportDesk, alert_of


class ReportPlacement:
    """The reports of one sitting; what it returns are the cases that have a report more."""

    def __init__(self, tx: Transaction, config: Config, ground: Ground, assessment: Assessment, now: datetime) -> None:
        self._tx = tx
        self._config = config
        self._ground = ground
        self._assessment = assessment
        self._now = now
        self._desk = ReportDesk(tx, config, now)
        self._has_waiting = False

    def take(self, report: Report) -> list[Case]:
        """Join a new report to an incident, or keep it waiting."""
        if self._tx.reports.get(report.id) is not None:
            return []
        report = self._desk.read(report)
        joined, case = self._join(report)
        if not joined:
            self._tx.reports.put(report)
            self._has_waiting = True
        return [case] if case else []

    def join_waiting(self) -> list[Case]:
        """The reports that wait, tried once more."""
        tried = (self._join(report) for report in self._desk.waiting())
        return [case for _, case in tried if case is not None]

    def bursts(self) -> list[Alert]:
        """Bursts of the reports that wait, as alerts; one that was dealt with already is not raised again."""
        if not self._has_waiting:
            return []
        alerts = [alert_of(burst, self._now) for burst in self._desk.bursts()]
        return [alert for alert in alerts if self._is_new(alert)]

    def _is_new(self, alert: Alert) -> bool:
        known = self._tx.alerts.get(alert.id)
        return known is None or known.outcome is None

    def _join(self, report: Report) -> tuple[bool, Case | None]:
        """Whether it has its place, and the case that it is news for: a repetition is none."""
        if not self._desk.may_join(report):
            return False, None
        placement = place_report(
            report,
            active=[case.incident for case in self._active_for(report)],
            catalog=self._config.catalog,
            window=self._config.grouping.window,
            now=self._now,
        )
        case = self._ground.case(placement.incident) if placement.incident else None
        if case is None:
            return False, None
        if not self._desk.attach(report, case.incident.id):
            return True, None
        text = f"{report.reporter or 'a user'}: “{report.text}” ({placement.reason})"
        self._assessment.say(case, "report joined", text, subject=report.id)
        return True, case

    def _active_for(self, report: Report) -> list[Case]:
        if report.service is not None:
            return self._ground.active_at(self._ground.kinship.related(report.service))
        return self._ground.active_at(SERVICE_KEY + name for name in self._config.catalog.services)
