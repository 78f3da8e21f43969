"""What every store promises, whichever it is: memory, SQLite, PostgreSQL."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from quell.adapters.store.sql import SqlStore
from quell.incidents.change import Change, ChangeKind
from quell.incidents.decision import Answer, Decision
from quell.incidents.errors import Conflict, InvalidInput, Unavailable
from quell.incidents.inbox import InboxItem, InboxKind
from quell.incidents.report import Report
from quell.incidents.timeline import GENESIS, Event, verify_chain
from quell.ports import Store

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)


@pytest.fixture
def store(every_store: Store) -> Store:
    return every_store


def change(id: str, *, service: str = "checkout", minutes: int = 0) -> Change:
    at = NOW + timedelta(minutes=minutes)
    return Change(id=id, kind=ChangeKind.CONFIG, service=service, at=at, summary="timeout lowered", received_at=at)


def report(id: str, *, service: str | None = None, incident: str | None = None, minutes: int = 0) -> Report:
    return Report(id=id, text="pay fails", service=service, incident=incident, at=NOW + timedelta(minutes=minutes))


def item(id: str, **payload: Any) -> InboxItem:
    return InboxItem(id=id, kind=InboxKind.ALERT, source="sweep", payload=payload, received_at=NOW)


def event(text: str = "something happened", *, incident: str | None = "INC-1") -> Event:
    return Event(incident=incident, at=NOW, kind="note", by="alice", text=text, evidence={"value": "0.4"})


def ids(records: list[Any]) -> list[str]:
    return [record.id for record in records]


# --- one record ----------------------------------------------------------------------------------------------------


def test_an_added_record_is_found_by_its_id_and_a_missing_one_is_none(store: Store) -> None:
    with store.writing() as tx:
        tx.changes.add(change("c1"))
        assert tx.changes.get("c1") == change("c1")
    with store.reading() as tx:
        assert tx.changes.get("c1") == change("c1")
        assert tx.changes.get("c2") is None


def test_a_taken_id_is_refused_and_the_transaction_goes_on(store: Store) -> None:
    with store.writing() as tx:
        tx.changes.add(change("c1"))
        with pytest.raises(Conflict, match="changes record c1 exists already"):
            tx.changes.add(change("c1", service="payment"))
        tx.changes.add(change("c2"))
    with store.reading() as tx:
        assert [c.service for c in tx.changes.find()] == ["checkout", "checkout"]


def test_put_replaces_a_record_in_its_place(store: Store) -> None:
    with store.writing() as tx:
        for id in ("b", "a", "c"):
            tx.changes.put(change(id))
        tx.changes.put(change("b", service="payment"))
    with store.reading() as tx:
        assert ids(tx.changes.find()) == ["b", "a", "c"]
        assert ids(tx.changes.find({"service": "payment"})) == ["b"]
        assert ids(tx.changes.find({"service": "checkout"})) == ["a", "c"]


def test_many_records_are_inserted_or_replaced_at_once_each_in_its_place(store: Store) -> None:
    with store.writing() as tx:
        tx.changes.put_all(change(id) for id in ("b", "a"))
        tx.changes.put_all([])
        tx.changes.put_all([change("a", service="payment"), change("c"), change("c", service="cart")])
    with store.reading() as tx:
        assert [(c.id, c.service) for c in tx.changes.find()] == [("b", "checkout"), ("a", "payment"), ("c", "cart")]
        assert ids(tx.changes.find({"service": "payment"})) == ["a"]


def test_of_many_records_none_is_stored_where_one_cannot_be(store: Store) -> None:
    with store.writing() as tx:
        with pytest.raises(InvalidInput, match="a character that text in a database cannot have"):
            tx.changes.put_all([change("a"), change("b\0")])
        tx.changes.put(change("c"))
    with store.reading() as tx:
        assert ids(tx.changes.find()) == ["c"]
        with pytest.raises(RuntimeError, match="a reading transaction cannot write"):
            tx.changes.put_all([change("d")])


def test_a_deleted_record_is_gone_and_deleting_it_again_is_no_error(store: Store) -> None:
    with store.writing() as tx:
        tx.changes.put(change("a"))
        tx.changes.put(change("b"))
        tx.changes.delete("a")
        tx.changes.delete("a")
        tx.changes.put(change("a"))
    with store.reading() as tx:
        assert ids(tx.changes.find()) == ["b", "a"]


# --- many records --------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(store: Store) -> Store:
    with store.writing() as tx:
        tx.reports.put(report("r1", service="checkout", incident="INC-1", minutes=3))
        tx.reports.put(report("r2", service="payment", minutes=1))
        tx.reports.put(report("r3", incident="INC-2", minutes=2))
        tx.reports.put(report("r4", service="checkout", incident="INC-2", minutes=2))
        tx.reports.put(report("r5", service="Checkout", minutes=0))
    return store


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, ["r1", "r2", "r3", "r4", "r5"]),
        ({"service": "checkout"}, ["r1", "r4"]),
        ({"service": ("checkout", "payment")}, ["r1", "r2", "r4"]),
        ({"service": {"payment"}}, ["r2"]),
        ({"service": frozenset[str]()}, []),
        ({"service": None}, ["r3"]),
        ({"service": [None, "payment"]}, ["r2", "r3"]),
        ({"service": "checkout", "incident": "INC-2"}, ["r4"]),
        ({"at": NOW + timedelta(minutes=2)}, ["r3", "r4"]),
        ({"at": (NOW + timedelta(minutes=2)).astimezone(timezone(timedelta(hours=5)))}, ["r3", "r4"]),
        ({"id": ["r5", "r1"]}, ["r1", "r5"]),
    ],
)
def test_find_and_count_take_equal_values_any_of_and_unset(
    filled: Store, where: dict[str, object], expected: list[str]
) -> None:
    with filled.reading() as tx:
        assert ids(tx.reports.find(where)) == expected
        assert tx.reports.count(where) == len(expected)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("id", ["r1", "r2", "r3", "r4", "r5"]),
        ("at", ["r5", "r2", "r3", "r4", "r1"]),
        ("service", ["r3", "r5", "r1", "r4", "r2"]),  # unset first, then by bytes: capitals before small letters
        ("incident", ["r2", "r5", "r1", "r3", "r4"]),
    ],
)
def test_order_breaks_ties_by_insertion_and_descending_is_its_reverse(
    filled: Store, order: str, expected: list[str]
) -> None:
    with filled.reading() as tx:
        assert ids(tx.reports.find(order=order)) == expected
        assert ids(tx.reports.find(order=order, descending=True)) == expected[::-1]


def test_limit_and_offset_turn_pages(filled: Store) -> None:
    with filled.reading() as tx:
        assert ids(tx.reports.find(limit=2)) == ["r1", "r2"]
        assert ids(tx.reports.find(limit=2, offset=4)) == ["r5"]
        assert ids(tx.reports.find(offset=3)) == ["r4", "r5"]
        assert ids(tx.reports.find(limit=0)) == []
        assert ids(tx.reports.find({"service": "checkout"}, order="at", descending=True, limit=1)) == ["r1"]


def test_after_and_before_include_their_ends(filled: Store) -> None:
    with filled.reading() as tx:
        start, end = NOW + timedelta(minutes=1), NOW + timedelta(minutes=2)
        assert ids(tx.reports.find(after=("at", start), before=("at", end))) == ["r2", "r3", "r4"]
        assert ids(tx.reports.find(after=("at", end + timedelta(microseconds=1)))) == ["r1"]
        assert ids(tx.reports.find(before=("at", start - timedelta(microseconds=1)))) == ["r5"]


def test_an_unset_time_lies_in_no_bounds(store: Store) -> None:
    store.receive([item("a"), item("b")])
    with store.writing() as tx:
        tx.inbox.put(replace(item("b"), processed_at=NOW))
        assert ids(tx.inbox.find(after=("processed_at", NOW - timedelta(days=1)))) == ["b"]
        assert ids(tx.inbox.find(before=("processed_at", NOW + timedelta(days=1)))) == ["b"]


def test_a_field_without_an_index_is_refused_with_those_that_have_one(store: Store) -> None:
    with store.reading() as tx:
        with pytest.raises(ValueError, match="'text'; it is indexed by: id, service, incident, at"):
            tx.reports.find({"text": "pay fails"})
        with pytest.raises(ValueError, match="'reporter'"):
            tx.reports.find(order="reporter")
        with pytest.raises(ValueError, match="'summary'"):
            tx.changes.count({"summary": "x"})
        with pytest.raises(ValueError, match="'service'; its indexed times are: at"):
            tx.reports.find(after=("service", NOW))


# --- transactions --------------------------------------------------------------------------------------------------


def test_an_exception_leaves_nothing_behind(store: Store) -> None:
    with store.writing() as tx:
        tx.changes.add(change("kept"))
        tx.timeline.append(event("kept"))
        assert tx.next_number("INC") == 1
    with pytest.raises(KeyboardInterrupt), store.writing() as tx:  # noqa: PT012  # the block is what is rolled back
        tx.changes.add(change("lost"))
        tx.changes.delete("kept")
        tx.timeline.append(event("lost"))
        assert tx.next_number("INC") == 2
        raise KeyboardInterrupt
    with store.writing() as tx:
        assert ids(tx.changes.find()) == ["kept"]
        assert [entry.text for entry in tx.timeline.entries()] == ["kept"]
        assert tx.timeline.written() == 1
        assert tx.next_number("INC") == 2


def test_a_reader_sees_one_moment_and_a_writer_does_not_wait_for_it(store: Store) -> None:
    with store.reading() as reader:
        assert reader.changes.count() == 0
        with store.writing() as writer:
            writer.changes.add(change("c1"))
            writer.timeline.append(event())
            assert reader.changes.count() == 0
        assert reader.changes.count() == 0
        assert reader.timeline.entries() == []
    with store.reading() as reader:
        assert reader.changes.count() == 1


def test_a_reader_cannot_write(store: Store) -> None:
    with store.reading() as tx:
        for attempt in (
            lambda: tx.changes.add(change("c1")),
            lambda: tx.changes.put(change("c1")),
            lambda: tx.changes.delete("c1"),
            lambda: tx.timeline.append(event()),
            lambda: tx.next_number("INC"),
        ):
            with pytest.raises(RuntimeError, match="a reading transaction cannot write"):
                attempt()


def test_a_writer_inside_a_writer_is_refused_rather_than_left_waiting(store: Store) -> None:
    with store.writing() as tx:
        tx.changes.add(change("c1"))
        with pytest.raises(RuntimeError, match="already writes"), store.writing():
            pass
    with store.reading() as tx:
        assert tx.changes.count() == 1


def test_numbers_count_from_one_for_each_prefix(store: Store) -> None:
    with store.writing() as tx:
        assert [tx.next_number("INC"), tx.next_number("MIT"), tx.next_number("INC")] == [1, 1, 2]
    with store.writing() as tx:
        assert tx.next_number("INC") == 3


# --- inbox ---------------------------------------------------------------------------------------------------------


def test_receiving_twice_keeps_the_first_and_says_how_many_were_new(store: Store) -> None:
    assert store.receive([item("b", n=1), item("a", n=2), item("b", n=3)]) == 2
    assert store.receive([item("a", n=4), item("c", n=5)]) == 1
    assert store.receive([]) == 0
    with store.reading() as tx:
        assert [(i.id, i.payload["n"]) for i in tx.inbox.find({"processed_at": None})] == [
            ("b", 1),
            ("a", 2),
            ("c", 5),
        ]


def test_receiving_many_keeps_their_order(store: Store) -> None:
    wanted = [f"item-{n * 7919 % 2500}" for n in range(2500)]
    assert store.receive(item(id) for id in wanted) == 2500
    with store.reading() as tx:
        assert ids(tx.inbox.find()) == wanted


def test_a_received_item_that_was_processed_is_not_taken_again(store: Store) -> None:
    store.receive([item("a")])
    with store.writing() as tx:
        tx.inbox.put(replace(item("a"), processed_at=NOW))
    assert store.receive([item("a")]) == 0
    with store.reading() as tx:
        assert tx.inbox.count({"processed_at": None}) == 0


# --- timeline ------------------------------------------------------------------------------------------------------


def test_the_timeline_is_chained_per_incident_and_over_all(store: Store) -> None:
    with store.writing() as tx:
        first = tx.timeline.append(event("one"))
        tx.timeline.append(event("two", incident="INC-2"))
        tx.timeline.append(event("three", incident=None))
    with store.writing() as tx:
        last = tx.timeline.append(event("four"))
    with store.reading() as tx:
        entries = tx.timeline.entries()
        assert [e.id for e in entries] == [1, 2, 3, 4]
        assert [e.incident for e in entries] == ["INC-1", "INC-2", "-", "INC-1"]
        assert (first.previous, last.previous, last.number) == (GENESIS, first.hash, 2)
        assert tx.timeline.of("INC-1") == [first, last]
        assert tx.timeline.of("-")[0].text == "three"
        assert [e.id for e in tx.timeline.entries(after_id=1, limit=2)] == [2, 3]
        assert verify_chain(entries, written=tx.timeline.written()) == []


def test_the_timeline_takes_any_text_and_any_zone_and_stays_whole(store: Store) -> None:
    strange = replace(event("NUL \0, half a pair \ud800, ünïcode 🛒"), at=NOW.astimezone(timezone(timedelta(hours=-7))))
    with store.writing() as tx:
        written = tx.timeline.append(strange)
    with store.reading() as tx:
        assert tx.timeline.entries() == [written]
        assert written.text == "NUL \ufffd, half a pair ?, ünïcode 🛒"
        assert written.at.isoformat() == "2026-03-14T09:26:53.589793+00:00"
        assert verify_chain(tx.timeline.entries()) == []


def test_a_decision_is_found_by_the_plan_it_answers(store: Store) -> None:
    said = Decision(
        id="d1", subject="MIT-1", plan_hash="ab" * 32, person="alice", answer=Answer.APPROVE, channel="page", at=NOW
    )
    with store.writing() as tx:
        tx.decisions.add(said)
        assert tx.decisions.find({"subject": "MIT-1"}) == [said]


# --- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("no address", "write sqlite:///PATH"),
        ("mysql://localhost/x", "kept in mysql; it can be kept in sqlite or postgresql"),
        ("sqlite://", "store needs a file"),
    ],
)
def test_an_address_that_cannot_be_a_store_is_refused(url: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        SqlStore(url)


def test_a_database_that_is_not_there_is_unavailable_and_its_password_stays_secret(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not answer") as refused:
        SqlStore("postgresql://quell:geheim@127.0.0.1:1/quell", timeout=timedelta(seconds=2))
    assert "geheim" not in str(refused.value)
    with pytest.raises(Unavailable, match="unable to open database file"):
        SqlStore(f"sqlite:///{tmp_path}")
