"""What Quell does by itself: held back by thin evidence and by the playbook's record, on the real planning path."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import tasks.planning
from quell.adapters.store.memory import MemoryStore
from quell.incidents.alert import Alert, AlertId, AlertOutcome, AlertStatus
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.labels import Fingerprint
from quell.incidents.mitigation import Mitigation, MitigationId, MitigationState, Recovery
from quell.incidents.suspect import Suspect
from quell.response.autonomy import Autonomy, Level
from quell.response.playbook import ApprovalPolicy
from tasks.doubts import Ground
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.planning import plan_for_incident
from tasks.record import get_mitigation, move
from tasks.resources import Resources
from tests.shop_levers import Levers, UsersSignal, shop_config

pytestmark = pytest.mark.integration


class Desk:
    """A shop whose levers and signals are at hand, with a clock that is set."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)
        self.signal = UsersSignal()
        self.levers = Levers()
        self.count = 0
        config = shop_config()
        book = replace(config.playbooks["isolate-bad-instance"], approval=ApprovalPolicy(above_capacity_share=1.0))
        self.res = Resources(
            config=replace(config, playbooks={book.name: book}),
            store=MemoryStore(),
            metrics=self.signal,
            actuators={"haproxy": self.levers},
            clock=lambda: self.now,
        )

    def set_autonomy(self, **given: object) -> None:
        book = self.res.config.playbooks["isolate-bad-instance"]
        changed = replace(book, autonomy=Autonomy(**given))  # type: ignore[arg-type]
        self.res = replace(self.res, config=replace(self.res.config, playbooks={book.name: changed}))

    def incident(self, *sources: str) -> str:
        """A triaged incident of checkout-2, an hour after the last, with an alert from each of these sources."""
        self.count += 1
        self.now += timedelta(hours=2)
        id = IncidentId(f"INC-{self.count}")
        suspect = Suspect(node="checkout-2", metric="errors", score=0.9, reason="its errors rose first")
        incident = Incident(
            id=id,
            state=IncidentState.TRIAGED,
            severity=Severity.CRITICAL,
            title="checkout-2 fails",
            service="checkout",
            onset_at=self.now,
            opened_at=self.now,
            updated_at=self.now,
            opened_because="test",
            opened_by=sources[0],
            suspects=(suspect,),
        )
        labels = {"alertname": "InstanceErrors", "service": "checkout", "instance": "checkout-2"}
        with self.res.store.writing() as tx:
            tx.incidents.add(incident)
            for source in sources:
                tx.alerts.add(
                    Alert(
                        id=AlertId(f"{id}-{source}"),
                        fingerprint=Fingerprint(f"{id}-{source}"),
                        status=AlertStatus.FIRING,
                        labels=labels,
                        annotations={},
                        starts_at=self.now,
                        source=source,
                        received_at=self.now,
                        updated_at=self.now,
                        outcome=AlertOutcome.JOINED,
                        incident=id,
                    )
                )
        return id

    def planned(self, *sources: str) -> Mitigation:
        found = plan_for_incident(self.res, self.incident(*sources))
        assert found is not None
        return found

    def finish(self, mitigation: Mitigation, as_: MitigationState) -> None:
        """Carry it out (approved where that is needed), judge it, and put everything back."""
        with self.res.store.writing() as tx:
            asked = get_mitigation(tx, mitigation.id)
            if asked.state is MitigationState.AWAITING_APPROVAL:
                approved = replace(asked, plan=replace(asked.plan, needs_approval=False), approved_by="alice")
                tx.mitigations.put(approved)
        apply_mitigation(self.res, mitigation.id)
        with self.res.store.writing() as tx:
            move(tx, get_mitigation(tx, mitigation.id), as_, now=self.now, by="quell", why="test")
        undo_mitigation(self.res, mitigation.id, "quell", "test")

    def told(self, incident: str, kind: str) -> list[str]:
        with self.res.store.reading() as tx:
            return [entry.text for entry in tx.timeline.of(incident) if entry.kind == kind]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_one_kind_of_evidence_asks_a_person_and_two_do_not(desk: Desk) -> None:
    desk.set_autonomy(successes=0)
    alone = desk.planned("alertmanager")
    assert alone.state is MitigationState.AWAITING_APPROVAL
    assert "only an alert rule speaks for it, and 2 independent kinds" in alone.plan.approval_reason
    desk.finish(alone, MitigationState.EFFECTIVE)
    both = desk.planned("alertmanager", "sweep")
    assert both.state is MitigationState.PLANNED
    assert both.plan.evidence[-1] == "it rests on an alert rule, a baseline's verdict"


