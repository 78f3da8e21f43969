"""Work on a post-mortem over every store: edits, conflicts, signatures, waivers, and what it takes to close."""

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from quell.incidents.errors import Conflict, InvalidInput, NotFound, Refused
from quell.incidents.fix import FixState
from quell.incidents.guard_record import PROPOSED
from quell.incidents.incident import IncidentState
from quell.incidents.threshold import ThresholdState, ThresholdVersion
from quell.ports import Store
from quell.prevention.review_act import ReviewDetails
from tasks.guards import note_acceptance
from tasks.review import write_review_of
from tasks.review_desk import act_on_review
from tasks.review_overdue import list_duties, list_overdue
from tasks.review_round import review_round
from tests.postmortem_room import FIX, GUARD, INCIDENT, SECRET, SECRET_VARIABLE, Room

pytestmark = pytest.mark.integration


@pytest.fixture
def room(every_store: Store, tmp_path: Path) -> Room:
    return Room(every_store, tmp_path).open()


def test_a_resolved_incident_is_drafted_assigned_and_put_to_its_teams(room: Room) -> None:
    """Teams come from the services involved and from the people who took part; each is asked once."""
    assert room.state is IncidentState.REVIEWED
    assert [s.team for s in room.review.sign_offs] == ["shop", "platform"]
    assert [(s.id, s.assignee) for s in room.review.sections if s.assignee] == [
        ("impact", "shop"),
        ("detection", "shop"),
        ("helped", "shop"),
        ("cause", "platform"),
        ("guards", "platform"),
        ("lessons", "shop"),
    ]
    asked = room.entries("review asked")
    assert [text for _, _, text in asked] == [
        "team shop is asked to read and sign the post-mortem until 2026-11-26",
        "team platform is asked to read and sign the post-mortem until 2026-11-26",
    ]
    write_review_of(room.res, "INC-1")
    assert room.entries("review asked") == asked


def test_the_draft_tells_what_users_saw_how_it_was_found_and_what_helped(room: Room) -> None:
    text = room.review.markdown
    for told in (
        "Up to 36.6 % of users' requests failed",
        "of the error budget of 30 days",
        "Who was affected: customers who pay by card cannot finish their order.",
        "> my card is refused",
        "| InstanceErrors | alertmanager | 11 s | 3 |",
        "The first user reported it 1 min 10 s after the onset, when it was known already.",
        "isolate-bad-instance on checkout-2 (MIT-1) helped: errors of users fell from 35 % to 0.2 %.",
        "shed-load on checkout-2 (MIT-2) did not help: errors of users stayed at 35 %.",
        "guards/checkout-timeout.yaml",
        "## Threshold changes",
        "data:image/svg+xml",
    ):
        assert told in text, told


def test_prose_names_people_by_role_and_team(room: Room) -> None:
    """Sign-offs and action items name people, because they promise; what happened names nobody."""
    prose = "\n".join(section.text for section in room.review.sections)
    for name in ("alice", "Alice", "bob", "Bob", "root", "@shop.example"):
        assert name not in prose, name
    assert "an approver of team platform lowered the timeout" in prose
    assert "a person saw that the cause is removed" in prose


def test_an_edit_is_kept_and_said_on_the_timeline_with_its_difference(room: Room) -> None:
    room.act("carol", "edit", subject="lessons", version=1, text="The timeout had no lower bound.\r\n")
    assert room.text("lessons") == "The timeout had no lower bound."
    assert "## What we learned\n\nThe timeout had no lower bound." in room.review.markdown
    assert room.entries("review edited") == [("review edited", "carol", "section What we learned edited, version 2")]
    with room.store.reading() as tx:
        [entry] = [e for e in tx.timeline.of("INC-1") if e.kind == "review edited"]
    assert "+The timeout had no lower bound." in entry.evidence["diff"] and entry.at == room.now


def test_the_second_of_two_edits_at_once_is_a_conflict_and_nothing_is_lost(room: Room) -> None:
    room.act("alice", "edit", subject="cause", version=1, text="first")
    with pytest.raises(Conflict, match=r"changed by alice at .* nothing of either is lost"):
        room.act("bob", "edit", subject="cause", version=1, text="second")
    assert room.text("cause") == "first"
    room.act("bob", "edit", subject="cause", version=2, text="first and second")
    assert room.text("cause") == "first and second"


def test_many_people_at_once_write_every_comment_and_one_edit(room: Room) -> None:
    """Ten threads on one version: one edit wins, nine are told, all comments and a whole chain are there."""
    conflicts: list[str] = []

    def write(number: int) -> None:
        room.act("carol", "comment", subject="impact", text=f"remark {number}")
        try:
            room.act("carol", "edit", subject="impact", version=1, text=f"text {number}")
        except Conflict as error:
            conflicts.append(str(error))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(conflicts) == 9 and room.version("impact") == 2
    assert sorted(c.text for c in room.review.comments) == sorted(f"remark {n}" for n in range(10))
    assert len({c.id for c in room.review.comments}) == 10
    assert len(room.entries("review edited")) == 1


