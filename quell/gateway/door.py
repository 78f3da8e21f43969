"""A door for events: one address, spoken to in ASGI itself, because FastAPI's layers would cost more than the work.

The order is: size, credentials, rate, reading, commit, answer. What is not committed is not answered with a 2xx, and
what may work later is never answered with a 4xx (but 429, which says when).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from quell.gateway.body_limit import LARGEST_BODY, BodyTooLarge, read_body
from quell.gateway.group_commit import GroupCommit
from quell.gateway.inbox_items import Batch, Rejected, held_item, mark_report, take_body
from quell.gateway.measures import Measures
from quell.gateway.problems import FAILED, headers_of, status_of, words_of
from quell.gateway.quarantine import QuarantineRoom
from quell.gateway.rate_limit import RateLimit
from quell.gateway.sender_mark import SenderMark
from quell.gateway.senders import Senders
from quell.incidents.errors import InvalidInput, QuellError
from quell.incidents.event_source import EventKind
from quell.incidents.inbox import InboxItem
from quell.ports import Clock
from quell.triage.form import KIND_OF_FORM, Form
from quell.triage.unreadable import Unreadable

_log = logging.getLogger(__name__)

_UNNAMED = {Form.WEBHOOK: "alertmanager", Form.API_V2: "prometheus"}  # how senders are called where none has a name
_ONE_EVENT = frozenset({EventKind.CHANGES, EventKind.REPORTS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What all doors share."""

    clock: Clock
    commit: GroupCommit
    senders: Senders
    room: QuarantineRoom
    measures: Measures
    report_rate: RateLimit
    mark: SenderMark


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Door:
    """Takes one form of body at one path."""

    def __init__(self, path: str, form: Form, desk: Desk) -> None:
        self.path = path
        self.form = form
        self.kind = KIND_OF_FORM[form]
        self._desk = desk
        self._noun = self.kind.removesuffix("s")
        self._seconds: dict[int, Callable[[float], None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.monotonic()
        if scope["method"] != "POST":
            answer = _problem(405, f"{self.path} takes POST only", ((b"allow", b"POST"),))
        else:
            answer = await self._answer(scope, receive)
        if answer is None:
            return  # the sender has gone
        self._observe(answer.status, time.monotonic() - start)
        headers = [(b"content-length", str(len(answer.body)).encode()), *answer.headers]
        if answer.body:
            headers.append((b"content-type", b"application/json"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | None:
        try:
            body = await read_body(scope, receive, LARGEST_BODY)
            if body is None:
                return None
            return await self._take(scope, body)
        except BodyTooLarge as error:
            return _problem(413, str(error), ((b"connection", b"close"),))
        except QuellError as error:
            return _problem(status_of(error), str(error), headers_of(error))
        except Exception:  # noqa: BLE001 - the last resort of this address, as FastAPI's own would be
            _log.exception("%s failed", self.path)  # the traceback holds no values of what was sent
            return _problem(500, FAILED)

    async def _take(self, scope: Scope, body: bytes) -> Answer:
        desk, now = self._desk, self._desk.clock()
        client = scope["client"][0] if scope.get("client") else None
        admitted = desk.senders.admit(self.kind, scope["headers"], body, client=client, now=now)
        source = admitted.source or _UNNAMED.get(self.form, "api")
        if self.kind is EventKind.REPORTS:
            desk.report_rate.check(client or "")
        try:
            batch = take_body(self.form, body, source=source, received_at=now, sent_at=admitted.sent_at)
        except ValidationError as error:
            await self._hold([_whole(self.form, body, words_of(error.errors()))], source)
            return _problem(422, words_of(error.errors()))
        except InvalidInput as error:
            await self._hold([_whole(self.form, body, str(error))], source)
            raise
        if self.kind is EventKind.REPORTS:
            batch = await asyncio.to_thread(mark_report, batch, desk.mark)
        held = await self._held(batch.rejected, source) if batch.rejected else []
        events = batch.taken + len(held)
        await desk.commit.submit([*batch.items, *held], events=events, size=len(body))
        desk.measures.events.labels(self._noun, "taken").inc(batch.taken)
        return self._taken(batch)

    def _taken(self, batch: Batch) -> Answer:
        if self.kind in _ONE_EVENT:
            return Answer(status=202, body=orjson.dumps({"id": batch.items[0].id}))
        rejected = [{"index": part.index, "error": part.error} for part in batch.rejected]
        if self.form is Form.API_V2:
            return _as_alertmanager(batch.rejected)
        if rejected and not batch.taken:
            text = f"none of {len(rejected)} alerts can be read; the first: {batch.rejected[0].error}"
            return Answer(status=422, body=orjson.dumps({"error": text, "rejected": rejected}))
        return Answer(status=200, body=orjson.dumps({"taken": batch.taken, "rejected": rejected}))

    async def _hold(self, rejected: Sequence[Rejected], source: str) -> None:
        held = await self._held(rejected, source)
        if held:
            await self._desk.commit.submit(held, events=len(held), size=sum(len(part.part.body) for part in rejected))

    async def _held(self, rejected: Sequence[Rejected], source: str) -> list[InboxItem]:
        desk, now = self._desk, self._desk.clock()
        desk.measures.events.labels(self._noun, "rejected").inc(len(rejected))
        items = [
            (held_item(each.part, error=each.error, source=source, received_at=now), len(each.part.body))
            for each in rejected
        ]
        return await asyncio.to_thread(desk.room.choose, items)

    def _observe(self, status: int, seconds: float) -> None:
        observe = self._seconds.get(status)
        if observe is None:
            child = self._desk.measures.request_seconds.labels(self.path, str(status))
            observe = self._seconds[status] = child.observe
        observe(seconds)


def _whole(form: Form, body: bytes, error: str) -> Rejected:
    return Rejected(index=0, error=error, part=Unreadable(form=form, body=body))


def _as_alertmanager(rejected: Sequence[Rejected]) -> Answer:
    """Alertmanager's own API answers with nothing, or with 400 and one text where any alert was wrong."""
    if not rejected:
        return Answer(status=200, body=b"")
    texts = "; ".join(f"alert {part.index}: {part.error}" for part in rejected)
    return Answer(status=400, body=orjson.dumps(texts))


def _problem(status: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    body: dict[str, Any] = {"error": text}
    return Answer(status=status, body=orjson.dumps(body), headers=headers)
