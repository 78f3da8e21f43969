"""A shop with two weeks on record, for what reads a store: the command, the flow and the page."""

from dataclasses import replace
from datetime import datetime, timedelta

from quell.incidents.alert import REPORTS_ALERT, Alert, AlertOutcome
from quell.incidents.anomaly import AnomalyLabel
from quell.incidents.change import Change, ChangeKind
from quell.incidents.decision import Answer, Decision
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.mitigation import Mitigation, MitigationState, Recovery
from quell.incidents.outcome import FALSE_ISOLATION
from quell.incidents.review import ActionItem, Review, SignOff
from quell.incidents.threshold import ThresholdState, ThresholdVersion, move_threshold
from quell.incidents.timeline import event_of
from quell.ports import Document, Store, Transaction
from quell.response.cost import Cost, cost_document, write_cost
from tests.weekly_records import MONDAY, NOW, alert, anomaly, incident, minutes, mitigation

S = IncidentState
BOOK = "isolate-bad-instance"


def fill(store: Store) -> None:
    """Nine incidents in the week, five in the one before, with everything that belongs to them."""
    with store.writing() as tx:
        tx.incidents.put_all(_incidents())
        tx.alerts.put_all(_alerts())
        tx.mitigations.put_all(_mitigations())
        tx.changes.put_all(
            Change(
                id=f"c{n}", kind=kind, service="checkout", at=MONDAY, summary="a change", received_at=MONDAY
            )
            for n, kind in ((1, ChangeKind.CONFIG), (2, ChangeKind.DEPLOY))
        )  # fmt: skip
        for n, answer, wait in ((1, Answer.APPROVE, 2), (2, Answer.APPROVE, 8), (3, Answer.REFUSE, 4)):
            made = _mitigations()[n - 1]
            tx.decisions.add(
                Decision(
                    id=f"D-{n}", subject=made.id, plan_hash="h", person="bob", answer=answer,
                    at=made.created_at + minutes(wait), channel="page" if n == 2 else "prefect",
                )
            )  # fmt: skip
        _label(tx)
        _change_limits(tx)
        cost = write_cost(Cost(offered=500, refused=40, legitimate=300, wrong=12))
        tx.documents.put(Document(id=cost_document("MIT-5"), kind="cost", updated_at=NOW, body=cost))
        overdue = (MONDAY + timedelta(days=4)).date()
        tx.reviews.add(
            Review(
                id="INC-3", markdown="", written_at=MONDAY, sign_offs=(SignOff(team="shop", due=overdue),),
                action_items=(ActionItem(id="INC-3/A1", text="Write a guard for it", owner="alice", due=overdue),),
            )
        )  # fmt: skip


def _incidents() -> list[Incident]:
    day = timedelta(days=1)
    week = [
        incident(1, detect=0.4, acknowledge=1, contain=1.5, resolve=9, suspect="checkout-2", change="c1", alerts=12),
        incident(2, detect=1, acknowledge=4, contain=3, resolve=25, suspect="checkout-1", change="c1", alerts=7),
        incident(3, S.REVIEWED, detect=2, acknowledge=6, contain=12, resolve=95, suspect="checkout", alerts=31),
        incident(4, detect=0.5, contain=2, resolve=4, suspect="client-7", alerts=2),
        incident(5, S.CONTAINED, detect=3, acknowledge=2, contain=8, suspect="payment-1", change="c2", alerts=4),
        incident(6, S.DISMISSED, detect=1, alerts=1),
        incident(7, detect=18, acknowledge=3, contain=40, resolve=180, by="report", alerts=1),
        incident(8, detect=0.8, contain=1.2, resolve=6, suspect="checkout-2", alerts=3),
        incident(9, S.OPEN, detect=1, alerts=2),
    ]
    before = [
        incident(n, opened=MONDAY - day, detect=n - 10, contain=2 * (n - 9), resolve=20 * (n - 10), alerts=n)
        for n in range(11, 16)
    ]
    return [_later(i, n * timedelta(hours=9)) for n, i in enumerate(week)] + before