def test_rewriting_keeps_what_people_did_and_says_that_the_record_has_news(room: Room) -> None:
    room.act("alice", "edit", subject="cause", version=1, text="A limit without a lower bound.")
    room.act("alice", "assign", subject="lessons", owner="carol")
    room.act("alice", "comment", subject="", text="who talks to support?")
    room.act("alice", "add-action", text="Bound every timeout", owner="platform", due="2026-12-05")
    with room.store.writing() as tx:
        tx.fixes.put(replace(FIX, canary_result="0 of 9000 failed"))
    write_review_of(room.res, "INC-1")
    cause, lessons = room.review.section("cause"), room.review.section("lessons")
    assert cause is not None and lessons is not None
    assert cause.text == "A limit without a lower bound." and cause.has_news and "0 of 9000" in cause.draft
    assert lessons.assignee == "carol" and len(room.review.comments) == 1
    assert [item.text for item in room.review.action_items][-1] == "Bound every timeout"
    room.act("bob", "take-draft", subject="cause", version=cause.version)
    assert "0 of 9000" in room.text("cause")


def test_the_last_signature_closes_what_has_a_guard(room: Room) -> None:
    room.sign("alice", "shop")
    assert room.state is IncidentState.REVIEWED
    assert room.sign("bob", "platform") == "INC-1 is closed"
    assert room.state is IncidentState.CLOSED
    [(_, by, why)] = room.entries("incident closed")
    assert by == "bob"
    assert why == (
        "signed by shop (alice), platform (bob); guarded by guards/checkout-timeout.yaml; 2 action items open"
    )


def test_without_a_guard_signatures_do_not_close_until_somebody_waives_it_with_a_reason(
    every_store: Store, tmp_path: Path
) -> None:
    room = Room(every_store, tmp_path).open(fix=None)
    room.sign("alice", "shop")
    room.sign("bob", "platform")
    assert room.state is IncidentState.REVIEWED
    with pytest.raises(Conflict, match="cannot be closed yet: there is no guard"):
        room.act("alice", "close")
    with pytest.raises(InvalidInput, match="say in 15 to 500 why no check"):
        room.act("alice", "waive-guard", text="not needed")
    why = "a provider's outage: the new probe of its status page tells us instead"
    assert room.act("alice", "waive-guard", text=why) == "INC-1 is closed"
    assert ("review guard waived", "alice", f"closed without a guard: {why}") in room.entries()
    assert f"Closed without a guard, as alice decided on 2026-11-23: {why}" in room.review.markdown


def test_a_guard_that_is_missing_is_overdue_with_the_last_signature(every_store: Store, tmp_path: Path) -> None:
    """Or an incident that everybody has signed would stay open and nobody would hear of it."""
    room = Room(every_store, tmp_path).open(fix=None)
    room.sign("alice", "shop")
    room.sign("bob", "platform")
    room.now += timedelta(days=5)
    with room.store.reading() as tx:
        assert [(d.what, d.who, d.days) for d in list_overdue(tx, room.now.date())] == [("guard", "platform", 2)]
    room.act("alice", "waive-guard", text="the provider's outage cannot be caught by a check of ours")
    with room.store.reading() as tx:
        assert list_overdue(tx, room.now.date()) == ()


PROPOSED_GUARD = replace(GUARD, state=PROPOSED, accepted_by="", accepted_at=None)


def test_a_proven_guard_closes_nothing_before_a_person_has_accepted_it(every_store: Store, tmp_path: Path) -> None:
    """What nobody has read may ask too much, or nothing: it is due like a signature, and said everywhere."""
    room = Room(every_store, tmp_path).open(guard=PROPOSED_GUARD)
    room.sign("alice", "shop")
    room.sign("bob", "platform")
    assert room.state is IncidentState.REVIEWED
    with pytest.raises(Conflict, match="guard checkout-timeout is proven, but nobody has accepted it"):
        room.act("alice", "close")
    room.now += timedelta(days=5)
    with room.store.reading() as tx:
        (duty,) = list_overdue(tx, room.now.date())
    assert duty.in_words == (
        "INC-1 (accept guard checkout-timeout, or waive it with a reason; platform) is overdue for 2 days"
    )
    note_acceptance(room.res, "checkout-timeout", "carol", is_edited=False, commit="c0ffee")
    assert "INC-1 is closed" in review_round(room.res)
    assert room.state is IncidentState.CLOSED


