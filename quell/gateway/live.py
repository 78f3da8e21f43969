"""Live pages: one look at the store for all who watch, and a stream for each of them that says what has changed."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from quell.incidents.errors import QuellError, Unavailable
from quell.ports import Store

LOOK_EVERY = timedelta(milliseconds=250)
AFTER_TROUBLE = timedelta(seconds=2)
HEARTBEAT = timedelta(seconds=15)  # under the shortest idle limits of common proxies
MOST_STREAMS = 200
_MANY = 500
EVERYTHING = "*"


@dataclass(slots=True, eq=False)
class _Watcher:
    incident: str  # or EVERYTHING
    news: asyncio.Event = field(default_factory=asyncio.Event)
    changed: set[str] = field(default_factory=set[str])


async def _comes(news: asyncio.Event) -> bool:
    """Whether there are news before a proxy would take the stream for dead."""
    try:
        await asyncio.wait_for(news.wait(), HEARTBEAT.total_seconds())
    except TimeoutError:
        return False
    return True


class Live:
    """Streams of one process. The store is looked at only while somebody watches, however many they are."""

    def __init__(self, store: Store, most: int = MOST_STREAMS) -> None:
        self._store = store
        self._most = most
        self._watchers: set[_Watcher] = set()
        self._task: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()  # one look at a time
        self._is_closed = False
        self._written = -1
        self._updated: dict[str, datetime] = {}

    @property
    def streams(self) -> int:
        return len(self._watchers)

    def version(self) -> int:
        """Grows with every change; a page that was made at this version misses nothing of what comes after."""
        with self._store.reading() as tx:
            return tx.timeline.written()

    def close(self) -> None:
        """End all streams, so that the process can stop; safe from a signal's handler."""
        self._is_closed = True
        for watcher in tuple(self._watchers):
            watcher.news.set()

    async def stream(self, incident: str, since: int | None, is_welcome: Callable[[], bool]) -> AsyncIterator[str]:
        """Server-sent events, from now on. Raises Unavailable when as many are open as this process serves."""
        if self._is_closed or len(self._watchers) >= self._most:
            raise Unavailable(f"{len(self._watchers)} pages are live, the limit is {self._most}: this one asks instead")
        async with self._looking:
            if not self._is_watching:
                await asyncio.to_thread(self._look)  # what was before is no news; the store answers or says why not
        return self._tell(_Watcher(incident), since, is_welcome)

    @property
    def _is_watching(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _tell(self, watcher: _Watcher, since: int | None, is_welcome: Callable[[], bool]) -> AsyncIterator[str]:
        # Only here: a stream whose page went away before its first word never comes to its end either.
        self._watchers.add(watcher)
        if not self._is_watching:
            self._task = asyncio.create_task(self._watch())
        try:
            yield "retry: 2000\n: hello\n\n"
            if since is not None and since != self._written:
                yield self._event({watcher.incident})
            checked_at = time.monotonic()
            while not self._is_closed:
                is_silent = not await _comes(watcher.news)
                if time.monotonic() - checked_at >= HEARTBEAT.total_seconds():  # also where news never pause
                    if not await asyncio.to_thread(is_welcome):
                        return
                    checked_at = time.monotonic()
                if is_silent:
                    yield ": still here\n\n"
                    continue
                watcher.news.clear()
                changed, watcher.changed = watcher.changed, set()
                if changed:
                    yield self._event(changed)
        finally:
            self._watchers.discard(watcher)

    def _event(self, changed: set[str]) -> str:
        data = json.dumps({"changed": sorted(changed)[:_MANY], "version": self._written})
        return f"event: change\nid: {self._written}\ndata: {data}\n\n"

    async def _watch(self) -> None:
        while self._watchers and not self._is_closed:
            pause = LOOK_EVERY
            try:
                async with self._looking:
                    changed = await asyncio.to_thread(self._look)
            except QuellError:
                changed, pause = set[str](), AFTER_TROUBLE
            if changed:
                self._spread(changed)
            await asyncio.sleep(pause.total_seconds())

    def _spread(self, changed: set[str]) -> None:
        for watcher in self._watchers:
            mine = changed if watcher.incident == EVERYTHING else changed & {watcher.incident, EVERYTHING}
            if mine:
                watcher.changed |= mine
                watcher.news.set()

    def _look(self) -> set[str]:
        """The incidents that changed since the last look: by what was written on the timeline, or put without that."""
        with self._store.reading() as tx:
            written, changed = tx.timeline.written(), set[str]()
            if written != self._written:
                entries = tx.timeline.entries(after_id=max(self._written, 0), limit=_MANY) if self._written >= 0 else []
                changed = {entry.incident for entry in entries}
                if len(entries) >= _MANY:
                    changed.add(EVERYTHING)
            latest = tx.incidents.find(order="updated_at", descending=True, limit=20)
        updated = {str(incident.id): incident.updated_at for incident in latest}
        changed |= {id for id, at in updated.items() if self._updated.get(id) != at} if self._written >= 0 else set()
        self._written, self._updated = written, updated
        return changed
