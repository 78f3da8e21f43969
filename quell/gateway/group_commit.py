"""Group commit: requests that arrive while the database commits share the next commit."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

from quell.incidents.errors import Unavailable
from quell.incidents.inbox import InboxItem

Receive = Callable[[Sequence[InboxItem]], int]
_Entry = tuple[Sequence[InboxItem], "asyncio.Future[None]"]

ANSWER_WITHIN = timedelta(seconds=5)  # Alertmanager cuts the connection at 10 s
MOST_WAITING = 20_000


class GroupCommit:
    """`submit` returns when the items are durable, and raises Unavailable when that takes too long.

    Items of a request that was answered with an error may still be committed; senders repeat, and ids make the
    repetition harmless.
    """

    def __init__(
        self, receive: Receive, *, answer_within: timedelta = ANSWER_WITHIN, most_waiting: int = MOST_WAITING
    ) -> None:
        self._receive = receive
        self._answer_within = answer_within
        self._most_waiting = most_waiting
        self._waiting: list[_Entry] = []
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, items: Sequence[InboxItem]) -> None:
        waiting = sum(len(queued) for queued, _ in self._waiting)
        if waiting + len(items) > self._most_waiting:
            raise Unavailable(
                f"{waiting} events wait to be stored, the limit is {self._most_waiting}: send again later"
            )
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            await asyncio.wait_for(future, self._answer_within.total_seconds())
        except TimeoutError as error:
            seconds = self._answer_within.total_seconds()
            raise Unavailable(f"the store did not commit within {seconds:g} s: send again later") from error

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            if not await self._commit(batch) and len(batch) > 1:
                for entry in batch:  # somebody's items cannot be stored; the others shall not suffer for it
                    await self._commit([entry], is_last_try=True)

    async def _commit(self, batch: list[_Entry], *, is_last_try: bool = False) -> bool:
        """Commit together; whether every request got its answer."""
        items = [item for queued, _ in batch for item in queued]
        try:
            await asyncio.to_thread(self._receive, items)
        except Exception as error:  # noqa: BLE001 - handed to each request, which answers for it
            if len(batch) > 1 and not is_last_try and not isinstance(error, Unavailable):
                return False
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return True
        for _, future in batch:
            if not future.done():
                future.set_result(None)
        return True
