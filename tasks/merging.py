"""Merging: everything that belongs to one incident moves into another, and both timelines say so."""

from dataclasses import replace
from datetime import datetime

from quell.incidents.alert import Alert, AlertOutcome, rule_alert
from quell.incidents.incident import IncidentState, move_incident
from quell.incidents.timeline import event_of
from quell.ports import Transaction
from quell.triage.evidence import unite_evidence
from tasks.assessment import Assessment, read_evidence, write_evidence
from tasks.ground import Case, Ground


def absorb(
    tx: Transaction,
    ground: Ground,
    assessment: Assessment,
    into: Case,
    other: Case,
    *,
    by: str,
    why: str,
    now: datetime,
) -> None:
    """Alerts, reports, changes, mitigations, fixes and evidence move; the other ends as `merged`."""
    gone, stays = other.incident.id, into.incident.id
    moved = [move_alert(a, into, f"{gone} was merged into {stays}: {why}", now) for a in ground.alerts_of(gone)]
    for alert in moved:
        ground.put(alert)
        into.incident = replace(
            into.incident,
            onset_at=min(into.incident.onset_at, alert.starts_at),
            tally=into.tally.entered(alert, ground.kinship.service_of(alert)),
        )
    into.news |= other.news
    other.news.clear()
    _move_records(tx, gone, stays)
    _move_evidence(tx, gone, stays, now)
    ground.move_footprints(gone, into)
    into.has_grown = True
    assessment.say(into, "incident merged", f"{gone} with {len(moved)} alerts: {why}", subject=gone, by=by)
    other.incident, move = move_incident(
        other.incident, IncidentState.MERGED, now=now, by=by, why=f"into {stays}: {why}", evidence={"into": stays}
    )
    tx.timeline.append(event_of(move))
    other.incident = replace(other.incident, merged_into=stays, due_at=None)
    tx.incidents.put(other.incident)


def move_alert(alert: Alert, into: Case, reason: str, now: datetime) -> Alert:
    """It keeps its outcome, except that only one alert opened an incident."""
    before = alert.ruling
    assert before is not None, alert.id
    outcome = AlertOutcome.JOINED if before.outcome is AlertOutcome.OPENED else before.outcome
    ruling = replace(
        before, at=now, outcome=outcome, reason=reason, rule="merged", rule_at="", incident=into.incident.id
    )
    return rule_alert(alert, ruling)


def _move_records(tx: Transaction, gone: str, stays: str) -> None:
    where = {"incident": gone}
    tx.reports.put_all([replace(report, incident=stays) for report in tx.reports.find(where)])
    tx.mitigations.put_all([replace(mitigation, incident=stays) for mitigation in tx.mitigations.find(where)])
    tx.fixes.put_all([replace(fix, incident=stays) for fix in tx.fixes.find(where)])


def _move_evidence(tx: Transaction, gone: str, stays: str, now: datetime) -> None:
    write_evidence(tx, stays, unite_evidence(read_evidence(tx, stays), read_evidence(tx, gone)), now)
    tx.documents.delete(f"evidence {gone}")
