"""A room where tests work on a post-mortem: a resolved incident with everything that belongs to one, and its people."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pyotp.totp import TOTP

from quell.adapters.metrics.files import FileSource
from quell.config.config import Config, Connections, Tracker
from quell.incidents.alert import Alert, AlertId, AlertOutcome, AlertStatus
from quell.incidents.change import Change, ChangeKind
from quell.incidents.decision import Person
from quell.incidents.fix import Fix, FixState
from quell.incidents.guard_record import ACCEPTED, GuardRecord
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.labels import Fingerprint
from quell.incidents.mitigation import (
    BlastRadius,
    Mitigation,
    MitigationId,
    MitigationState,
    Plan,
    Recovery,
    plan_hash,
)
from quell.incidents.report import Report
from quell.incidents.review import Review
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.slo import Slo
from quell.incidents.suspect import Suspect
from quell.incidents.timeline import Event, verify_chain
from quell.ports import Store
from quell.prevention.review_act import ReviewDetails
from quell.triage.notification_route import Notifying
from tasks.guards import put_guard
from tasks.resources import Resources
from tasks.review import write_review_of
from tasks.review_desk import act_on_review

ONSET = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
SECRET_VARIABLE = "QUELL_TEST_TOTP"
CATALOG = Catalog(
    services={
        "storefront": Service(name="storefront", team="shop", owner="alice", is_user_facing=True),
        "checkout": Service(
            name="checkout",
            team="platform",
            owner="bob",
            instances=(
                Instance(name="checkout-1", service="checkout"),
                Instance(name="checkout-2", service="checkout"),
            ),
        ),
    }
)
PEOPLE = (
    ("alice", "Alice Moreau", "shop", ("approver",)),
    ("bob", "Bob Tanaka", "platform", ("approver",)),
    ("carol", "Carol Nwosu", "platform", ("analyst",)),
    ("vera", "Vera Lind", "shop", ("viewer",)),
)
ERRORS = Signal(
    name="storefront-errors",
    query="errors",
    kind=SignalKind.ERROR_RATIO,
    unit="ratio",
    direction=Direction.HIGH,
    step=timedelta(seconds=5),
    service="storefront",
    is_user_facing=True,
    slo=Slo(objective=0.999, period=timedelta(days=30)),
)


def at(seconds: float) -> datetime:
    return ONSET + timedelta(seconds=seconds)


def people(**more: Any) -> dict[str, Person]:
    return {
        name: Person(
            name=name,
            full_name=full,
            team=team,
            roles=roles,
            totp_secret=f"env:{SECRET_VARIABLE}",
            email=f"{name}@shop.example",
            **more,
        )
        for name, full, team, roles in PEOPLE
    }


INCIDENT = Incident(
    id=IncidentId("INC-1"),
    state=IncidentState.RESOLVED,
    severity=Severity.CRITICAL,
    title="storefront errors: 38 % of requests fail",
    service="storefront",
    onset_at=ONSET,
    opened_at=at(12),
    acknowledged_at=at(40),
    contained_at=at(95),
    resolved_at=at(310),
    updated_at=at(310),
    opened_because="InstanceErrors of checkout-2: nothing near it in time or in the call graph",
    opened_by="alertmanager",
    suspects=(Suspect(node="checkout-2", metric="errors", score=0.93, reason="its errors rose first", change="c1"),),
    changes=("c1",),
    impact="customers who pay by card cannot finish their order",
)
FIX = Fix(
    id="FIX-1",
    state=FixState.PROMOTED,
    incident="INC-1",
    service="checkout",
    instance="checkout-2",
    repository="/r",
    file="services/checkout-2.yaml",
    bad_commit="3f2a1bc09d77",
    diff="--- a/services/checkout-2.yaml\n+++ b/services/checkout-2.yaml\n@@ -1 +1 @@\n-t: 5\n+t: 800",
    created_at=at(100),
    updated_at=at(300),
    guard="guards/checkout-timeout.yaml",
    guard_proof="fails on 3f2a1bc (timeout_ms 5 is below 50), passes on the fix",
    canary_result="0 of 412 requests failed, 0 of 398 on the control",
)
GUARD = GuardRecord(
    name="checkout-timeout",
    incident="INC-1",
    fix="FIX-1",
    service="checkout",
    repository="/r",
    file="guards/checkout-timeout.yaml",
    state=ACCEPTED,
    bad="3f2a1bc09d77:services/checkout-2.yaml",
    said="services/checkout-2.yaml:1: timeout_ms: 5 is less than the minimum of 50",
    passed=("services/checkout-1.yaml",),
    proposed_at=at(300),
    accepted_by="bob",
    accepted_at=at(330),
)
EVENTS = (
    (6, "incident opened", "quell", "InstanceErrors of checkout-2"),
    (7, "change linked", "quell", "bob lowered the timeout of checkout-2, 90 s before the onset"),
    (12, "incident triaged", "quell", "checkout-2 stands out"),
    (40, "incident acknowledged", "alice", "alice looks after it"),
    (41, "decision approve", "alice", "alice: approve (page)"),
    (43, "mitigation applied", "quell", "checkout-2 is drained"),
    (95, "incident contained", "quell", "users are well"),
    (200, "fix applied", "quell", "in force on checkout-2"),
    (300, "fix promoted", "quell", "everywhere"),
    (310, "incident resolved", "root", "root saw that the cause is removed"),
)


@dataclass
class Room:
    """A store, a clock that the test moves, and people with one-time codes."""

    store: Store
    folder: Path
    now: datetime = field(default_factory=lambda: at(400))
    tracker: Tracker | None = None
    notifying: Notifying = field(default_factory=Notifying)
    people: Mapping[str, Person] = field(default_factory=people)

    @property
    def res(self) -> Resources:
        config = Config(
            folder=Path(),
            connections=Connections(store="", prometheus="", public_url="https://quell.example"),
            catalog=CATALOG,
            signals={ERRORS.name: ERRORS},
            people=self.people,
            tracker=self.tracker,
            notifying=self.notifying,
        )
        metrics = FileSource(self.folder)
        return Resources(config=config, store=self.store, metrics=metrics, actuators={}, clock=lambda: self.now)

    def open(self, *, fix: Fix | None = FIX, guard: GuardRecord | None = GUARD, **changes: Any) -> "Room":
        """Record the samples and the incident, its fix with the guard, and write its post-mortem."""
        write_samples(self.folder)
        with self.store.writing() as tx:
            tx.next_number("INC")
            tx.incidents.put(replace(INCIDENT, **changes))
            for number in range(4):
                tx.alerts.put(alert(number))
            tx.reports.put(
                Report(id="r1", text="my card is refused", service="storefront", at=at(70), incident="INC-1")
            )
            tx.changes.put(CHANGE)
            for one in (DRAIN, replace(DRAIN, id=MitigationId("MIT-2"), playbook="shed-load", **DID_NOT_HELP)):
                tx.mitigations.put(one)
            if fix is not None:
                tx.fixes.put(fix)
            if fix is not None and guard is not None:
                put_guard(tx, guard, at(330))
            for seconds, kind, by, text in EVENTS:
                tx.timeline.append(
                    Event(incident="INC-1", at=at(seconds), kind=kind, by=by, text=text, subject="INC-1")
                )
        write_review_of(self.res, "INC-1")
        return self

    @property
    def review(self) -> Review:
        with self.store.reading() as tx:
            found = tx.reviews.get("INC-1")
        assert found is not None
        return found

    @property
    def state(self) -> IncidentState:
        with self.store.reading() as tx:
            found = tx.incidents.get("INC-1")
        assert found is not None
        return found.state

    def version(self, section: str) -> int:
        found = self.review.section(section)
        assert found is not None
        return found.version

    def text(self, section: str) -> str:
        found = self.review.section(section)
        assert found is not None
        return found.text

    def act(self, person: str, action: str, **details: Any) -> str:
        return act_on_review(
            self.res,
            action=action,
            incident="INC-1",
            person=person,
            code="",
            is_signed_in=True,
            details=ReviewDetails(**details),
        )

    def sign(self, person: str, team: str) -> str:
        return self.act(person, "sign", subject=team, version=self.review.edition)

    def entries(self, kind: str = "review") -> list[tuple[str, str, str]]:
        """Kind, who and what of the entries about the review; the whole timeline must stand up to its check."""
        with self.store.reading() as tx:
            every = tx.timeline.entries()
            assert verify_chain(every, written=tx.timeline.written()) == []
        return [(e.kind, e.by, e.text) for e in every if e.kind.startswith(kind)]

    def code(self) -> str:
        return TOTP(SECRET).at(self.now)


def write_samples(folder: Path) -> None:
    """Users' error ratio every five seconds: calm, a third of all requests, and calm again."""
    lines = ["timestamp,value"]
    for number in range(-40, 100):
        seconds = number * 5
        value = 0.31 + 0.07 * ((number * 7) % 5) / 5 if 0 <= seconds < 95 else 0.002
        lines.append(f"{at(seconds).timestamp():.0f},{value:.4f}")
    (folder / "errors.csv").write_text("\n".join(lines) + "\n")


