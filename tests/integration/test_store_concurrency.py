"""Several threads and several processes at one store: nothing lost, nothing twice, one writer at a time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event as Flag
from typing import Any

import psycopg
import pytest

from quell.adapters.store.sql import SqlStore
from quell.incidents.errors import Unavailable
from quell.incidents.inbox import InboxItem, InboxKind
from quell.incidents.timeline import Event, verify_chain
from quell.ports import Document, Store

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)
WRITERS, ROUNDS = 8, 15

PROCESS = """
import sys, time
from datetime import UTC, datetime, timedelta
from quell.adapters.store.sql import SqlStore
from quell.incidents.inbox import InboxItem, InboxKind
from quell.incidents.timeline import Event
from quell.ports import Document

NOW = datetime(2026, 3, 14, tzinfo=UTC)
store, me = SqlStore(sys.argv[1], timeout=timedelta(minutes=1)), sys.argv[2]

def write(tx):
    number = tx.next_number("INC")
    tx.timeline.append(Event(incident=f"INC-{number % 3}", at=NOW, kind="note", by=me, text="first of two"))
    tx.documents.add(Document(id=f"INC-{number}", kind="written", updated_at=NOW, body={"by": me}))
    tx.timeline.append(Event(incident=None, at=NOW, kind="note", by=me, text="second of two"))
    return number

def receive(ids):
    return store.receive([InboxItem(id=i, kind=InboxKind.ALERT, source=me, payload={}, received_at=NOW) for i in ids])

print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def store(every_store: Store) -> Store:
    return every_store


def write(store: Store) -> int:
    """What PROCESS does in one transaction."""
    with store.writing() as tx:
        number = tx.next_number("INC")
        tx.timeline.append(Event(incident=f"INC-{number % 3}", at=NOW, kind="note", by="me", text="first of two"))
        tx.documents.add(Document(id=f"INC-{number}", kind="written", updated_at=NOW, body={}))
        tx.timeline.append(Event(incident=None, at=NOW, kind="note", by="me", text="second of two"))
        return number


def receive(store: Store, ids: list[str]) -> int:
    return store.receive(
        InboxItem(id=id, kind=InboxKind.ALERT, source="test", payload={}, received_at=NOW) for id in ids
    )


def assert_whole(store: Store) -> int:
    """Every transaction is there entirely or not at all; returns how many are."""
    with store.reading() as tx:
        entries = tx.timeline.entries()
        documents = tx.documents.find({"kind": "written"})
        assert verify_chain(entries, written=tx.timeline.written()) == []
        assert [d.id for d in documents] == [f"INC-{n + 1}" for n in range(len(documents))]
        assert len(entries) == 2 * len(documents)
        return len(documents)