def test_a_guard_that_cannot_be_accepted_is_waived_by_name_and_with_a_reason(
    every_store: Store, tmp_path: Path
) -> None:
    room = Room(every_store, tmp_path).open(guard=PROPOSED_GUARD)
    room.sign("alice", "shop")
    room.sign("bob", "platform")
    with pytest.raises(InvalidInput, match="say in 15 to 500 why the guard cannot be accepted"):
        room.act("alice", "waive-guard", text="no")
    why = "the file goes away next week with the old checkout"
    assert room.act("alice", "waive-guard", text=why) == "INC-1 is closed"
    assert ("review guard waived", "alice", f"closed without an accepted guard: {why}") in room.entries()


def test_an_accepted_guard_leaves_nothing_to_waive(room: Room) -> None:
    with pytest.raises(Conflict, match="has an accepted guard"):
        room.act("alice", "waive-guard", text="it would be easier without it, I think")


def test_a_guard_counts_only_with_a_fix_that_stands(every_store: Store, tmp_path: Path) -> None:
    """The revert of a fix takes its guards out of the repository."""
    room = Room(every_store, tmp_path).open(fix=replace(FIX, state=FixState.REVERTED))
    room.sign("alice", "shop")
    room.sign("bob", "platform")
    assert room.state is IncidentState.REVIEWED


def test_a_waiver_alone_closes_nothing(every_store: Store, tmp_path: Path) -> None:
    room = Room(every_store, tmp_path).open(fix=None)
    room.act("alice", "waive-guard", text="the provider's outage cannot be caught by a check of ours")
    assert room.state is IncidentState.REVIEWED
    with pytest.raises(Conflict, match="shop has not signed"):
        room.act("alice", "close")


def test_a_guard_that_was_never_proven_is_none(every_store: Store, tmp_path: Path) -> None:
    unproven = replace(FIX, guard_proof="")
    room = Room(every_store, tmp_path).open(fix=unproven)
    room.sign("alice", "shop")
    room.sign("bob", "platform")
    assert room.state is IncidentState.REVIEWED


def test_a_signature_is_for_what_was_seen_and_an_edit_asks_again(room: Room) -> None:
    with pytest.raises(Conflict, match="edited while you read it"):
        room.act("alice", "sign", subject="shop", version=room.review.edition + 1)
    room.sign("alice", "shop")
    room.act("bob", "edit", subject="lessons", version=1, text="Timeouts need bounds.")
    assert [s.person for s in room.review.sign_offs] == [None, None]
    assert room.entries("review edited")[-1][2].endswith("asked to sign again: shop")
    asked = [text for _, _, text in room.entries("review asked")]
    assert len(asked) == 3 and asked[-1].startswith("team shop is asked")


def test_only_the_team_signs_and_may_take_it_back(room: Room) -> None:
    with pytest.raises(Refused, match="carol is of team platform and cannot sign for shop"):
        room.sign("carol", "shop")
    with pytest.raises(Refused, match="vera has viewer, it needs any role but viewer"):
        room.sign("vera", "shop")
    room.sign("carol", "platform")
    room.act("bob", "withdraw", subject="platform", text="the impact is larger")
    assert room.review.sign_offs[1].person is None
    with pytest.raises(NotFound, match="asks no sign-off of team 'finance'"):
        room.sign("alice", "finance")


def test_a_closed_post_mortem_stays_as_it_was_signed_and_its_follow_ups_go_on(room: Room) -> None:
    room.sign("alice", "shop")
    room.sign("bob", "platform")
    signed = room.review.markdown
    with pytest.raises(Conflict, match="INC-1 is closed: edit takes an incident that is reviewed"):
        room.act("alice", "edit", subject="lessons", version=1, text="later")
    write_review_of(room.res, "INC-1")
    assert room.review.markdown == signed
    room.act("bob", "finish-action", subject="INC-1/A1")
    assert [item.done_by for item in room.review.action_items] == ["bob", ""]


def test_an_incident_that_came_back_is_signed_anew(room: Room) -> None:
    """What was signed told of another end."""
    room.sign("alice", "shop")
    with room.store.writing() as tx:
        incident = tx.incidents.get("INC-1")
        assert incident is not None
        tx.incidents.put(replace(incident, state=IncidentState.RESOLVED, reopened=1))
    write_review_of(room.res, "INC-1")
    assert [s.person for s in room.review.sign_offs] == [None, None] and room.state is IncidentState.REVIEWED