def test_users_who_are_hurt_now_are_a_second_kind(desk: Desk) -> None:
    desk.set_autonomy(successes=0)
    desk.signal.value = 0.3
    assert desk.planned("alertmanager").state is MitigationState.PLANNED


def test_what_the_lever_itself_sees_is_a_second_kind_and_metrics_are_not_asked_then(desk: Desk) -> None:
    desk.set_autonomy(successes=0)
    desk.levers.seen = "checkout-2 is down"
    asked = desk.signal.asked
    planned = desk.planned("alertmanager")
    assert planned.state is MitigationState.PLANNED
    assert planned.plan.evidence[-1] == "it rests on an alert rule, what the lever itself sees"
    assert desk.signal.asked == asked


def test_metrics_that_are_away_speak_for_nothing(desk: Desk) -> None:
    desk.set_autonomy(successes=0)
    desk.signal.is_away = True
    assert desk.planned("alertmanager").state is MitigationState.AWAITING_APPROVAL


def test_acting_alone_is_earned_three_times_and_lost_once(desk: Desk) -> None:
    """By itself, without anybody editing a file."""
    states: list[MitigationState] = []
    for ends_as in (MitigationState.EFFECTIVE,) * 3 + (MitigationState.INEFFECTIVE, MitigationState.EFFECTIVE):
        mitigation = desk.planned("alertmanager", "sweep")
        states.append(mitigation.state)
        desk.finish(mitigation, ends_as)
    asked, alone = MitigationState.AWAITING_APPROVAL, MitigationState.PLANNED
    assert states == [asked, asked, asked, alone, asked]
    assert "since MIT-4 failed" in mitigation.plan.approval_reason


def test_on_the_lower_rungs_nothing_is_stored_and_the_timeline_says_what_would_be_done(desk: Desk) -> None:
    for level, kind, hint in (
        (Level.OBSERVE, "plan observed", ""),
        (Level.SUGGEST, "plan suggested", "quell mitigate"),
    ):
        desk.set_autonomy(level=level)
        incident = desk.incident("alertmanager", "sweep")
        assert plan_for_incident(desk.res, incident) is None
        (text,) = desk.told(incident, kind)
        assert "isolate-bad-instance would do: haproxy: isolate be_checkout/checkout-2" in text
        assert hint in text
    with desk.res.store.reading() as tx:
        assert tx.mitigations.count() == 0
    assert desk.levers.isolated == set()


def test_what_was_lost_between_plan_and_effect_keeps_quell_from_acting() -> None:
    """The plan was allowed; meanwhile the same playbook failed on another incident. The last check sees it."""
    desk = Desk()
    desk.set_autonomy(successes=0)
    planned = desk.planned("alertmanager", "sweep")
    assert not planned.plan.needs_approval
    with desk.res.store.writing() as tx:
        failed = replace(
            planned,
            id=MitigationId("MIT-99"),
            target="instance:checkout-3",
            state=MitigationState.UNDONE,
            recovery=Recovery.INEFFECTIVE,
            created_at=desk.now + timedelta(seconds=1),
            ended_at=desk.now + timedelta(seconds=1),
        )
        tx.mitigations.add(failed)
    ended = apply_mitigation(desk.res, planned.id)
    assert ended.state is MitigationState.REFUSED and not desk.levers.isolated
    with desk.res.store.reading() as tx:
        (refused,) = [e for e in tx.timeline.entries() if e.kind == "mitigation refused"]
    assert "autonomy ladder" in refused.text and "MIT-99 failed" in refused.text


def test_evidence_that_ends_while_the_plan_is_made_does_not_count(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep's alert is over before the intent is written: the rule is asked in the same transaction."""
    desk.set_autonomy(successes=0)
    ask = tasks.planning.ground_of

    def ends_meanwhile(*args: Any) -> Ground:
        ground = ask(*args)
        with desk.res.store.writing() as tx:
            (fires,) = [alert for alert in tx.alerts.find() if alert.source == "sweep"]
            tx.alerts.put(replace(fires, status=AlertStatus.RESOLVED, ends_at=desk.now))
        return ground

    monkeypatch.setattr(tasks.planning, "ground_of", ends_meanwhile)
    incident = desk.incident("alertmanager", "sweep")
    assert plan_for_incident(desk.res, incident) is None
    (refused,) = [text for text in desk.told(incident, "plan refused") if "kinds of evidence" in text]
    assert "an alert rule" in refused and "2 before anything" in refused
