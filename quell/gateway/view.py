"""What people see of an incident: the record with everything that belongs to it, read in one go."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.incidents.alert import Alert
from quell.incidents.change import Change
from quell.incidents.decision import Decision
from quell.incidents.errors import NotFound
from quell.incidents.fix import Fix
from quell.incidents.incident import ACTIVE_STATES, Incident, IncidentTimes, incident_times
from quell.incidents.journal import JournalEntry
from quell.incidents.mitigation import PENDING_STATES, Mitigation
from quell.incidents.report import Report
from quell.incidents.review import Review
from quell.incidents.timeline import TimelineEntry
from quell.ports import Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class MitigationView:
    mitigation: Mitigation
    journal: tuple[JournalEntry, ...]
    decisions: tuple[Decision, ...]

    @property
    def is_pending(self) -> bool:
        return self.mitigation.state in PENDING_STATES and not self.decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentView:
    incident: Incident
    times: IncidentTimes
    alerts: tuple[Alert, ...]
    changes: tuple[Change, ...]
    reports: tuple[Report, ...]
    mitigations: tuple[MitigationView, ...]
    fixes: tuple[Fix, ...]
    review: Review | None
    timeline: tuple[TimelineEntry, ...]

    @property
    def changes_by_id(self) -> Mapping[str, Change]:
        return {change.id: change for change in self.changes}


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRow:
    """One line of the list."""

    incident: Incident
    alerts: int
    firing: int


def read_incident(store: Store, incident_id: str) -> IncidentView:
    """Everything about one incident, as of one moment. Raises NotFound."""
    with store.reading() as tx:
        incident = tx.incidents.get(incident_id)
        if incident is None:
            raise NotFound(f"incident {incident_id} does not exist: see / for those that do")
        where = {"incident": incident_id}
        changes = [change for id in incident.changes if (change := tx.changes.get(id)) is not None]
        return IncidentView(
            incident=incident,
            times=incident_times(incident),
            alerts=tuple(tx.alerts.find(where, order="starts_at")),
            changes=tuple(changes),
            reports=tuple(tx.reports.find(where, order="at")),
            mitigations=tuple(_mitigation(tx, m) for m in tx.mitigations.find(where)),
            fixes=tuple(tx.fixes.find(where)),
            review=tx.reviews.get(incident_id),
            timeline=tuple(tx.timeline.of(incident_id)),
        )


def _mitigation(tx: Transaction, mitigation: Mitigation) -> MitigationView:
    journal = tx.journal.find({"mitigation": mitigation.id})
    return MitigationView(
        mitigation=mitigation,
        journal=tuple(sorted(journal, key=lambda entry: entry.position)),
        decisions=tuple(tx.decisions.find({"subject": mitigation.id})),
    )


def read_incidents(
    store: Store, *, state: str | None = None, service: str | None = None, limit: int = 50, offset: int = 0
) -> list[Incident]:
    """Newest first. `state` is one state, or `active` for all that are not over."""
    where: dict[str, object] = {}
    if state:
        where["state"] = tuple(ACTIVE_STATES) if state == "active" else state
    if service:
        where["service"] = service
    with store.reading() as tx:
        return tx.incidents.find(where, order="opened_at", descending=True, limit=limit, offset=offset)


def read_rows(store: Store, *, limit: int = 50) -> list[IncidentRow]:
    """The list's lines: what is active first, then the newest."""
    with store.reading() as tx:
        found = tx.incidents.find(order="opened_at", descending=True, limit=limit)
        listed = {incident.id for incident in found}
        active = tx.incidents.find({"state": tuple(ACTIVE_STATES)}, order="opened_at", descending=True, limit=limit)
        found += [incident for incident in active if incident.id not in listed]
        found.sort(key=lambda incident: not incident.is_active)
        return [
            IncidentRow(
                incident=incident,
                alerts=tx.alerts.count({"incident": incident.id}),
                firing=tx.alerts.count({"incident": incident.id, "status": "firing"}),
            )
            for incident in found
        ]


def in_words(span: timedelta | None) -> str:
    """
    >>> in_words(timedelta(seconds=42)), in_words(timedelta(seconds=200)), in_words(timedelta(hours=5, minutes=3))
    ('42 s', '3 min 20 s', '5 h 3 min')
    """
    if span is None:
        return "—"
    seconds = round(span.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    if seconds < 2 * 86400:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 86400} days"


def since(moment: datetime, now: datetime) -> str:
    return f"{in_words(max(now - moment, timedelta(0)))} ago"
