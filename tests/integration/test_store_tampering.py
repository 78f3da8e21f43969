"""What somebody with the database's password changes in the timeline shows."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from quell.adapters.store.sql import SqlStore
from quell.incidents.timeline import Event, verify_chain
from quell.ports import Store

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)


def write_two(store: Store) -> None:
    with store.writing() as tx:
        for incident in ("INC-1", None):
            tx.timeline.append(Event(incident=incident, at=NOW, kind="note", by="me", text="something happened"))


def tamper(url: str, *statements: str) -> None:
    """What somebody with the database's password can do."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            connection.executescript(";".join(statements))
        finally:
            connection.close()
        return
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def drop_trigger(url: str, verb: str) -> str:
    return f"DROP TRIGGER timeline_no_{verb}" + ("" if url.startswith("sqlite") else " ON timeline")


@pytest.fixture
def written(store_url: str) -> Iterator[SqlStore]:
    store = SqlStore(store_url)
    for _ in range(4):
        write_two(store)
    assert faults(store) == []
    yield store
    store.close()


def faults(store: Store) -> list[str]:
    with store.reading() as tx:
        return verify_chain(tx.timeline.entries(), written=tx.timeline.written())


@pytest.mark.parametrize("statement", ["UPDATE timeline SET text = 'x'", "DELETE FROM timeline"])
def test_the_database_itself_refuses_to_rewrite_the_timeline(store_url: str, written: SqlStore, statement: str) -> None:
    with pytest.raises((sqlite3.IntegrityError, psycopg.errors.RaiseException), match="append-only"):
        tamper(store_url, statement)
    assert faults(written) == []


@pytest.mark.parametrize("change", ["text = 'x'", "by = 'mallory'", 'evidence = \'{"a":"b"}\'', "incident = 'INC-9'"])
def test_a_changed_entry_shows(store_url: str, written: SqlStore, change: str) -> None:
    column, value = change.split(" = ")
    tamper(store_url, drop_trigger(store_url, "update"), f'UPDATE timeline SET "{column}" = {value} WHERE id = 3')
    assert any(fault.startswith("entry 3: ") for fault in faults(written))


@pytest.mark.parametrize("id", [1, 4])
def test_a_deleted_entry_shows(store_url: str, written: SqlStore, id: int) -> None:
    tamper(store_url, drop_trigger(store_url, "delete"), f"DELETE FROM timeline WHERE id = {id}")
    assert f"entry {id} is missing: after it comes entry {id + 1}" in faults(written)


def test_an_end_that_was_cut_off_shows_at_once_and_after_the_next_entry(store_url: str, written: SqlStore) -> None:
    tamper(store_url, drop_trigger(store_url, "delete"), "DELETE FROM timeline WHERE id > 6")
    assert faults(written) == ["the end is cut off: 8 entries were written, the last one found is entry 6"]
    write_two(written)
    assert "entry 7 is missing: after it comes entry 9" in faults(written)
