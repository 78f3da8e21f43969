"""A full disk and a locked database: the gateway refuses with 503, acknowledges nothing, and takes the same later."""

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from benchmarks.intake import TOKEN, gateway
from quell.adapters.store.sql import SqlStore

pytestmark = pytest.mark.fault
ALERTMANAGER_CUTS_AT = 10  # seconds


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
    with SqlStore(store_url).reading() as tx:
        return len(tx.inbox.find(limit=10_000))


def _assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0


def test_a_full_disk_is_a_503_and_the_same_request_is_taken_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
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
    deadline = time.monotonic() + 30
    while _send(port, 0).status_code == 503:  # the commit that was given up may still be on its way
        assert time.monotonic() < deadline
    assert _send(port, 0).status_code == 200
    assert _items(store_url) == 1
