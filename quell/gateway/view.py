"""What people see of an incident: the record with everything that belongs to it, read in one go."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.config.config import Config
from quell.gateway.alert_groups import AlertGroups, find_incident, read_groups
from quell.incidents.change import Change
from quell.incidents.decision import Decision
from quell.incidents.fix import Fix
from quell.incidents.incident import ACTIVE_STATES, Incident, IncidentTimes, incident_times
from quell.incidents.journal import JournalEntry
from quell.incidents.mitigation import PENDING_STATES, Mitigation
from quell.incidents.notification import Notification
from quell.incidents.report import Report
from quell.incidents.review import Review
from quell.incidents.timeline import TimelineEntry
from quell.ports import Store, Transaction
from quell.response.approval import approvers_needed, question_of, tally
from quell.response.cost import Cost, cost_document, read_cost
from quell.response.fix_approval import question_of_fix
from quell.response.playbook import Playbook

REPORTS_SHOWN = 20
REPORTS_READ = 200  # those that repeat another are counted with it
NOTIFICATIONS_SHOWN = 30
OTHERS_SHOWN = 100
ENTRIES_SHOWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class MitigationView:
    mitigation: Mitigation
    journal: tuple[JournalEntry, ...]
    decisions: tuple[Decision, ...]
    standing: str = ""  # "1 of 2 approvals (alice), waiting for another person"
    is_answered: bool = False
    cost: Cost | None = None  # of a safeguard, where it was measured

    @property
    def is_pending(self) -> bool:
        return self.mitigation.state in PENDING_STATES and not self.is_answered


@dataclass(frozen=True, slots=True, kw_only=True)
class FixQuestion:
    """What is asked about a fix that waits for a person, and of whom."""

    plan_hash: str
    deadline: datetime | None
    roles: tuple[str, ...]
    owners: tuple[str, ...]  # only they may approve; empty: whoever has one of the roles


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentView:
    incident: Incident
    times: IncidentTimes
    alerts: AlertGroups
    changes: tuple[Change, ...]
    reports: tuple[Report, ...]  # the newest of those that repeat no other
    report_count: int
    mitigations: tuple[MitigationView, ...]
    fixes: tuple[Fix, ...]
    fix_questions: Mapping[str, FixQuestion]  # by the fix's id, of those that wait for a person
    fix_decisions: Mapping[str, tuple[Decision, ...]]
    review: Review | None
    notifications: tuple[Notification, ...]  # the newest first
    others: tuple[Incident, ...]  # active ones with which it could be merged
    timeline: tuple[TimelineEntry, ...]  # its end
    version: int

    @property
    def has_earlier(self) -> bool:
        return bool(self.timeline) and self.timeline[0].number > 1

    @property
    def changes_by_id(self) -> Mapping[str, Change]:
        return {change.id: change for change in self.changes}


def read_incident(store: Store, incident_id: str, config: Config) -> IncidentView:
    """What the page shows of one incident, as of one moment; long lists only in part. Raises NotFound."""
    with store.reading() as tx:
        incident = find_incident(tx, incident_id)
        where = {"incident": incident_id}
        fixes = tuple(tx.fixes.find(where))
        changes = [change for id in incident.changes if (change := tx.changes.get(id)) is not None]
        return IncidentView(
            incident=incident,
            times=incident_times(incident),
            alerts=read_groups(tx, incident_id),
            changes=tuple(changes),
            reports=_reports(tx, incident_id),
            report_count=tx.reports.count(where),
            mitigations=tuple(_mitigation(tx, incident, m, config.playbooks) for m in tx.mitigations.find(where)),
            fixes=fixes,
            fix_questions={fix.id: asked for fix in fixes if (asked := _question(tx, fix, config)) is not None},
            fix_decisions={fix.id: tuple(tx.decisions.find({"subject": fix.id})) for fix in fixes},
            review=tx.reviews.get(incident_id),
            notifications=tuple(
                tx.notifications.find(where, order="created_at", descending=True, limit=NOTIFICATIONS_SHOWN)
            ),
            others=_others(tx, incident_id),
            timeline=tuple(tx.timeline.of(incident_id, limit=ENTRIES_SHOWN)),
            version=tx.timeline.written(),
        )


def _reports(tx: Transaction, incident_id: str) -> tuple[Report, ...]:
    found = tx.reports.find({"incident": incident_id}, order="at", descending=True, limit=REPORTS_READ)
    return tuple(reversed([report for report in found if report.part_of is None][:REPORTS_SHOWN]))


def _others(tx: Transaction, incident_id: str) -> tuple[Incident, ...]:
    states = tuple(ACTIVE_STATES)
    found = tx.incidents.find({"state": states}, order="opened_at", descending=True, limit=OTHERS_SHOWN + 1)
    return tuple(other for other in found if other.id != incident_id)[:OTHERS_SHOWN]


def _mitigation(
    tx: Transaction, incident: Incident, mitigation: Mitigation, playbooks: Mapping[str, Playbook]
) -> MitigationView:
    journal = tx.journal.find({"mitigation": mitigation.id})
    cost = tx.documents.get(cost_document(mitigation.id))
    decisions = tx.decisions.find({"subject": mitigation.id})
    playbook = playbooks.get(mitigation.playbook)
    severity = incident.worst_severity or incident.severity
    needed = approvers_needed(playbook.approval if playbook else None, severity, planned=mitigation.approvers)
    answers = tally(question_of(mitigation, playbook, needed), decisions)
    return MitigationView(
        mitigation=mitigation,
        journal=tuple(sorted(journal, key=lambda entry: entry.position)),
        decisions=tuple(decisions),
        standing=answers.standing,
        is_answered=answers.answer is not None,
        cost=read_cost(cost.body) if cost else None,
    )


def _question(tx: Transaction, fix: Fix, config: Config) -> FixQuestion | None:
    asked = question_of_fix(fix, config.fixes, config.catalog.service(fix.service), config.people.values())
    if not asked.is_open or tally(asked, tx.decisions.find({"subject": fix.id})).answer is not None:
        return None
    return FixQuestion(plan_hash=asked.plan_hash, deadline=asked.deadline, roles=asked.roles, owners=asked.owners)


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
