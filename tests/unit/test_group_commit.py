"""Group commit: who waits shares the next commit, and what has no room is refused at once."""

import asyncio
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quell.gateway.group_commit import GroupCommit
from quell.incidents.errors import Unavailable
from quell.incidents.inbox import InboxItem, InboxKind, Received

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def _item(name: str) -> InboxItem:
    return InboxItem(id=name, kind=InboxKind.ALERT, source="test", payload={}, received_at=NOW)


class Disk:
    """Commits when it is let go, and remembers what was committed together."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.is_free = threading.Event()
        self.is_asked = threading.Event()

    def receive(self, items: Sequence[Received]) -> int:
        self.is_asked.set()
        assert self.is_free.wait(10)
        self.batches.append([item.id for item in items])
        return len(items)


def test_who_comes_while_the_disk_is_busy_shares_the_next_commit() -> None:
    disk = Disk()

    async def run() -> None:
        group = GroupCommit(disk.receive)
        first = asyncio.create_task(group.submit([_item("a")], events=1))
        await asyncio.to_thread(disk.is_asked.wait, 10)
        others = [asyncio.create_task(group.submit([_item(name)], events=1)) for name in "bcd"]
        await asyncio.sleep(0)
        disk.is_free.set()
        await asyncio.gather(first, *others)

    asyncio.run(run())
    assert disk.batches == [["a"], ["b", "c", "d"]]


@pytest.mark.parametrize(
    ("limits", "events", "size", "says"),
    [
        ({"most_waiting": 10}, 5, 0, "6 events wait to be stored, the limit is 10"),
        ({"largest_waiting": 100}, 0, 51, "51 bytes wait to be stored, the limit is 100"),
    ],
)
def test_what_has_no_room_is_refused_at_once_and_there_is_room_again_afterwards(
    limits: dict[str, Any], events: int, size: int, says: str
) -> None:
    disk = Disk()

    async def run() -> None:
        group = GroupCommit(disk.receive, **limits)
        first = asyncio.create_task(group.submit([_item("a")], events=events + 1, size=size))
        await asyncio.to_thread(disk.is_asked.wait, 10)
        with pytest.raises(Unavailable, match=says):
            await group.submit([_item("b")], events=events, size=size)
        disk.is_free.set()
        await first
        await group.submit([_item("b")], events=events, size=size)

    asyncio.run(run())
    assert disk.batches == [["a"], ["b"]]


def test_who_waits_too_long_is_told_so_and_the_commit_goes_on() -> None:
    disk = Disk()

    async def run() -> None:
        group = GroupCommit(disk.receive, answer_within=timedelta(milliseconds=20))
        with pytest.raises(Unavailable, match=r"did not commit within 0\.02 s: send again later"):
            await group.submit([_item("a")], events=1)
        disk.is_free.set()
        deadline = time.monotonic() + 10
        while not disk.batches and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    asyncio.run(run())
    assert disk.batches == [["a"]]
