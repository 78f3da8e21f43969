"""As much HTTP/1.1 as the shop needs: a server and a client with keep-alive on bare asyncio protocols.

A web framework would cost each of the nine processes 20 MB and three times the CPU; the shop has to leave the machine
to what it demonstrates. Bodies come with Content-Length; chunked bodies are not understood.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_LONGEST_HEAD = 64 * 1024
_LONGEST_BODY = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: bytes = b""

    def json(self) -> dict[str, Any]:
        """The body as an object; an empty body is an empty object. Raises ValueError."""
        body = json.loads(self.body or b"{}")
        if not isinstance(body, dict):
            raise ValueError("body must be a JSON object")
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a client got."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Handler = Callable[[Request], Awaitable[Response]]


def json_response(body: object, status: int = 200) -> Response:
    return Response(status=status, body=json.dumps(body).encode() + b"\n")


async def serve(handler: Handler, port: int) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _ServerConnection(handler), "127.0.0.1", port, backlog=512)


def _parse_head(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}


class _Messages:
    """Cuts a stream of bytes into messages: first line, headers, body."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take(self) -> tuple[str, dict[str, str], bytes] | None:
        """The next whole message, or None until more has arrived. Raises ValueError on what is not HTTP."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                raise ValueError(f"head is longer than {_LONGEST_HEAD} bytes")
            return None
        first, headers = _parse_head(self._buffer[:end])
        length = int(headers.get("content-length", "0"))
        if "transfer-encoding" in headers or not 0 <= length <= _LONGEST_BODY:
            raise ValueError(f"body must have a length of at most {_LONGEST_BODY} bytes")
        start = end + 4
        if len(self._buffer) < start + length:
            return None
        body = self._buffer[start : start + length]
        self._buffer = self._buffer[start + length :]
        return first, headers, body


class _ServerConnection(asyncio.Protocol):
    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._messages = _Messages()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._messages.feed(data)
        if self._task is None:
            self._next()

    def _next(self) -> None:
        try:
            message = self._messages.take()
            if message is None:
                return
            first, headers, body = message
            method, target, version = first.split(" ", 2)
        except ValueError:
            self._transport.write(_encode(Response(status=400), keep=False))
            self._transport.close()
            return
        parts = urlsplit(target)
        request = Request(
            method=method, path=parts.path, query=dict(parse_qsl(parts.query)), headers=headers, body=body
        )
        wish = headers.get("connection", "").lower()
        keep = wish == "keep-alive" if version == "HTTP/1.0" else wish != "close"
        self._task = asyncio.ensure_future(self._answer(request, keep))

    async def _answer(self, request: Request, keep: bool) -> None:
        try:
            response = await self._handler(request)
        except Exception as error:  # noqa: BLE001 - a server answers every request; the caller sees what went wrong
            response = json_response({"error": f"{type(error).__name__}: {error}"}, 500)
        self._task = None
        if self._transport.is_closing():
            return
        self._transport.write(_encode(response, keep=keep))
        if keep:
            self._next()
        else:
            self._transport.close()


def _encode(response: Response, *, keep: bool) -> bytes:
    head = (
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\n"
        f"Content-Type: {response.content_type}\r\nContent-Length: {len(response.body)}\r\n"
    )
    return (head + ("\r\n" if keep else "Connection: close\r\n\r\n")).encode() + response.body


class _ClientConnection(asyncio.Protocol):
    def __init__(self) -> None:
        self._messages = _Messages()
        self._waiter: asyncio.Future[Reply] | None = None
        self._transport: asyncio.Transport
        self.is_usable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_usable = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionResetError("server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._messages.feed(data)
        try:
            message = self._messages.take()
        except ValueError as error:
            self.close()
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(ConnectionError(str(error)))
            return
        if message is None or self._waiter is None or self._waiter.done():
            return
        first, headers, body = message
        self.is_usable = headers.get("connection", "").lower() != "close"
        self._waiter.set_result(Reply(status=int(first.split(" ", 2)[1]), headers=headers, body=body))

    async def exchange(self, raw: bytes) -> Reply:
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(raw)
        return await self._waiter

    def close(self) -> None:
        self.is_usable = False
        self._transport.close()


class Client:
    """A pool of kept-alive connections to one address. A request that runs out of time closes its connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_ClientConnection] = []

    async def request(
        self,
        method: str,
        path: str,
        *,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Reply:
        """Raises TimeoutError and OSError (nobody answers, connection broken)."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        raw = f"{method} {path} HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body
        async with asyncio.timeout(timeout_seconds):
            connection = await self._connection()
            try:
                reply = await connection.exchange(raw)
            except BaseException:
                connection.close()
                raise
        if connection.is_usable:
            self._idle.append(connection)
        else:
            connection.close()
        return reply

    async def _connection(self) -> _ClientConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(_ClientConnection, "127.0.0.1", self._port)
        return protocol

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()