def _later(one: Incident, by: timedelta) -> Incident:
    names = ("onset_at", "opened_at", "acknowledged_at", "contained_at", "resolved_at")
    times = {name: at + by for name in names if (at := getattr(one, name)) is not None}
    return replace(one, **times)  # type: ignore[arg-type]


def _alerts() -> list[Alert]:
    joined = [alert(n, incident=f"INC-{1 + n % 9 if n % 9 != 6 else 3}") for n in range(40)]
    rules = [
        alert(100 + n, incident=f"INC-{(1, 2, 6)[n % 3]}", name="InstanceErrors", source="alertmanager", signal="")
        for n in range(9)
    ]
    noisy = [
        alert(200 + n, incident=None, name="DiskFull", source="alertmanager", signal="", outcome=AlertOutcome.WAITING)
        for n in range(6)
    ]  # fmt: skip
    muted = [alert(300 + n, incident=None, outcome=AlertOutcome.MUTED) for n in range(5)]
    reports = [alert(400, incident="INC-7", name=REPORTS_ALERT, source="report", signal="")]
    limits = [
        alert(500 + n, incident="INC-8", name="QuellErrorsHigh", source="alertmanager", quell_threshold="THR-2",
              at=MONDAY + timedelta(days=3 + n % 3))
        for n in range(5)
    ]  # fmt: skip
    return [*joined, *rules, *noisy, *muted, *reports, *limits]


def _mitigations() -> list[Mitigation]:
    refused = MitigationState.REFUSED
    made = [
        mitigation(1, asks=True, approved=2, judged=2.5, share=1 / 3),
        mitigation(2, asks=True, approved=8, applied=8.2, judged=9.4, ended=20, share=1 / 3),
        mitigation(3, refused, None, asks=True, applied=None, judged=None, ended=4),
        mitigation(8, recovery=Recovery.INEFFECTIVE, judged=1.5, ended=1.6, share=1 / 3,
                   reason=f"{FALSE_ISOLATION}users were never outside the limit"),
        mitigation(5, playbook="throttle-noisy-client", answers="NoisyClient", share=0.0, judged=1.4),
        mitigation(4, playbook="throttle-noisy-client", answers="NoisyClient", share=0.0, judged=1.8),
        mitigation(12, created=MONDAY - timedelta(days=1), asks=True, approved=5, share=1 / 3),
    ]  # fmt: skip
    return [replace(m, playbook=BOOK) if m.playbook == "isolate" else m for m in made]


def _label(tx: Transaction) -> None:
    tx.anomalies.put_all(
        [
            anomaly(1, AnomalyLabel.REAL),
            anomaly(2, AnomalyLabel.FALSE, signal="shop-latency-p99"),
            anomaly(3, AnomalyLabel.EXPECTED),
        ]
    )


def _change_limits(tx: Transaction) -> None:
    """THR-1 gave way to THR-2 on Wednesday."""
    for n, (at, told) in enumerate(((MONDAY - timedelta(days=9), 4.0), (MONDAY + timedelta(days=2), 6.0)), start=1):
        proposed = ThresholdVersion(
            id=f"THR-{n}", signal="errors", state=ThresholdState.PROPOSED, upper=0.05 * n, lower=None, created_at=at,
            updated_at=at, predicted={"per_week": told},
        )  # fmt: skip
        _move(tx, proposed, ThresholdState.ACTIVE, at)
    before = tx.thresholds.get("THR-1")
    assert before is not None
    _move(tx, before, ThresholdState.SUPERSEDED, MONDAY + timedelta(days=2))


def _move(tx: Transaction, version: ThresholdVersion, to: ThresholdState, at: datetime) -> None:
    moved, step = move_threshold(version, to, now=at, by="alice", why="approved")
    tx.thresholds.put(moved)
    tx.timeline.append(event_of(step))
