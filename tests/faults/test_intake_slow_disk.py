"""A disk that takes a second for each commit, and too many senders for it: the gateway refuses, and loses nothing."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from benchmarks.intake import TOKEN, gateway_process
from quell.adapters.store.sql import SqlStore
from quell.gateway.group_commit import LARGEST_WAITING, MOST_WAITING
from quell.incidents.inbox import InboxKind

pytestmark = pytest.mark.fault
ALERTMANAGER_CUTS_AT = 10  # seconds
SLOW_SECONDS = 8
ALERTS = 250  # a request: what fits into one inbox item
# Another process has the disk to itself for a second, then leaves it for 0.2 s: longer than SQLite sleeps between two
# tries (0.1 s), so that each commit of the gateway gets through, and none before its second is over.
_HOG = """
import sqlite3, sys, time
other = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
while True:
    other.execute("BEGIN IMMEDIATE")
    print("held", flush=True)
    time.sleep(1)
    other.execute("ROLLBACK")
    time.sleep(0.2)
"""


@contextmanager
def slow_disk(database: Path) -> Iterator[None]:
    """A real lock of another process; it ends with the block."""
    with subprocess.Popen([sys.executable, "-c", _HOG, str(database)], stdout=subprocess.PIPE) as hog:
        try:
            assert hog.stdout is not None and hog.stdout.readline() == b"held\n"
            yield
        finally:
            hog.kill()
            hog.wait()


@dataclass(kw_only=True)
class Ledger:
    """What the senders know, by the number of the request."""

    taken: set[int] = field(default_factory=set[int])
    refused: dict[int, str] = field(default_factory=dict[int, str])
    slowest: float = 0.0
    unsaid: list[str] = field(default_factory=list[str])  # answers that a sender could make nothing of

    def note(self, number: int, answer: httpx.Response, seconds: float) -> None:
        self.slowest = max(self.slowest, seconds)
        if answer.status_code == 200:
            self.taken.add(number)
        elif answer.status_code == 503 and int(answer.headers.get("Retry-After", 0)) > 0:
            self.refused[number] = answer.json()["error"]
        else:
            self.unsaid.append(f"{answer.status_code} {answer.text[:200]}")


def body(number: int, size: int) -> bytes:
    """A request of `ALERTS` alerts and about `size` bytes, told from all others by its number."""
    pad = "x" * (size // ALERTS - 150)
    alerts = (
        f'{{"labels":{{"alertname":"Slow","service":"shop","request":"{number}","n":"{n}","pad":"{pad}"}},'
        '"startsAt":"2026-11-23T07:58:54.725Z"}'
        for n in range(ALERTS)
    )
    return f"[{','.join(alerts)}]".encode()


async def send(client: httpx.AsyncClient, ledger: Ledger, number: int, size: int) -> None:
    start = time.monotonic()
    answer = await client.post("/api/v2/alerts", content=body(number, size))
    ledger.note(number, answer, time.monotonic() - start)


async def overload(port: int, senders: int, size: int) -> Ledger:
    """While the disk is slow each sender sends one new request after another, with half a second between."""
    ledger, end = Ledger(), time.monotonic() + SLOW_SECONDS

    async def one(first: int) -> None:
        number = first
        while time.monotonic() < end:
            await send(client, ledger, number, size)
            number += senders
            await asyncio.sleep(0.5)

    async with client_of(port) as client:
        await asyncio.gather(*(one(first) for first in range(senders)))
    return ledger


async def send_again(port: int, numbers: list[int], size: int) -> Ledger:
    """A few at a time, as senders that were told to wait come back."""
    ledger, turns = Ledger(), asyncio.Semaphore(8)

    async def one(number: int) -> None:
        async with turns:
            await send(client, ledger, number, size)

    async with client_of(port) as client:
        await asyncio.gather(*map(one, numbers))
    return ledger


def client_of(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        timeout=ALERTMANAGER_CUTS_AT,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        trust_env=False,
    )


def stored(database: Path) -> dict[int, int]:
    """How many items there are of each request."""
    counts: dict[int, int] = {}
    with closing(SqlStore(f"sqlite:///{database}")) as store, store.reading() as tx:
        for item in tx.inbox.find({"kind": InboxKind.ALERTS}):
            numbers = {int(alert["labels"]["request"]) for alert in item.payload["alerts"]}
            assert len(numbers) == 1 and len(item.payload["alerts"]) == ALERTS, "a request is stored whole"
            (number,) = numbers
            counts[number] = counts.get(number, 0) + 1
    return counts


def megabytes(pid: int, name: str) -> float:
    """`VmRSS` of now or `VmHWM`, the most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def most_memory(senders: int, size: int) -> float:
    """Megabytes: four copies of what may wait (as sent, as rows, in SQLite, and one going), a body for each sender."""
    waiting = min(LARGEST_WAITING, MOST_WAITING / ALERTS * size)
    return (4 * waiting + senders * size) / 1e6 + 20


@pytest.mark.parametrize(
    ("senders", "size", "limit"),
    [
        pytest.param(120, 75_000, MOST_WAITING, id="many alerts"),
        pytest.param(90, 1_000_000, LARGEST_WAITING, id="large alerts"),
    ],
)
def test_what_a_slow_disk_leaves_no_room_for_is_refused_and_nothing_acknowledged_is_lost(
    tmp_path: Path, senders: int, size: int, limit: int
) -> None:
    """Senders outrun the disk: each gets an answer in time, and memory does not grow with the flood."""
    database = tmp_path / "quell.db"
    with gateway_process(tmp_path / "config", f"sqlite:///{database}") as (port, process):
        before = megabytes(process.pid, "VmRSS")
        with slow_disk(database):
            ledger = asyncio.run(overload(port, senders, size))
            kept = stored(database)
        assert ledger.unsaid == []
        assert 1 < ledger.slowest < ALERTMANAGER_CUTS_AT, "the disk was slow, and nobody was cut off"
        assert ledger.taken and ledger.taken <= set(kept), "what was acknowledged is stored"
        assert any(f"the limit is {limit}:" in said for said in ledger.refused.values())
        assert all(_within_limit(said) for said in ledger.refused.values()), set(ledger.refused.values())
        assert megabytes(process.pid, "VmHWM") - before < most_memory(senders, size)

        again = asyncio.run(send_again(port, sorted(ledger.refused), size))
        assert (again.unsaid, again.refused) == ([], {})
        assert stored(database) == dict.fromkeys(ledger.taken | set(ledger.refused), 1), "all of it, and once"


def _within_limit(said: str) -> bool:
    """Whether a refusal says that no more waits than may; one for lateness says nothing of that."""
    numbers = re.match(r"(\d+) \w+ wait to be stored, the limit is (\d+)", said)
    return int(numbers[1]) <= int(numbers[2]) if numbers else "did not commit within" in said
