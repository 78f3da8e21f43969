"""What order and repetition must not change, and what no input may lead to.

*The outcome* of a set of alerts is: which of them are in one incident (the partition, whatever the incidents are
called), each alert's status, and whether it is in an incident, waits or is muted. Which of several alerts opened the
incident, and which of two overlapping episodes of one label set counts as the duplicate, depends on who came first and
is not part of it. The clock stands still: what time does (quiet, thresholds that pass) is decided by the clock alone.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from quell.incidents.alert import AlertOutcome, AlertStatus
from quell.incidents.inbox import InboxKind
from quell.incidents.incident import IncidentState, move_incident
from quell.incidents.matcher import parse_matchers
from quell.incidents.timeline import verify_chain
from quell.triage.kinship import Kinship
from quell.triage.rules import OpenAfter, Rules
from tests.triage_desk import SHOP, T0, Desk

pytestmark = pytest.mark.unit

NOW = T0 + timedelta(hours=1)
THRESHOLD = Rules(
    open_after=(
        OpenAfter(
            name="slow ones",
            matchers=parse_matchers("alertname=Slow"),
            count=3,
            within=timedelta(minutes=5),
            lasting=timedelta(days=1),
        ),
    )
)


def payload(name: str, where: tuple[str, str], start: int, end: int | None, status: str) -> dict[str, Any]:
    service, instance = where
    body: dict[str, Any] = {
        "labels": {"alertname": name, **({"service": service} if service else {}), "instance": instance},
        "startsAt": (T0 + timedelta(minutes=start)).isoformat(),
        "status": status,
    }
    if status == "resolved":
        body["endsAt"] = (T0 + timedelta(minutes=start + (end or 1))).isoformat()
    return body


PLACES = [(service, f"{service}-{n}") for service in SHOP.services for n in (1, 2)] + [("", "host-1"), ("", "host-2")]
NOTICES = st.builds(
    payload,
    st.sampled_from(["Errors", "Slow"]),
    st.sampled_from(PLACES),
    st.integers(0, 58),
    st.integers(1, 12),
    st.sampled_from(["firing", "resolved"]),
)
CHANGES = st.builds(
    lambda service, minute, commit: {
        "id": f"{service}{minute}{commit}", "kind": "deploy", "service": service, "summary": "s", "commit": commit,
        "at": (T0 + timedelta(minutes=minute)).isoformat(),
    },
    st.sampled_from(list(SHOP.services)), st.integers(0, 50), st.sampled_from(["abc1234", "def5678"]),
)  # fmt: skip


def outcome(desk: Desk) -> set[tuple[str, ...]]:
    """The partition into incidents, and how each alert stands."""
    groups: dict[str, list[str]] = {}
    for alert in desk.alerts():
        groups.setdefault(alert.incident or "", []).append(alert.id)
    stand = {(a.id, a.status, "in an incident" if a.incident else str(a.outcome)) for a in desk.alerts()}
    return {tuple(sorted(ids)) for incident, ids in groups.items() if incident} | stand


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(NOTICES, min_size=1, max_size=9), st.lists(CHANGES, max_size=2), st.booleans(), st.data())
def test_order_repetition_and_batches_change_nothing_in_the_outcome(
    notices: list[dict[str, Any]], changes: list[dict[str, Any]], has_threshold: bool, data: st.DataObject
) -> None:
    rules = THRESHOLD if has_threshold else Rules()
    once, shuffled = Desk(now=NOW, rules=rules), Desk(now=NOW, rules=rules)
    mixed = [(c, InboxKind.CHANGE) for c in changes] + [(n, InboxKind.ALERT) for n in notices]
    for body, kind in mixed:
        once.send(body, kind, id=body.get("id"))
    once.drain()
    again = data.draw(st.lists(st.sampled_from(mixed), max_size=4))
    for body, kind in data.draw(st.permutations([*mixed, *again])):
        shuffled.send(body, kind, id=body.get("id"))
        if data.draw(st.booleans()):
            shuffled.drain()
    shuffled.drain()
    assert outcome(once) == outcome(shuffled)


class Shop(RuleBasedStateMachine):
    """Alerts, changes and time in any order: nothing is ever lost, and what is counted is what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(now=NOW, rules=THRESHOLD)
        self.sent: set[tuple[str, str]] = set()

    @rule(notice=NOTICES, is_drained=st.booleans())
    def send(self, notice: dict[str, Any], is_drained: bool) -> None:
        self.desk.send(notice)
        self.sent.add((str(sorted(notice["labels"].items())), notice["startsAt"]))
        if is_drained:
            self.desk.drain()

    @rule(change=CHANGES)
    def change(self, change: dict[str, Any]) -> None:
        self.desk.send(change, InboxKind.CHANGE, id=change["id"])

    @rule(minutes=st.integers(1, 40))
    def wait(self, minutes: int) -> None:
        self.desk.now += timedelta(minutes=minutes)
        self.desk.drain()

    @rule()
    def resolve(self) -> None:
        """A person ends what is open, whatever still fires."""
        with self.desk.store.writing() as tx:
            for incident in tx.incidents.find({"state": "triaged"}):
                ended, _ = move_incident(incident, IncidentState.RESOLVED, now=self.desk.now, by="eve", why="mended")
                tx.incidents.put(ended)

    @invariant()
    def every_alert_has_exactly_one_outcome_and_its_reason(self) -> None:
        self.desk.drain()
        alerts, incidents = self.desk.alerts(), {incident.id: incident for incident in self.desk.incidents()}
        assert len(alerts) == len(self.sent)
        for alert in alerts:
            assert alert.outcome is not None and alert.outcome_reason and alert.rule
            is_grouped = alert.outcome in (AlertOutcome.OPENED, AlertOutcome.JOINED, AlertOutcome.DUPLICATE)
            assert is_grouped is (alert.incident in incidents)
        for incident in incidents.values():
            own = [alert for alert in alerts if alert.incident == incident.id]
            if incident.state == "merged":
                assert not own and incident.merged_into in incidents
                continue
            assert sum(alert.outcome is AlertOutcome.OPENED for alert in own) == 1
            assert incident.tally is not None
            assert incident.tally.alerts == len(own)
            assert incident.tally.firing == sum(alert.status is AlertStatus.FIRING for alert in own)

    @invariant()
    def the_timeline_is_whole(self) -> None:
        with self.desk.store.reading() as tx:
            assert verify_chain(tx.timeline.entries()) == []


TestShop = Shop.TestCase
TestShop.settings = settings(deadline=None, max_examples=40, stateful_step_count=12)


def test_relation_of_alerts_is_symmetric() -> None:
    """The grouping is the closure of a symmetric relation: that is why order does not matter."""
    desk = Desk(now=NOW)
    for where in PLACES:
        desk.send(payload("Errors", where, 1, None, "firing"))
    desk.drain()
    kinship = Kinship(SHOP, after_change=timedelta(minutes=10))
    alerts = [replace(alert, incident=None) for alert in desk.alerts()]
    for one in alerts:
        for other in alerts:
            link, back = kinship.relation(one, other), kinship.relation(other, one)
            assert (link and link.hops) == (back and back.hops)
