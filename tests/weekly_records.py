"""Records of a made-up week whose figures are computed by hand in the tests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from quell.incidents.alert import Alert, AlertId, AlertOutcome, AlertStatus
from quell.incidents.anomaly import Anomaly, AnomalyLabel
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.labels import Fingerprint
from quell.incidents.mitigation import BlastRadius, Mitigation, MitigationId, MitigationState, Plan, Recovery
from quell.incidents.suspect import Suspect
from quell.incidents.tally import Tally
from quell.incidents.verdict import VerdictKind
from quell.prevention.weekly.facts import Facts
from quell.prevention.weekly.week import parse_week

WEEK = parse_week("2026-W47")
MONDAY = WEEK.start
NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)  # the Monday after
RUN = "11111111-2222-3333-4444-555555555555"
OVER = IncidentState.RESOLVED


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def incident(
    number: int,
    state: IncidentState = OVER,
    *,
    opened: datetime = MONDAY + timedelta(days=1),
    detect: float = 1,
    acknowledge: float | None = None,
    contain: float | None = None,
    resolve: float | None = None,
    service: str = "checkout",
    suspect: str = "",
    change: str | None = None,
    alerts: int | None = None,
    by: str = "sweep",
) -> Incident:
    """Times are minutes: to detection and from the onset on; acknowledgement counts from the opening."""
    onset = opened - minutes(detect)
    suspects = (Suspect(node=suspect, metric="errors", score=0.9, reason="first", change=change),) if suspect else ()

    def after(start: datetime, wait: float | None) -> datetime | None:
        return None if wait is None else start + minutes(wait)

    return Incident(
        id=IncidentId(f"INC-{number}"),
        state=state,
        severity=Severity.MAJOR,
        title=f"{service} is in trouble",
        service=service,
        onset_at=onset,
        opened_at=opened,
        updated_at=opened,
        opened_because="test",
        opened_by=by,
        suspects=suspects,
        acknowledged_at=after(opened, acknowledge),
        contained_at=after(onset, contain),
        resolved_at=after(onset, resolve),
        flow_runs={"respond MIT-1": RUN, "in process": "in process"} if number == 1 else {},
        tally=None if alerts is None else Tally(alerts=alerts),
    )


def alert(
    number: int,
    *,
    name: str = "Anomaly",
    source: str = "sweep",
    signal: str = "errors",
    incident: str | None = "INC-1",
    outcome: AlertOutcome = AlertOutcome.JOINED,
    at: datetime = MONDAY + timedelta(days=1),
    **labels: str,
) -> Alert:
    given = {"alertname": name, "service": "checkout", **({"signal": signal} if signal else {}), **labels}
    return Alert(
        id=AlertId(f"a{number}"),
        fingerprint=Fingerprint(f"f{number}"),
        status=AlertStatus.RESOLVED,
        labels=given,
        annotations={},
        starts_at=at,
        ends_at=at + minutes(10),
        source=source,
        received_at=at,
        updated_at=at,
        outcome=outcome,
        incident=incident,
    )


def mitigation(
    number: int,
    state: MitigationState = MitigationState.UNDONE,
    recovery: Recovery | None = Recovery.EFFECTIVE,
    *,
    created: datetime = MONDAY + timedelta(days=2),
    asks: bool = False,
    approved: float | None = None,
    applied: float | None = 1,
    judged: float | None = 2,
    ended: float | None = 11,
    share: float = 0.25,
    reason: str = "",
    playbook: str = "isolate",
    answers: str = "InstanceErrors",
) -> Mitigation:
    """Times are minutes after it was planned."""
    radius = BlastRadius(service="checkout", instances=(), capacity_share=share, capacity_left=1 - share)
    plan = Plan(
        playbook=playbook, incident=f"INC-{number}", target="checkout-1", steps=(), undo=(), blast_radius=radius,
        evidence=(), needs_approval=asks, approval_reason="", expires_after=timedelta(hours=1),
    )  # fmt: skip

    def after(wait: float | None) -> datetime | None:
        return None if wait is None else created + minutes(wait)

    return Mitigation(
        id=MitigationId(f"MIT-{number}"), state=state, plan=plan, plan_hash="h", incident=f"INC-{number}",
        playbook=playbook, service="checkout", target="checkout-1", requested_by="quell", created_at=created,
        updated_at=created, answers=answers, approval_deadline=after(15) if asks else None,
        approved_at=after(approved), applied_at=after(applied), judged_at=after(judged), ended_at=after(ended),
        recovery=recovery, recovery_reason=reason, flow_run=RUN if number == 1 else None,
    )  # fmt: skip


def anomaly(
    number: int,
    label: AnomalyLabel,
    *,
    signal: str = "errors",
    kind: VerdictKind = VerdictKind.ANOMALOUS,
    fingerprint: str = "none",
    at: datetime = MONDAY + timedelta(days=1),
) -> Anomaly:
    return Anomaly(
        id=f"ANO-{number}", series="s", signal=signal, labels={}, service="checkout",
        fingerprint=Fingerprint(fingerprint), started_at=at, last_at=at + minutes(5), worst_at=at, kind=kind, value=1.0,
        expected=0.0, lower=None, upper=0.5, score=0.9, reason="r", because="b", label=label, labelled_by="carol",
        labelled_at=at + minutes(60),
    )  # fmt: skip


def facts(**given: object) -> Facts:
    return replace(Facts(week=WEEK, now=NOW), **given)  # type: ignore[arg-type]
