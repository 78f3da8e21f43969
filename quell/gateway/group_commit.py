"""Group commit: requests that arrive while the database commits share the next commit."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from quell.incidents.errors import Unavailable
from quell.incidents.inbox import Received

Receive = Callable[[Sequence[Received]], int]

ANSWER_WITHIN = timedelta(seconds=5)  # Alertmanager cuts the connection at 10 s
MOST_WAITING = 20_000
LARGEST_WAITING = 64 * 1024 * 1024  # bytes
_IDLE_TURNS = 3  # of the event loop in which nothing came in: then who was just answered has not asked again


@dataclass(slots=True, kw_only=True)
class _Entry:
    items: Sequence[Received]
    events: int
    size: int
    answer: "asyncio.Future[None]"


class GroupCommit:
    """`submit` returns when the items are durable, and raises Unavailable when that takes too long.

    Items of a request that was answered with an error may still be committed; senders repeat, and ids make the
    repetition harmless.
    """

    def __init__(
        self,
        receive: Receive,
        *,
        answer_within: timedelta = ANSWER_WITHIN,
        most_waiting: int = MOST_WAITING,
        largest_waiting: int = LARGEST_WAITING,
    ) -> None:
        self._receive = receive
        self._answer_within = answer_within.total_seconds()
        self._most_waiting = most_waiting
        self._largest_waiting = largest_waiting
        self._waiting: list[_Entry] = []
        self._events = 0
        self._size = 0
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commit")

    async def submit(self, items: Sequence[Received], *, events: int, size: int = 0) -> None:
        """Store items that say `events` events and took `size` bytes to say them."""
        self._check_room(events, size)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        self._waiting.append(_Entry(items=items, events=events, size=size, answer=answer))
        self._events += events
        self._size += size
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        late = loop.call_later(self._answer_within, self._give_up, answer)
        try:
            await answer
        finally:
            late.cancel()

    def _check_room(self, events: int, size: int) -> None:
        if self._events + events > self._most_waiting:
            raise Unavailable(
                f"{self._events} events wait to be stored, the limit is {self._most_waiting}: send again later"
            )
        if self._size + size > self._largest_waiting:
            raise Unavailable(
                f"{self._size} bytes wait to be stored, the limit is {self._largest_waiting}: send again later"
            )

    def _give_up(self, answer: "asyncio.Future[None]") -> None:
        if not answer.done():
            text = f"the store did not commit within {self._answer_within:g} s: send again later"
            answer.set_exception(Unavailable(text))

    async def _work(self) -> None:
        while self._waiting:
            await self._gather()
            batch, self._waiting = self._waiting, []
            if not await self._commit(batch) and len(batch) > 1:
                for entry in batch:  # somebody's items cannot be stored; the others shall not suffer for it
                    await self._commit([entry], is_last_try=True)
            self._events -= sum(entry.events for entry in batch)
            self._size -= sum(entry.size for entry in batch)

    async def _gather(self) -> None:
        """Let in what has arrived already: half-full commits, one after another, would halve the rate."""
        idle = 0
        while idle < _IDLE_TURNS:
            before = len(self._waiting)
            await asyncio.sleep(0)
            idle = 0 if len(self._waiting) > before else idle + 1

    async def _commit(self, batch: list[_Entry], *, is_last_try: bool = False) -> bool:
        """Commit together; whether every request got its answer."""
        items = [item for entry in batch for item in entry.items]
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._receive, items)
        except Exception as error:  # noqa: BLE001 - handed to each request, which answers for it
            if len(batch) > 1 and not is_last_try and not isinstance(error, Unavailable):
                return False
            for entry in batch:
                if not entry.answer.done():
                    entry.answer.set_exception(error)
            return True
        for entry in batch:
            if not entry.answer.done():
                entry.answer.set_result(None)
        return True
