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


async def next_event(stream: AsyncIterator[str]) -> str:
    """The next word that is news; the other ones keep the stream open."""
    async for part in stream:
        if part.startswith("event:"):
            return part
    raise AssertionError("the stream ended")


def test_each_stream_hears_of_its_incident_and_the_list_of_all() -> None:
    async def run() -> list[str]:
        store = MemoryStore()
        live = Live(store)
        one, every = [await live.stream(of, None, lambda: True) for of in ("INC-1", EVERYTHING)]
        for stream in (one, every):
            await anext(stream)  # it listens
        write(store, "INC-2")
        told = [await next_event(every)]
        write(store, "INC-1")
        told += [await next_event(every), await next_event(one)]
        live.close()
        return told

    first, second, of_one = asyncio.run(asyncio.wait_for(run(), 30))
    assert '"changed": ["INC-2"]' in first and "id: 1\n" in first
    assert '"changed": ["INC-1"]' in second and '"changed": ["INC-1"]' in of_one


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
