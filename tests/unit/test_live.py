"""Live pages: one look for all, a limit on streams, and an end when the process stops."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from quell.adapters.store.memory import MemoryStore
from quell.gateway.live import EVERYTHING, Live
from quell.incidents.errors import Unavailable
from quell.incidents.timeline import Event

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def write(store: MemoryStore, incident: str) -> None:
    with store.writing() as tx:
        tx.timeline.append(Event(incident=incident, at=NOW, kind="note", by="alice", text="news"))


async def events(stream: AsyncIterator[str]) -> list[str]:
    return [part async for part in stream if part.startswith("event:")]


def test_each_stream_hears_of_its_incident_and_the_list_of_all() -> None:
    async def run() -> tuple[list[str], list[str]]:
        store = MemoryStore()
        live = Live(store)
        one, every = [
            asyncio.create_task(events(await live.stream(of, None, lambda: True))) for of in ("INC-1", EVERYTHING)
        ]
        await asyncio.sleep(0.05)
        write(store, "INC-2")
        await asyncio.sleep(0.6)
        live.close()
        return await one, await every

    one, every = asyncio.run(asyncio.wait_for(run(), 5))
    assert one == []
    assert len(every) == 1 and '"changed": ["INC-2"]' in every[0] and "id: 1\n" in every[0]


def test_a_page_that_missed_something_hears_of_it_at_once() -> None:
    async def run() -> str:
        store = MemoryStore()
        write(store, "INC-1")
        stream = await Live(store).stream("INC-1", 0, lambda: True)
        return [await anext(stream) for _ in range(2)][1]

    assert "event: change" in asyncio.run(asyncio.wait_for(run(), 5))


def test_beyond_the_limit_a_stream_is_refused_and_one_that_ends_makes_room() -> None:
    async def run() -> None:
        live = Live(MemoryStore(), most=1)
        first = await live.stream("INC-1", None, lambda: True)
        await anext(first)
        with pytest.raises(Unavailable, match="1 pages are live, the limit is 1"):
            await live.stream("INC-1", None, lambda: True)
        await first.aclose()  # type: ignore[attr-defined]
        assert live.streams == 0
        await (await live.stream("INC-1", None, lambda: True)).aclose()  # type: ignore[attr-defined]
        assert live.streams == 0, "a page that left before the first word must not keep a place for ever"

    asyncio.run(asyncio.wait_for(run(), 5))
