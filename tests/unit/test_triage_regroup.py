"""People merge and split incidents: everything moves, both timelines say so, nothing undoes it behind their back."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from quell.incidents.alert import AlertOutcome
from quell.incidents.errors import InvalidInput, QuellError, Refused
from quell.incidents.inbox import InboxItem, InboxKind
from quell.incidents.incident import INCIDENT_TRANSITIONS, IncidentState
from quell.incidents.mitigation import BlastRadius, Mitigation, MitigationId, MitigationState, Plan
from tasks.intake import drain_inbox
from tasks.regroup import merge_incidents, split_incident
from tests.triage_desk import T0, Desk, catalog, service

pytestmark = pytest.mark.unit

APART = catalog(service("checkout", 0), service("warehouse", 0))


def fire(desk: Desk, name: str, service: str, at: int = 0) -> list[str]:
    start = (T0 + timedelta(seconds=at)).isoformat()
    return deliver(desk, {"labels": {"alertname": name, "service": service}, "startsAt": start})


def deliver(desk: Desk, payload: dict[str, Any], kind: InboxKind = InboxKind.ALERT) -> list[str]:
    desk.send(payload, kind)
    return desk.drain()


@pytest.fixture
def desk() -> Desk:
    """INC-1 of checkout with two alerts, INC-2 of warehouse with one and a report."""
    desk = Desk(APART)
    fire(desk, "Errors", "checkout")
    fire(desk, "Slow", "checkout", at=5)
    fire(desk, "Errors", "warehouse", at=10)
    deliver(desk, {"text": "parcel is lost", "service": "warehouse"}, InboxKind.REPORT)
    return desk


def test_everything_of_the_other_moves_and_both_timelines_say_so(desk: Desk) -> None:
    merge_incidents(desk.res, "INC-1", "INC-2", "dora", "one broken disk")
    kept, gone = desk.incident("INC-1"), desk.incident("INC-2")
    assert (gone.state, gone.merged_into) == (IncidentState.MERGED, "INC-1")
    assert kept.tally is not None
    assert (kept.tally.alerts, kept.tally.firing, dict(kept.tally.services)) == (3, 3, {"checkout": 2, "warehouse": 1})
    assert [(a.outcome, a.incident) for a in desk.alerts("INC-1")] == [
        (AlertOutcome.OPENED, "INC-1"),
        (AlertOutcome.JOINED, "INC-1"),
        (AlertOutcome.JOINED, "INC-1"),
    ]
    moved = desk.alerts("INC-1")[2]
    assert moved.outcome_reason == "INC-2 was merged into INC-1: one broken disk"
    assert moved.history[-1].incident == "INC-2"
    with desk.store.reading() as tx:
        assert [report.incident for report in tx.reports.find()] == ["INC-1"]
    assert "incident merged" in desk.kinds("INC-1")
    assert desk.kinds("INC-2")[-1] == "incident merged"


def test_a_merged_incident_never_lives_again_and_news_of_its_alerts_reach_the_other(desk: Desk) -> None:
    merge_incidents(desk.res, "INC-1", "INC-2", "dora", "one broken disk")
    assert INCIDENT_TRANSITIONS[IncidentState.MERGED] == frozenset()
    assert fire(desk, "Slow", "warehouse", at=40) == ["INC-1"]
    desk.now += timedelta(minutes=1)
    over = {
        "labels": {"alertname": "Errors", "service": "warehouse"}, "status": "resolved",
        "startsAt": (T0 + timedelta(seconds=10)).isoformat(), "endsAt": desk.now.isoformat(),
    }  # fmt: skip
    assert deliver(desk, over) == ["INC-1"]
    tally = desk.incident("INC-1").tally
    assert tally is not None and (tally.alerts, tally.firing) == (4, 3)
    assert desk.incident("INC-2").state is IncidentState.MERGED


def test_a_merge_is_refused_while_a_mitigation_of_the_other_is_in_work(desk: Desk) -> None:
    radius = BlastRadius(service="warehouse", instances=(), capacity_share=0.0, capacity_left=1.0)
    plan = Plan(
        playbook="p", incident="INC-2", target="t", steps=(), undo=(), blast_radius=radius, evidence=(),
        needs_approval=True, approval_reason="", expires_after=timedelta(hours=1),
    )  # fmt: skip
    mitigation = Mitigation(
        id=MitigationId("MIT-1"), incident="INC-2", playbook="p", target="t", service="warehouse", plan=plan,
        plan_hash="h", state=MitigationState.AWAITING_APPROVAL, requested_by="quell", created_at=T0, updated_at=T0,
    )  # fmt: skip
    with desk.store.writing() as tx:
        tx.mitigations.put(mitigation)
    with pytest.raises(Refused, match=r"MIT-1 of INC-2 is awaiting_approval.*merge INC-1 into INC-2 instead"):
        merge_incidents(desk.res, "INC-1", "INC-2", "dora", "one disk")
    merge_incidents(desk.res, "INC-2", "INC-1", "dora", "one disk")
    assert desk.incident("INC-1").merged_into == "INC-2"


@pytest.mark.parametrize(("into", "other", "why"), [("INC-1", "INC-1", "into itself"), ("INC-2", "INC-3", "not in")])
def test_a_merge_that_makes_no_sense_is_refused(desk: Desk, into: str, other: str, why: str) -> None:
    with pytest.raises(QuellError, match=why):
        merge_incidents(desk.res, into, other, "dora", "because")


def test_who_regroups_says_why(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="the reason is missing"):
        merge_incidents(desk.res, "INC-1", "INC-2", "dora", " ")


def test_split_alerts_get_an_incident_of_their_own(desk: Desk) -> None:
    opener, slow = desk.alerts("INC-1")
    new = split_incident(desk.res, "INC-1", [opener.id], "dora", "two troubles")
    assert (new.id, new.opened_by, new.state) == ("INC-3", "dora", IncidentState.TRIAGED)
    assert [(a.id, a.outcome) for a in desk.alerts("INC-3")] == [(opener.id, AlertOutcome.OPENED)]
    assert [(a.id, a.outcome) for a in desk.alerts("INC-1")] == [(slow.id, AlertOutcome.OPENED)]
    old, tally = desk.incident("INC-1"), desk.incident("INC-1").tally
    assert tally is not None and (tally.alerts, tally.firing) == (1, 1)
    assert (old.kept_apart, new.kept_apart) == (("INC-3",), ("INC-1",))
    assert "incident split" in desk.kinds("INC-1")
    assert desk.kinds("INC-3")[0] == "incident opened"


def test_what_a_person_split_is_not_joined_again_by_what_comes_next(desk: Desk) -> None:
    split_incident(desk.res, "INC-1", [desk.alerts("INC-1")[0].id], "dora", "two troubles")
    fire(desk, "Third", "checkout", at=50)
    assert {desk.incident(id).state for id in ("INC-1", "INC-3")} == {IncidentState.TRIAGED}
    merge_incidents(desk.res, "INC-1", "INC-3", "eve", "one after all")
    assert len(desk.alerts("INC-1")) == 3


def test_a_split_that_leaves_nothing_is_refused(desk: Desk) -> None:
    with pytest.raises(Refused, match="nothing of INC-1 would be left"):
        split_incident(desk.res, "INC-1", [a.id for a in desk.alerts("INC-1")], "dora", "why")
    with pytest.raises(Refused, match="alert x is not in INC-1"):
        split_incident(desk.res, "INC-1", ["x"], "dora", "why")


def test_incidents_that_an_alert_connects_become_one_by_themselves_unless_somebody_works_on_both(desk: Desk) -> None:
    shop = catalog(service("shop", 0, "checkout", "warehouse"), *APART.services.values())
    res = replace(desk.res, config=replace(desk.res.config, catalog=shop))
    start = {"labels": {"alertname": "Errors", "service": "shop"}, "startsAt": T0.isoformat()}
    item = InboxItem(id="shop", kind=InboxKind.ALERT, source="test", payload=start, received_at=desk.now)
    with desk.store.writing() as tx:
        for id in ("INC-1", "INC-2"):
            tx.incidents.put(replace(desk.incident(id), acknowledged_at=desk.now))
    desk.store.receive([item])
    assert drain_inbox(res) == ["INC-1"]
    assert desk.incident("INC-2").state is IncidentState.TRIAGED
    with desk.store.writing() as tx:
        tx.incidents.put(replace(desk.incident("INC-2"), acknowledged_at=None))
    later = {"labels": {"alertname": "Slow", "service": "shop"}, "startsAt": T0.isoformat()}
    desk.store.receive([replace(item, id="later", payload=later)])
    assert drain_inbox(res) == ["INC-1"]
    assert desk.incident("INC-2").merged_into == "INC-1"