def alert(number: int) -> Alert:
    return Alert(
        id=AlertId(f"a{number}"),
        fingerprint=Fingerprint(f"{number:016x}"),
        status=AlertStatus.RESOLVED,
        labels={"alertname": "InstanceErrors" if number else "StorefrontErrors", "service": "checkout"},
        annotations={"summary": "requests fail"},
        starts_at=at(6 + 5 * number),
        source="alertmanager",
        received_at=at(6 + 5 * number),
        updated_at=at(100),
        outcome=AlertOutcome.JOINED if number else AlertOutcome.OPENED,
        outcome_reason="same service",
        incident="INC-1",
    )


CHANGE = Change(
    id="c1",
    kind=ChangeKind.CONFIG,
    service="checkout",
    instance="checkout-2",
    at=at(-90),
    summary="timeout_ms of checkout-2 from 800 to 5 (Bob Tanaka)",
    author="Bob Tanaka <bob@shop.example>",
    commit="3f2a1bc09d77",
    received_at=at(-90),
)
_PLAN = Plan(
    playbook="isolate-bad-instance",
    incident="INC-1",
    target="checkout-2",
    steps=(),
    undo=(),
    blast_radius=BlastRadius(service="checkout", instances=("checkout-2",), capacity_share=0.5, capacity_left=0.5),
    evidence=(),
    needs_approval=True,
    approval_reason="",
    expires_after=timedelta(hours=1),
)
DRAIN = Mitigation(
    id=MitigationId("MIT-1"),
    state=MitigationState.UNDONE,
    plan=_PLAN,
    plan_hash=plan_hash(_PLAN),
    incident="INC-1",
    playbook="isolate-bad-instance",
    service="checkout",
    target="checkout-2",
    requested_by="quell",
    created_at=at(13),
    updated_at=at(320),
    approved_by="alice",
    approved_at=at(41),
    applied_at=at(43),
    judged_at=at(95),
    ended_at=at(320),
    recovery=Recovery.EFFECTIVE,
    recovery_reason="errors of users fell from 35 % to 0.2 %",
)
DID_NOT_HELP: Mapping[str, Any] = {
    "recovery": Recovery.INEFFECTIVE,
    "recovery_reason": "errors of users stayed at 35 %",
    "applied_at": at(20),
    "ended_at": at(38),
    "approved_by": None,
}