def test_a_draft_of_an_incident_that_goes_on_asks_nobody_to_sign(every_store: Store, tmp_path: Path) -> None:
    """Whoever runs the flow early gets a draft; the dates count from the end."""
    room = Room(every_store, tmp_path).open(state=IncidentState.CONTAINED, resolved_at=None)
    assert room.state is IncidentState.CONTAINED and room.entries("review asked") == []
    with pytest.raises(Conflict, match="INC-1 is contained: sign takes an incident that is reviewed"):
        room.sign("alice", "shop")
    room.now += timedelta(days=2)
    with room.store.reading() as tx:
        assert list_duties(tx, room.now.date()) == ()
    with room.store.writing() as tx:
        tx.incidents.put(INCIDENT)
    write_review_of(room.res, "INC-1")
    assert [str(s.due) for s in room.review.sign_offs] == ["2026-11-28", "2026-11-28"]
    assert len(room.entries("review asked")) == 2


def test_thresholds_that_were_recomputed_are_told(room: Room) -> None:
    version = ThresholdVersion(
        id="THR-3",
        signal="storefront-errors",
        state=ThresholdState.PROPOSED,
        upper=0.05,
        lower=None,
        created_at=room.now,
        updated_at=room.now,
        incident="INC-1",
        replaces="THR-1",
        evidence={"new limit": "0.3 alerts a week, caught 60 s after the onset"},
    )
    with room.store.writing() as tx:
        tx.thresholds.put(version)
    write_review_of(room.res, "INC-1")
    told = (
        "| THR-3 | storefront-errors | proposed | - | 0.05 | THR-1 | 0.3 alerts a week, caught 60 s after the onset |"
    )
    assert told in room.text("thresholds")


def test_action_items_are_added_changed_finished_and_opened_again(room: Room) -> None:
    room.act("alice", "add-action", text="  Bound every   timeout ", owner="platform", due="2026-12-05")
    item = room.review.action_items[-1]
    assert (item.id, item.text, item.owner, str(item.due)) == (
        "INC-1/A3", "Bound every timeout", "platform", "2026-12-05",
    )  # fmt: skip
    changed = {"subject": item.id, "text": item.text, "owner": "bob", "due": "2026-12-09"}
    room.act("bob", "change-action", version=1, **changed)
    with pytest.raises(Conflict, match="INC-1/A3 was changed by bob while you wrote"):
        room.act("alice", "change-action", version=1, **{**changed, "owner": "alice"})
    room.act("bob", "finish-action", subject=item.id)
    with pytest.raises(Conflict, match="is done already"):
        room.act("bob", "finish-action", subject=item.id)
    room.act("alice", "reopen-action", subject=item.id)
    said = [(kind, by, text) for kind, by, text in room.entries() if "action" in kind]
    assert said == [
        ("review action added", "alice", "Bound every timeout; platform, due 2026-12-05"),
        ("review action changed", "bob", "owner bob, was platform; due 2026-12-09, was 2026-12-05"),
        ("review action done", "bob", "Bound every timeout"),
        ("review action reopened", "alice", "Bound every timeout"),
    ]


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ({"text": "", "owner": "bob", "due": "2026-12-05"}, "action item has 0 characters"),
        ({"text": "x", "owner": "mallory", "due": "2026-12-05"}, "owner 'mallory' is not known"),
        ({"text": "x", "owner": "bob", "due": "2026-11-01"}, "due 2026-11-01 is not between today and"),
        ({"text": "x", "owner": "bob", "due": "soon"}, "due is 'soon': write a date as"),
    ],
)
def test_an_action_item_needs_words_an_owner_and_a_date_to_come(
    room: Room, details: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        room.act("alice", "add-action", **details)


def test_who_is_not_signed_in_proves_it_with_a_code_that_works_once(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)

    def comment(code: str) -> str:
        details = ReviewDetails(subject="impact", text="hello")
        return act_on_review(
            room.res, action="comment", incident="INC-1", person="alice", code=code, is_signed_in=False, details=details
        )

    with pytest.raises(Refused, match="one-time code of alice is wrong"):
        comment("000000")
    comment(room.code())
    with pytest.raises(Refused, match="wrong or was used"):
        comment(room.code())
    assert len(room.review.comments) == 1


def test_what_is_overdue_is_listed_with_its_age_also_after_the_incident_is_closed(room: Room) -> None:
    def overdue() -> list[tuple[str, str, int]]:
        with room.store.reading() as tx:
            return [(duty.what, duty.subject, duty.days) for duty in list_overdue(tx, room.now.date())]

    assert overdue() == []
    room.now += timedelta(days=5)  # sign-offs were due after 3 days
    assert overdue() == [("sign-off", "platform", 2), ("sign-off", "shop", 2)]
    room.sign("alice", "shop")
    room.sign("bob", "platform")
    room.now += timedelta(days=12)  # action items after 14
    assert overdue() == [("action item", "INC-1/A1", 3), ("action item", "INC-1/A2", 3)]
    room.act("bob", "finish-action", subject="INC-1/A1")
    room.act("bob", "finish-action", subject="INC-1/A2")
    assert overdue() == []
    with room.store.reading() as tx:
        assert list_duties(tx, room.now.date()) == ()