@pytest.fixture
def start() -> Iterator[Callable[[str, str, str], "subprocess.Popen[str]"]]:
    """Start a process that has opened the store and runs `code` when it reads a line."""
    started: list[subprocess.Popen[str]] = []

    def start(url: str, name: str, code: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS + code, url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def go(*processes: "subprocess.Popen[str]") -> None:
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()


def output(process: "subprocess.Popen[str]") -> list[str]:
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return text.split()


# --- threads -------------------------------------------------------------------------------------------------------


def test_threads_write_one_after_the_other_without_gaps(store: Store) -> None:
    def run(writer: int) -> list[int]:
        given: list[int] = []
        for n in range(ROUNDS):
            if n % 5 == writer % 5:  # a number given in a transaction that fails is given again
                with pytest.raises(ZeroDivisionError), store.writing() as tx:  # noqa: PT012  # what is rolled back
                    tx.timeline.append(Event(incident=None, at=NOW, kind="note", by="me", text="lost"))
                    tx.next_number(f"{tx.next_number('INC') // 0}")
            given.append(write(store))
        return given

    with ThreadPoolExecutor(WRITERS) as pool:
        numbers = sorted(number for given in pool.map(run, range(WRITERS)) for number in given)
    assert numbers == list(range(1, WRITERS * ROUNDS + 1))
    assert assert_whole(store) == WRITERS * ROUNDS


def test_threads_receive_each_item_once_while_others_write(store: Store) -> None:
    wanted = [[f"item-{n + shift * 10}" for n in range(40)] for shift in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS + 2) as pool:
        writing = [pool.submit(write, store) for _ in range(10)]
        taken = sum(pool.map(lambda ids: receive(store, ids[::-1]) + receive(store, ids), wanted))
        assert len({w.result() for w in writing}) == 10
    with store.reading() as tx:
        assert taken == tx.inbox.count() == len({id for ids in wanted for id in ids})


def test_a_second_writer_starts_after_the_first_has_ended(store: Store) -> None:
    inside, story = Flag(), list[str]()

    def first() -> None:
        with store.writing() as tx:
            tx.next_number("INC")
            inside.set()
            assert not second_done.wait(0.3)
            story.append("first ends")

    def second() -> int:
        assert inside.wait(10)
        with store.writing() as tx:
            number = tx.next_number("INC")
            story.append("second writes")
        second_done.set()
        return number

    second_done = Flag()
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.submit(first), pool.submit(second)
        one.result()
        assert other.result() == 2
    assert story == ["first ends", "second writes"]


# --- processes -----------------------------------------------------------------------------------------------------


def test_processes_write_one_after_the_other_without_gaps(store_url: str, start: Callable[..., Any]) -> None:
    """All open the empty database at once, too: one of them builds it, the others find it built."""
    code = f"for _ in range({ROUNDS}):\n    with store.writing() as tx: number = write(tx)\n    print(number)"
    processes = [start(store_url, f"writer-{n}", code) for n in range(WRITERS)]
    go(*processes)
    numbers = sorted(int(number) for process in processes for number in output(process))
    assert numbers == list(range(1, WRITERS * ROUNDS + 1))
    store = SqlStore(store_url)
    assert assert_whole(store) == WRITERS * ROUNDS
    store.close()


def test_processes_receive_each_item_once(store_url: str, start: Callable[..., Any]) -> None:
    """Overlapping batches in opposite orders: on PostgreSQL they meet as deadlocks, which are tried again."""
    code = (
        "ids = [f'item-{n}' for n in range(300)][::1 if int(me) % 2 else -1]\n"
        "print(sum(receive(ids[k:k + 30]) for k in range(0, 300, 10)))"
    )
    processes = [start(store_url, str(n), code) for n in range(4)]
    go(*processes)
    assert sum(int(output(process)[0]) for process in processes) == 300
    store = SqlStore(store_url)
    with store.reading() as tx:
        assert tx.inbox.count() == 300
    store.close()


def test_what_receive_returned_for_survives_kill_9(store_url: str, start: Callable[..., Any]) -> None:
    process = start(
        store_url, "r", "n = 0\nwhile True:\n    n += 1; receive([f'item-{n}']); print(f'item-{n}', flush=True)"
    )
    go(process)
    promised = [process.stdout.readline().strip() for _ in range(50)]
    process.send_signal(signal.SIGKILL)
    promised += process.stdout.read().split()
    store = SqlStore(store_url)
    with store.reading() as tx:
        assert set(promised) <= {item.id for item in tx.inbox.find()}
    store.close()


@pytest.mark.parametrize("moment", range(3))
def test_kill_9_of_a_writer_leaves_the_store_whole(store_url: str, start: Callable[..., Any], moment: int) -> None:
    process = start(
        store_url, "w", "while True:\n    with store.writing() as tx: n = write(tx)\n    print(n, flush=True)"
    )
    go(process)
    told = [int(process.stdout.readline()) for _ in range(3 + 5 * moment)]
    process.send_signal(signal.SIGKILL)
    told += [int(number) for number in process.stdout.read().split()]
    store = SqlStore(store_url, timeout=timedelta(seconds=5))
    assert write(store) in (told[-1] + 1, told[-1] + 2)  # it may have committed and died before telling
    assert assert_whole(store) >= len(told) + 1
    store.close()


def test_a_writer_killed_inside_its_transaction_leaves_nothing_and_frees_the_store(
    store_url: str, start: Callable[..., Any]
) -> None:
    code = "with store.writing() as tx:\n    write(tx); write(tx); print('inside', flush=True); time.sleep(600)"
    process = start(store_url, "w", code)
    go(process)
    assert process.stdout.readline() == "inside\n"
    store = SqlStore(store_url, timeout=timedelta(seconds=5))
    process.send_signal(signal.SIGKILL)
    assert write(store) == 1
    assert assert_whole(store) == 1
    store.close()


def test_a_held_store_is_unavailable_to_writers_in_time_and_open_to_readers(
    store_url: str, start: Callable[..., Any]
) -> None:
    process = start(
        store_url, "w", "with store.writing() as tx:\n    write(tx); print('inside', flush=True); time.sleep(600)"
    )
    go(process)
    assert process.stdout.readline() == "inside\n"
    os.kill(process.pid, signal.SIGSTOP)
    store = SqlStore(store_url, timeout=timedelta(seconds=0.3))
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"does not answer: .*(locked|lock timeout)"), store.writing():
        pass
    assert time.monotonic() - began < 5
    with store.reading() as tx:
        assert tx.documents.count() == 0
    store.close()


def test_postgresql_receives_while_a_writer_holds_the_record(postgres_url: str) -> None:
    store = SqlStore(postgres_url, timeout=timedelta(seconds=2))
    with ThreadPoolExecutor(1) as pool, store.writing() as tx:
        tx.next_number("INC")
        assert pool.submit(receive, store, ["a", "b"]).result() == 2
        assert tx.inbox.count() == 2
    store.close()


def test_a_connection_cut_by_postgresql_is_unavailable_once_and_then_replaced(postgres_url: str) -> None:
    store = SqlStore(postgres_url)
    with pytest.raises(Unavailable, match="does not answer"), store.writing() as tx:  # noqa: PT012  # cut in the block
        tx.next_number("INC")
        with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        tx.next_number("INC")
    assert write(store) == 1
    store.close()
