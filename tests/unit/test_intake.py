"""The inbox becomes incidents: every alert gets one outcome, whatever the order, repetition or poison."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quell.config.config import Grouping
from quell.incidents.alert import Alert, AlertOutcome, AlertStatus
from quell.incidents.fix import Fix, FixState
from quell.incidents.inbox import InboxKind
from quell.incidents.incident import IncidentState, move_incident
from quell.incidents.timeline import verify_chain
from quell.resolution.candidate import rank_candidates
from quell.triage.quiet import QUIET_TIME
from tasks.report_desk import MOST_SHOWN
from tests.triage_desk import T0, Desk, catalog, service

pytestmark = pytest.mark.unit

SHOP = catalog(
    service("storefront", 2, "checkout", "catalog", is_user_facing=True),
    service("checkout", 3, "payment"),
    service("payment", 2),
    service("catalog", 1),
    service("warehouse", 1),
)


@pytest.fixture
def desk() -> Desk:
    return Desk(SHOP)


def alert(
    name: str = "InstanceErrors", *, at: float = 0, ends: float | None = None, value: float | None = None, **labels: str
) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "labels": {"alertname": name, "severity": "critical", **labels},
        "annotations": {} if value is None else {"value": str(value), "expected": "0.01", "upper": "0.05"},
        "startsAt": (T0 + timedelta(seconds=at)).isoformat(),
    }
    if ends is not None:
        payload |= {"status": "resolved", "endsAt": (T0 + timedelta(seconds=ends)).isoformat()}
    return payload


BAD_INSTANCE = {"service": "checkout", "instance": "checkout-2"}
CHANGE = {
    "kind": "config",
    "service": "checkout",
    "instance": "checkout-2",
    "at": (T0 - timedelta(seconds=90)).isoformat(),
    "summary": "lower the payment timeout",
    "commit": "abc1234def",
    "author": "dora",
}


def test_alerts_of_one_trouble_become_one_triaged_incident_with_the_changed_instance_first(desk: Desk) -> None:
    desk.send(CHANGE, InboxKind.CHANGE, id="change-1")
    desk.send(alert("Anomaly", signal="instance-error-ratio", value=0.61, **BAD_INSTANCE))
    desk.send(alert("Anomaly", signal="shop-error-ratio", service="storefront", at=5, value=0.2))
    desk.send(alert(**BAD_INSTANCE, at=20))
    desk.send({"text": "cannot pay", "service": "storefront", "reporter": "eve"}, InboxKind.REPORT)
    assert desk.drain() == ["INC-1"]

    incident = desk.incident()
    assert incident.state is IncidentState.TRIAGED
    assert incident.title == "checkout-2 errors: 61 % of requests fail, users affected"
    assert (incident.service, incident.onset_at) == ("checkout", T0)
    assert incident.suspects[0].node == "checkout-2"
    assert incident.suspects[0].change == "change-1"
    assert "configuration change abc1234 90 s before onset" in incident.suspects[0].reason
    assert incident.changes == ("change-1",)
    outcomes = {(a.name, a.service): (a.outcome, a.outcome_reason) for a in desk.alerts()}
    assert outcomes["Anomaly", "checkout"][0] is AlertOutcome.OPENED
    assert outcomes["Anomaly", "storefront"] == (
        AlertOutcome.JOINED,
        "storefront calls checkout, within 10 min of INC-1",
    )
    assert outcomes["InstanceErrors", "checkout"][1].startswith("same instance checkout-2")
    assert desk.kinds().count("alert joined") == 2
    assert {"incident opened", "report joined", "change linked", "suspects ranked", "incident triaged"} <= {
        *desk.kinds()
    }
    with desk.store.reading() as tx:
        assert verify_chain(tx.timeline.entries()) == []


@pytest.mark.parametrize(("promoted_at", "suspected"), [(-30.0, None), (30.0, "change-1"), (-95.0, "change-1")])
def test_a_change_that_a_fix_had_taken_back_before_the_onset_is_not_suspected(
    desk: Desk, promoted_at: float, suspected: str | None
) -> None:
    when = T0 + timedelta(seconds=promoted_at)
    fix = Fix(
        id="FIX-1",
        state=FixState.PROMOTED,
        incident="INC-0",
        service="checkout",
        instance="checkout-2",
        repository="/shop",
        file="services/checkout-2.yaml",
        bad_commit="abc1234def5678",
        diff="",
        created_at=when,
        updated_at=when,
    )
    with desk.store.writing() as tx:
        tx.fixes.add(fix)
    desk.send(CHANGE, InboxKind.CHANGE, id="change-1")
    desk.send(alert("Anomaly", signal="instance-error-ratio", value=0.61, **BAD_INSTANCE))
    desk.drain()
    assert desk.incident().suspects[0].node == "checkout-2"
    assert desk.incident().accused_change == suspected


def test_trouble_that_is_not_related_opens_its_own_incident(desk: Desk) -> None:
    desk.send(alert(**BAD_INSTANCE))
    desk.send(alert(service="warehouse", instance="warehouse-1"))
    desk.drain()
    assert [incident.service for incident in desk.incidents()] == ["checkout", "warehouse"]


def test_draining_again_changes_nothing(desk: Desk) -> None:
    desk.send(alert(**BAD_INSTANCE))
    desk.drain()
    before = (desk.incident(), desk.alerts(), desk.kinds())
    assert desk.drain() == []
    desk.send(alert(**BAD_INSTANCE))  # the same episode, sent again
    assert desk.drain() == []
    assert (desk.incident(), desk.alerts(), desk.kinds()) == before


def test_a_poison_item_is_kept_with_its_error_and_stops_nobody(desk: Desk) -> None:
    desk.send({"labels": {"service": "checkout"}}, id="poison")
    desk.send(alert(**BAD_INSTANCE))
    assert desk.drain() == ["INC-1"]
    with desk.store.reading() as tx:
        poison = tx.inbox.get("poison")
    assert poison is not None
    assert poison.processed_at == desk.now
    assert poison.error.startswith("labels.alertname is missing")


def test_an_item_that_breaks_triage_itself_is_set_aside(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import triage

    real = triage.place_alert

    def place(news: Alert, **known: Any) -> Any:
        if news.name == "Cursed":
            raise ZeroDivisionError("a fault of our own")
        return real(news, **known)

    monkeypatch.setattr(triage, "place_alert", place)
    desk.send(alert(**BAD_INSTANCE))
    desk.send(alert("Cursed", service="payment"), id="cursed")
    desk.send(alert(service="storefront"))
    assert desk.drain() == ["INC-1"]
    assert [a.outcome for a in desk.alerts()] == [AlertOutcome.OPENED, AlertOutcome.JOINED]
    with desk.store.reading() as tx:
        cursed = tx.inbox.get("cursed")
    assert cursed is not None
    assert cursed.error == "triage failed: ZeroDivisionError: a fault of our own"


def test_a_resolved_alert_that_was_never_heard_firing_opens_nothing(desk: Desk) -> None:
    desk.send(alert(**BAD_INSTANCE, ends=30))
    assert desk.drain() == []
    (late,) = desk.alerts()
    assert (late.outcome, late.incident) == (AlertOutcome.WAITING, None)
    assert "nothing to open" in late.outcome_reason


def test_a_resolved_notice_keeps_the_outcome_and_goes_on_the_timeline(desk: Desk) -> None:
    desk.send(alert(**BAD_INSTANCE))
    desk.drain()
    desk.send(alert(**BAD_INSTANCE, ends=40))
    desk.drain()
    (known,) = desk.alerts()
    assert (known.status, known.outcome) == (AlertStatus.RESOLVED, AlertOutcome.OPENED)
    assert desk.kinds()[-1] == "alert resolved"


def test_a_sender_without_start_resolves_the_episode_that_fires(desk: Desk) -> None:
    payload = alert(**BAD_INSTANCE)
    del payload["startsAt"]
    desk.send(payload)
    desk.drain()
    desk.now += timedelta(seconds=30)
    desk.send({**payload, "endsAt": desk.now.isoformat()})
    desk.drain()
    assert [a.status for a in desk.alerts()] == [AlertStatus.RESOLVED]


def test_two_waiting_reports_on_what_users_see_open_an_incident_and_one_does_not(desk: Desk) -> None:
    desk.send({"text": "blank page", "service": "storefront"}, InboxKind.REPORT)
    assert desk.drain() == []
    desk.send({"text": "cannot log in", "service": "storefront"}, InboxKind.REPORT)
    assert desk.drain() == ["INC-1"]
    with desk.store.reading() as tx:
        assert [report.incident for report in tx.reports.find()] == ["INC-1", "INC-1"]
    assert desk.incident().opened_by == "report"


def test_a_waiting_report_joins_the_incident_that_opens_later(desk: Desk) -> None:
    desk.send({"text": "cannot pay", "service": "storefront"}, InboxKind.REPORT)
    desk.drain()
    desk.send(alert(**BAD_INSTANCE))
    desk.drain()
    with desk.store.reading() as tx:
        assert [report.incident for report in tx.reports.find()] == ["INC-1"]


def test_a_change_that_arrives_late_is_linked_and_lifts_its_suspect(desk: Desk) -> None:
    desk.send(alert(**BAD_INSTANCE))
    desk.drain()
    before = desk.incident().suspects[0].score
    desk.send(CHANGE, InboxKind.CHANGE, id="change-1")
    assert desk.drain() == ["INC-1"]
    assert desk.incident().changes == ("change-1",)
    assert desk.incident().suspects[0].score > before


def resolve(desk: Desk) -> None:
    with desk.store.writing() as tx:
        incident = tx.incidents.get("INC-1")
        assert incident is not None
        tx.incidents.put(move_incident(incident, IncidentState.RESOLVED, now=desk.now, by="test", why="mended")[0])


@pytest.mark.parametrize(("minutes", "reopens"), [(3, True), (30, False)])
def test_trouble_that_comes_back_soon_reopens_its_incident(desk: Desk, minutes: int, reopens: bool) -> None:
    desk.send(alert(**BAD_INSTANCE))
    desk.drain()
    desk.send(alert(**BAD_INSTANCE, ends=50))
    desk.drain()
    resolve(desk)
    desk.now += timedelta(minutes=minutes)
    desk.send(alert(**BAD_INSTANCE, at=60 + minutes * 60))
    assert desk.drain() == ["INC-1" if reopens else "INC-2"]
    assert desk.incident().reopened == (1 if reopens else 0)
    assert desk.incident().state is (IncidentState.TRIAGED if reopens else IncidentState.RESOLVED)


def come_back(desk: Desk, instance: str) -> float:
    """The trouble of checkout-2, by a change, is over; three minutes later one of `instance` begins, by another."""
    desk.send(CHANGE, InboxKind.CHANGE, id="change-1")
    desk.send(alert(**BAD_INSTANCE, value=1.0))
    desk.drain()
    desk.send(alert(**BAD_INSTANCE, ends=50, value=1.0))
    desk.drain()
    resolve(desk)
    desk.now += timedelta(minutes=4)
    began = (desk.now - T0).total_seconds() - 60
    change = {
        **CHANGE,
        "instance": instance,
        "at": (T0 + timedelta(seconds=began - 20)).isoformat(),
        "commit": "def5678",
    }
    desk.send(change, InboxKind.CHANGE, id="change-2")
    desk.send(alert(service="checkout", instance=instance, at=began, value=0.4))
    assert desk.drain() == ["INC-1"]
    return began


def test_what_comes_back_elsewhere_accuses_who_fails_now_and_the_change_before_it(desk: Desk) -> None:
    """Judged by the old onset, the instance that was well again was isolated, and the one that failed went on."""
    began = come_back(desk, "checkout-1")
    incident = desk.incident()
    assert incident.reopened == 1 and incident.onset_at == T0
    assert incident.trouble_at == T0 + timedelta(seconds=began)
    assert [suspect.node for suspect in incident.suspects] == ["checkout-1"]
    assert incident.accused_change == "change-2" and incident.changes == ("change-1", "change-2")
    desk.send(alert(**BAD_INSTANCE, ends=50, value=1.0))  # told again, long over
    desk.drain()
    assert [suspect.node for suspect in desk.incident().suspects] == ["checkout-1"]
    with desk.store.reading() as tx:
        ranked = rank_candidates(desk.incident(), tx.changes.find())
    assert ranked[0].commit == "def5678", "whose undo is tried first"


def test_the_trouble_that_came_back_begins_with_its_earliest_alert(desk: Desk) -> None:
    began = come_back(desk, "checkout-1")
    desk.send(alert(service="checkout", instance="checkout-3", at=began - 10, value=0.4))
    desk.send(alert(name="Other", service="checkout", instance="checkout-2", at=40, ends=55, value=1.0))
    desk.drain()
    assert desk.incident().trouble_at == T0 + timedelta(seconds=began - 10), "what was over before does not count"
    assert {suspect.node for suspect in desk.incident().suspects} == {"checkout-1", "checkout-3"}


def test_what_never_ended_is_the_same_trouble_when_its_incident_reopens(desk: Desk) -> None:
    """Somebody resolved it too early: whoever was accused is accused still."""
    desk.send(CHANGE, InboxKind.CHANGE, id="change-1")
    desk.send(alert(**BAD_INSTANCE, value=1.0))
    desk.drain()
    resolve(desk)
    desk.now += timedelta(minutes=1)
    desk.send(alert(service="checkout", instance="checkout-1", at=30, value=0.4))
    assert desk.drain() == ["INC-1"]
    incident = desk.incident()
    assert incident.reopened == 1 and incident.trouble_at == T0 and incident.accused_change == "change-1"


def test_an_incident_whose_alerts_are_all_quiet_is_resolved_by_itself(desk: Desk) -> None:
    desk.send(alert(**BAD_INSTANCE))
    desk.drain()
    desk.send(alert(**BAD_INSTANCE, ends=50))
    desk.drain()
    assert desk.incident().state is IncidentState.TRIAGED
    desk.now += QUIET_TIME
    assert desk.drain() == ["INC-1"]
    assert desk.incident().state is IncidentState.RESOLVED


def test_how_long_it_must_be_quiet_is_configured(desk: Desk) -> None:
    desk.grouping = Grouping(quiet=timedelta(seconds=20))
    desk.send(alert(**BAD_INSTANCE))
    desk.send(alert(**BAD_INSTANCE, ends=50))
    desk.drain()
    desk.now += timedelta(seconds=9)  # the alert ended 10 s before
    assert desk.drain() == [] and desk.incident().state is IncidentState.TRIAGED
    desk.now += timedelta(seconds=1)
    assert desk.drain() == ["INC-1"] and desk.incident().state is IncidentState.RESOLVED


def test_silence_does_not_resolve_an_incident_with_a_linked_change(desk: Desk) -> None:
    desk.send(CHANGE, InboxKind.CHANGE)
    desk.send(alert(**BAD_INSTANCE))
    desk.drain()
    desk.send(alert(**BAD_INSTANCE, ends=50))
    desk.drain()
    desk.now += timedelta(hours=1)
    assert desk.drain() == []
    assert desk.incident().state is IncidentState.TRIAGED


NODES = [(s.name, i.name) for s in SHOP.services.values() for i in s.instances]
EPISODES = st.builds(
    lambda node, at, ends: alert(at=at, ends=None if ends is None else at + ends, service=node[0], instance=node[1]),
    st.sampled_from(NODES),
    st.integers(0, 50),
    st.none() | st.integers(1, 9),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EPISODES, min_size=1, max_size=10), st.randoms(use_true_random=False), st.data())
def test_order_and_repetition_change_no_outcome_and_no_alert_is_lost(
    episodes: list[dict[str, Any]], random: Any, data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(episodes), max_size=5))
    shuffled = [*episodes, *again]
    random.shuffle(shuffled)
    one, other = Desk(SHOP), Desk(SHOP)
    for payload in episodes:
        one.send(payload)
    for payload in shuffled:
        other.send(payload)
    one.drain()
    other.drain()
    assert all(a.outcome is not None and a.outcome_reason for a in one.alerts())
    sent = {(json.dumps(p["labels"], sort_keys=True), p["startsAt"]) for p in episodes}
    assert len(one.alerts()) == len(sent)

    def outcomes(desk: Desk) -> list[tuple[Any, ...]]:
        return sorted((a.id, a.status, a.outcome, a.outcome_reason, a.incident or "") for a in desk.alerts())

    assert outcomes(one) == outcomes(other)
    assert [(i.id, i.title, i.suspects) for i in one.incidents()] == [
        (i.id, i.title, i.suspects) for i in other.incidents()
    ]


def test_severity_follows_the_users_up_and_down_and_says_why_on_the_timeline(desk: Desk) -> None:
    """The label says critical all the time; what users feel decides."""
    facing = {"service": "storefront"}
    desk.send({**alert("Anomaly", signal="shop-errors", value=0.08, **facing), "annotations": errors(0.08)})
    desk.drain()
    first = desk.incident()
    assert first.severity == "critical"  # by its label: users reach it
    mild = {"alertname": "Mild", "severity": "warning", "signal": "error-ratio", **facing}
    desk = Desk(SHOP)
    desk.send({"labels": mild, "annotations": errors(0.08), "startsAt": T0.isoformat()}, id="a")
    desk.drain()
    assert desk.incident().severity == "major"
    assert desk.incident().impact.startswith("8.0 % of requests fail (expected 1.0 %) at storefront since 12:00:00 UTC")
    desk.send({"labels": mild, "annotations": errors(0.7), "startsAt": T0.isoformat()}, id="b")
    desk.drain()
    assert desk.incident().severity == "critical"
    desk.send({"labels": mild, "annotations": errors(0.02), "startsAt": T0.isoformat()}, id="c")
    desk.drain()
    assert desk.incident().severity == "critical"  # not yet: it may come back
    desk.now += timedelta(minutes=2)
    assert desk.drain() == ["INC-1"]
    eased = desk.incident()
    assert (eased.severity, eased.worst_severity, eased.eases_since) == ("minor", "critical", None)
    with desk.store.reading() as tx:
        said = [entry.text for entry in tx.timeline.of("INC-1") if entry.kind == "severity"]
    assert [text.split(":")[0] for text in said] == ["major", "critical", "minor"]
    assert said[-1].startswith("minor: for 2 min no more than this")


def errors(value: float) -> dict[str, str]:
    return {"value": str(value), "expected": "0.01"}


def test_a_storm_is_one_incident_with_few_lines_and_every_alert_keeps_its_reason(desk: Desk) -> None:
    for n in range(300):
        desk.send(alert(f"Check{n}", service="checkout", instance=f"checkout-{n % 3 + 1}"))
    desk.drain()
    assert len(desk.incidents()) == 1
    assert all(a.outcome_reason for a in desk.alerts())
    assert desk.kinds().count("alert joined") == 19
    desk.now += timedelta(seconds=10)
    desk.drain()
    with desk.store.reading() as tx:
        last = tx.timeline.of("INC-1")[-1]
    assert last.text.startswith("280 alerts joined within 10 s; one of them: Check")
    tally = desk.incident().tally
    assert tally is not None and (tally.alerts, tally.firing, dict(tally.gathered)) == (300, 300, {})


# ---- floods of reports --------------------------------------------------------------------------------------------


def flood(desk: Desk, texts: list[str], **more: str) -> None:
    for number, text in enumerate(texts):
        desk.send({"text": text, "service": "storefront", "reporter": f"user{number}", **more}, InboxKind.REPORT)
    for _ in range(len(texts) // 500 + 1):
        desk.drain()


def test_a_flood_of_reports_is_counted_at_the_incident_and_not_listed(desk: Desk) -> None:
    """An incident page with ten thousand reports would help nobody; the count is kept."""
    desk.send({"text": "cannot pay", "service": "storefront", "reporter": "ann"}, InboxKind.REPORT)
    desk.send({"text": "blank page", "service": "storefront", "reporter": "bob"}, InboxKind.REPORT)
    desk.drain()
    flood(desk, [f"it is broken since {chr(97 + n % 26)}o{chr(97 + n // 26)}a day" for n in range(600)])
    with desk.store.reading() as tx:
        shown = tx.reports.find({"incident": "INC-1"})
        assert len(shown) <= MOST_SHOWN
        assert len(shown) + sum(report.copies for report in shown) == 602
        joined = [entry for entry in tx.timeline.of("INC-1") if entry.kind == "report joined"]
        assert len(joined) <= MOST_SHOWN


def test_gibberish_joins_nothing(desk: Desk) -> None:
    desk.send({"text": "cannot pay", "service": "storefront", "reporter": "ann"}, InboxKind.REPORT)
    desk.send({"text": "blank page", "service": "storefront", "reporter": "bob"}, InboxKind.REPORT)
    desk.drain()
    flood(desk, ["xkcdqwrtz pqrstvw"] * 5)
    with desk.store.reading() as tx:
        assert tx.reports.count({"incident": "INC-1"}) == 2


def test_one_sender_opens_nothing_however_often(desk: Desk) -> None:
    flood(desk, [f"checkout is broken, error {n}" for n in range(60)], sender="mark-of-one-address")
    with desk.store.reading() as tx:
        assert tx.incidents.count() == 0


def test_a_report_without_a_service_gets_one_from_its_words(desk: Desk) -> None:
    desk.send({"text": "the storefront is blank", "reporter": "ann"}, InboxKind.REPORT)
    desk.drain()
    with desk.store.reading() as tx:
        assert [report.service for report in tx.reports.find()] == ["storefront"]


def test_incidents_of_an_older_quell_are_counted_and_found_by_what_comes_next(desk: Desk) -> None:
    """A record from before tallies and footprints: nothing in it may become invisible to triage."""
    desk.send(alert(**BAD_INSTANCE))
    desk.drain()
    with desk.store.writing() as tx:
        tx.incidents.put(replace(desk.incident(), tally=None, due_at=None))
        for step in tx.footprints.find():
            tx.footprints.delete(step.id)
        tx.documents.delete("routing")
    desk.send(alert("Slow", service="checkout", at=10))
    assert desk.drain() == ["INC-2", "INC-1"]
    assert desk.incident("INC-2").merged_into == "INC-1"
    assert {a.incident for a in desk.alerts()} == {"INC-1"}
    tally = desk.incident().tally
    assert tally is not None and (tally.alerts, tally.firing) == (2, 2)
    assert desk.drain() == []
