"""Why: every decision on an alert can be told, with the rule that made it and where a person wrote it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from quell.incidents.alert import (
    MOST_REMEMBERED,
    Alert,
    AlertOutcome,
    AlertStatus,
    Ruling,
    alert_id,
    rule_alert,
)
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.labels import fingerprint
from quell.incidents.tally import Tally
from quell.triage.telling import TOLD_EVERY, gathered_lines, is_told_at_once, with_gathered
from quell.triage.why import explain_alert, explain_incident

pytestmark = pytest.mark.unit

T0 = datetime(2026, 11, 23, 12, tzinfo=UTC)


def fresh(n: int = 0) -> Alert:
    labels = {"alertname": "Errors", "instance": f"checkout-{n}"}
    mark = fingerprint(labels)
    return Alert(
        id=alert_id(mark, T0), fingerprint=mark, status=AlertStatus.FIRING, labels=labels, annotations={},
        starts_at=T0, source="test", received_at=T0, updated_at=T0,
    )  # fmt: skip


def ruled(alert: Alert, outcome: AlertOutcome, rule: str, at: int, where: str = "", incident: str = "") -> Alert:
    moment = T0 + timedelta(seconds=at)
    ruling = Ruling(at=moment, outcome=outcome, reason=f"because of {rule}", rule=rule, rule_at=where)
    return rule_alert(alert, replace(ruling, incident=incident or None))


def test_what_delayed_what_muted_and_what_grouped_an_alert_is_told_in_order() -> None:
    alert = ruled(fresh(), AlertOutcome.WAITING, 'opening threshold "slow"', 0, "routing.yaml:3")
    alert = ruled(alert, AlertOutcome.MUTED, "silence SIL-1", 60)
    alert = ruled(alert, AlertOutcome.JOINED, "same service", 120, incident="INC-7")
    told = explain_alert(alert)
    assert [(step.did, step.rule_at) for step in told.steps] == [
        ("delayed", "routing.yaml:3"),
        ("muted", ""),
        ("grouped", ""),
    ]
    assert told.headline == 'grouped by "same service", in INC-7'
    assert explain_alert(fresh()).headline == "triage has not looked at it yet"


def test_the_same_decision_again_is_not_remembered_twice_and_history_is_bounded() -> None:
    alert = ruled(ruled(fresh(), AlertOutcome.MUTED, "a", 0), AlertOutcome.MUTED, "a", 5)
    assert alert.history == ()
    for n in range(MOST_REMEMBERED * 2):
        alert = ruled(alert, AlertOutcome.WAITING, f"rule {n}", n)
    assert len(alert.history) == MOST_REMEMBERED
    assert explain_alert(alert).steps[-1].rule == f"rule {MOST_REMEMBERED * 2 - 1}"


def test_an_incident_counts_its_alerts_by_rule() -> None:
    incident = Incident(
        id=IncidentId("INC-7"), state=IncidentState.TRIAGED, severity=Severity.MAJOR, title="t", service="s",
        onset_at=T0, opened_at=T0, updated_at=T0, opened_because="it began", opened_by="test", impact="half of users",
    )  # fmt: skip
    alerts = [
        ruled(fresh(0), AlertOutcome.OPENED, "opens", 0),
        *(ruled(fresh(n), AlertOutcome.JOINED, "same service", n) for n in range(1, 4)),
    ]
    told = explain_incident(incident, alerts)
    assert (told.opened_because, told.impact) == ("it began", "half of users")
    assert [(r.rule, r.alerts, r.example) for r in told.rules] == [
        ("opens", 1, "because of opens"),
        ("same service", 3, "because of same service"),
    ]


def test_in_a_storm_lines_are_gathered_and_told_together() -> None:
    calm, storm = Tally(alerts=5), Tally(alerts=500, told_at=T0)
    soon = T0 + timedelta(seconds=1)
    assert is_told_at_once(calm, soon) and not is_told_at_once(storm, soon)
    assert is_told_at_once(storm, T0 + TOLD_EVERY)
    for n in range(412):
        storm = with_gathered(storm, "alert joined", f"alert {n}")
    assert list(gathered_lines(storm, T0 + TOLD_EVERY)) == [
        ("alert joined", "412 alerts joined within 10 s; one of them: alert 0")
    ]
