"""A full disk and a locked database: the gateway refuses with 503, acknowledges nothing, and takes the same later."""

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import event

from benchmarks.intake import TOKEN, gateway
from quell.adapters.store.sql import SqlStore
from quell.incidents.errors import Unavailable
from quell.incidents.inbox import InboxItem, InboxKind
from tests.waiting import wait_until

pytestmark = pytest.mark.fault
ALERTMANAGER_CUTS_AT = 10  # seconds
CAP_SYS_ADMIN = 21  # its bit, in capabilities(7)


def _may_mount() -> bool:
    """Whether this process may make a small disk; root in a container is not always allowed to."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return bool(int(status["CapEff"], 16) >> CAP_SYS_ADMIN & 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _body(number: int, alerts: int = 64) -> list[dict[str, Any]]:
    return [
        {
            "labels": {"alertname": "InstanceErrors", "service": "shop", "instance": f"{number}-{n}", "pad": "x" * 300},
            "startsAt": "2026-11-23T07:58:54.725Z",
        }
        for n in range(alerts)
    ]


def _send(port: int, number: int) -> httpx.Response:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"http://127.0.0.1:{port}/api/v2/alerts"
    return httpx.post(url, json=_body(number), headers=headers, trust_env=False, timeout=ALERTMANAGER_CUTS_AT)


def _items(store_url: str) -> int:
    with closing(SqlStore(store_url)) as store, store.reading() as tx:
        return tx.inbox.count()


def _assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0


def refuse_on_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """A 4xx would make Alertmanager drop the alerts, and a 2xx would be a lie."""
    store_url = f"sqlite:///{small_disk}/quell.db"
    with gateway(tmp_path / "config", store_url) as port:
        filler = small_disk / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(8 * 1024 * 1024))
        taken = 0  # what still fits into the journal's old pages may be taken
        while (answer := _send(port, taken)).status_code == 200:
            taken += 1
            assert taken < 1000
        _assert_refused(answer)
        filler.unlink()
        assert _send(port, taken).status_code == 200
        assert _send(port, taken).status_code == 200
        assert _items(store_url) == taken + 1


if _may_mount():
    test_a_full_disk_is_a_503_and_the_same_request_is_taken_when_there_is_room = refuse_on_a_full_disk


def test_a_database_that_may_not_grow_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    """The same error of SQLite as on a full disk, wherever this runs: nothing is half stored."""
    with closing(SqlStore(f"sqlite:///{tmp_path}/quell.db")) as store:

        @event.listens_for(store._engine, "connect")  # pyright: ignore[reportPrivateUsage]
        def limit(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
            connection.execute("PRAGMA max_page_count=200")

        store._engine.dispose()  # pyright: ignore[reportPrivateUsage]
        taken = _fill(store)
        with pytest.raises(Unavailable, match="full"):
            store.receive([_item(taken)])
        assert taken > 0
        with store.reading() as tx:
            assert tx.inbox.count() == taken


def _fill(store: SqlStore) -> int:
    """How many items it takes until it is full."""
    for number in range(1000):
        try:
            store.receive([_item(number)])
        except Unavailable:
            return number
    raise AssertionError("it is never full")


def _item(number: int) -> InboxItem:
    at = datetime(2026, 11, 23, 12, tzinfo=UTC)
    payload = {"alerts": _body(number)}
    return InboxItem(id=f"item-{number}", kind=InboxKind.ALERTS, source="test", payload=payload, received_at=at)


def test_a_locked_sqlite_is_a_503_in_time_and_the_same_request_is_taken_later(tmp_path: Path) -> None:
    """Another process that holds the database must not make the gateway hang or lie."""
    store_url = f"sqlite:///{tmp_path}/quell.db"
    with gateway(tmp_path / "config", store_url) as port:
        with closing(sqlite3.connect(tmp_path / "quell.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            _assert_refused_in_time(port)
            other.execute("ROLLBACK")
        _assert_taken_once(port, store_url)


def test_a_locked_table_in_postgresql_is_a_503_in_time_and_the_same_request_is_taken_later(
    postgres_url: str, tmp_path: Path
) -> None:
    """A migration or a person in psql holds the inbox: senders are told to come again."""
    with gateway(tmp_path / "config", postgres_url) as port:
        with psycopg.connect(postgres_url.replace("+psycopg", "")) as other:
            other.execute("LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE")
            _assert_refused_in_time(port)
            other.rollback()
        _assert_taken_once(port, postgres_url)


def _assert_refused_in_time(port: int) -> None:
    start = time.monotonic()
    _assert_refused(_send(port, 0))
    assert time.monotonic() - start < ALERTMANAGER_CUTS_AT


def _assert_taken_once(port: int, store_url: str) -> None:
    # the commit that was given up may still be on its way
    wait_until("the gateway takes it", lambda: _send(port, 0).status_code != 503)
    assert _send(port, 0).status_code == 200
    assert _items(store_url) == 1
