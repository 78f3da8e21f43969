"""Reminders of sign-offs and action items: derived, routed and dropped like every notification, each once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from quell.incidents.fix import FixState
from quell.incidents.guard_record import PROPOSED
from quell.incidents.incident import IncidentState
from quell.incidents.maintenance import Weekly
from quell.incidents.matcher import parse_matchers
from quell.incidents.notification import Notification, NotificationKind, NotificationState
from quell.ports import Store, Transaction
from quell.triage.notification_route import Notifying, PeopleMail, Receiver, Route
from tasks.guards import note_acceptance
from tasks.notify import queue_due
from tasks.notify_facts import is_still_asked
from tasks.outbox import receivers_with_work, take
from tasks.review_round import review_round
from tests.postmortem_room import FIX, GUARD, ONSET, Room, at

pytestmark = pytest.mark.integration
ROUTES = (
    Route(receivers=("shop-chat",), matchers=parse_matchers('kind="review", team="shop"')),
    Route(receivers=("platform-chat",), matchers=parse_matchers('kind="review", team="platform"')),
    Route(receivers=("oncall",)),
)


def notifying(**changes: object) -> Notifying:
    names = ("shop-chat", "platform-chat", "oncall")
    receivers = {name: Receiver(name=name, urls=("env:NOWHERE",)) for name in names}
    return Notifying(receivers=receivers, routes=ROUTES, **changes)  # type: ignore[arg-type]


@pytest.fixture
def room(every_store: Store, tmp_path: Path) -> Room:
    return Room(every_store, tmp_path, notifying=notifying()).open()


def asked(room: Room) -> list[tuple[str, str]]:
    """Receiver and words of what was queued about reviews, in the order in which it came."""
    queue_due(room.res)
    with room.store.reading() as tx:
        found = tx.notifications.find({"kind": NotificationKind.REVIEW}, order="created_at")
    return [(one.receiver, one.cause) for one in found]


def test_each_team_is_asked_by_its_own_route(room: Room) -> None:
    assert asked(room) == [
        ("shop-chat", "team shop is asked to read and sign the post-mortem until 2026-11-26"),
        ("platform-chat", "team platform is asked to read and sign the post-mortem until 2026-11-26"),
    ]
    parcel = take(room.res, "shop-chat", "me")
    assert parcel is not None
    assert parcel.message.title.startswith("Post-mortem INC-1: team shop is asked to read and sign")
    assert "https://quell.example/incidents/INC-1/postmortem" in parcel.message.text


def test_a_guard_that_nobody_accepts_is_reminded_of_as_often_as_a_signature(every_store: Store, tmp_path: Path) -> None:
    """And no more once it is accepted: a reminder that waits for the morning is dropped."""
    proposed = replace(GUARD, state=PROPOSED, accepted_by="", accepted_at=None)
    room = Room(every_store, tmp_path, notifying=notifying()).open(guard=proposed)
    room.sign("alice", "shop")
    room.sign("bob", "platform")
    reminded: list[int] = []
    for hours in range(0, 24 * 8, 4):
        room.now = at(400) + timedelta(hours=hours)
        if any("guard" in said for said in review_round(room.res)):
            assert not any("guard" in said for said in review_round(room.res)), "twice in one morning"
            reminded.append((room.now.date() - ONSET.date()).days)
    assert reminded == [2, 4, 7]
    assert [receiver for receiver, text in asked(room) if "guard" in text] == ["platform-chat"] * 3
    note_acceptance(room.res, "checkout-timeout", "carol", is_edited=False, commit="c0ffee")
    assert not any(is_still_asked(tx, room.res, one) for tx, one in guard_reminders(room))


def guard_reminders(room: Room) -> Iterator[tuple[Transaction, Notification]]:
    with room.store.reading() as tx:
        found = [one for one in tx.notifications.find() if one.subject == "INC-1/guard"]
        assert len(found) == 3
        yield from ((tx, one) for one in found)


def test_reminders_come_the_day_before_the_day_after_and_every_third_day(room: Room) -> None:
    """Rounds run every minute; each reminder is written once, however often they look."""
    reminded: list[tuple[int, int]] = []
    for hours in range(0, 24 * 14, 4):
        room.now = at(400) + timedelta(hours=hours)
        before = len(room.entries("review reminder"))
        review_round(room.res)
        review_round(room.res)
        if (count := len(room.entries("review reminder")) - before) > 0:
            reminded.append(((room.now.date() - ONSET.date()).days, count))
    assert reminded == [(2, 2), (4, 2), (7, 2), (10, 2), (13, 4)]  # due on day 3; items on day 14, from the day before
    assert ("review reminder", "quell", "the sign-off of shop is due 2026-11-26") in room.entries()
    assert ("review reminder", "quell", "the sign-off of shop is overdue for 1 day") in room.entries()


def test_who_signs_is_reminded_no_more_and_what_was_queued_is_dropped(room: Room) -> None:
    room.now += timedelta(days=4)
    review_round(room.res)
    assert len(asked(room)) == 4
    room.sign("alice", "shop")
    while take(room.res, "shop-chat", "me") is not None:
        pass
    with room.store.reading() as tx:
        found = tx.notifications.find({"receiver": "shop-chat"})
    assert {one.state for one in found} == {NotificationState.OBSOLETE}
    room.now += timedelta(days=4)
    assert not any("sign-off of shop" in said for said in review_round(room.res))


def test_the_owner_of_an_action_item_is_told_in_person_where_people_can_be_told(room: Room) -> None:
    room.notifying = notifying(people=PeopleMail(url="env:NOWHERE"))
    room.act("alice", "add-action", text="Bound every timeout", owner="platform", due="2026-11-30")
    room.now += timedelta(days=14)
    review_round(room.res)
    words = asked(room)
    assert ("platform-chat", "INC-1/A3 (Bound every timeout; platform) is overdue for 7 days") in words
    told = [receiver for receiver, cause in words if "INC-1/A1" in cause]
    assert told == ["person:alice"] and "person:alice" in receivers_with_work(room.res)


def test_who_is_given_a_section_hears_of_it(room: Room) -> None:
    room.notifying = notifying(people=PeopleMail(url="env:NOWHERE"))
    room.act("alice", "assign", subject="lessons", owner="carol")
    assert asked(room)[-1] == ("person:carol", "section What we learned: carol looks after it")


def test_quiet_hours_hold_a_reminder_of_the_worst_incident(room: Room) -> None:
    """What is critical passes quiet hours because users suffer; a signature can wait for the morning."""
    always = Weekly(days=tuple(range(7)), start=time(0), end=time(23, 59), zone=ZoneInfo("UTC"))
    receivers = {name: replace(r, quiet_hours=always) for name, r in notifying().receivers.items()}
    room.notifying = replace(notifying(), receivers=receivers)
    asked(room)
    assert take(room.res, "shop-chat", "me") is None
    with room.store.reading() as tx:
        [held] = tx.notifications.find({"receiver": "shop-chat"})
    assert held.state is NotificationState.HELD and held.reason.startswith("quiet hours until")


def test_a_responder_that_was_away_for_days_still_tells_what_is_asked(room: Room) -> None:
    room.now += timedelta(days=2)
    assert [receiver for receiver, _ in asked(room)] == ["shop-chat", "platform-chat"]


def test_a_guard_that_comes_after_the_signatures_closes_the_incident(every_store: Store, tmp_path: Path) -> None:
    room = Room(every_store, tmp_path).open(fix=replace(FIX, state=FixState.CANARY))
    room.sign("alice", "shop")
    room.sign("bob", "platform")
    review_round(room.res)
    assert room.state is IncidentState.REVIEWED
    room.now += timedelta(minutes=5)
    with room.store.writing() as tx:
        tx.fixes.put(replace(FIX, updated_at=room.now - timedelta(minutes=1)))
    assert "INC-1 is closed" in review_round(room.res)
    assert "guards/checkout-timeout.yaml" in room.text("guards")


def test_the_post_mortem_takes_up_what_the_record_learns_later(room: Room) -> None:
    room.now += timedelta(minutes=5)
    with room.store.writing() as tx:
        tx.fixes.put(
            replace(FIX, canary_result="0 of 9000 requests failed", updated_at=room.now - timedelta(minutes=1))
        )
    assert review_round(room.res) == ["INC-1: the post-mortem has taken up what changed"]
    assert "0 of 9000 requests failed" in room.text("cause")
    assert review_round(room.res) == []
