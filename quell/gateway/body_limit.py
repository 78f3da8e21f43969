"""A limit on what one request may carry, checked while it arrives."""

import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 1024 * 1024


class BodyTooLarge(Exception):
    """A body is over the limit; the text says both."""

    def __init__(self, size: int, largest: int) -> None:
        super().__init__(f"body has {size} bytes or more, the limit is {largest}: send fewer alerts per request")


async def read_body(scope: Scope, receive: Receive, largest: int) -> bytes | None:
    """The whole body; None when the sender has gone. Raises BodyTooLarge without keeping more than `largest`."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > largest:
            raise BodyTooLarge(int(value), largest)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > largest:
            raise BodyTooLarge(size, largest)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


class BodyLimit:
    """Answers 413 to a body over `largest` bytes, announced or not, without keeping more than that in memory."""

    def __init__(self, app: ASGIApp, largest: int = LARGEST_BODY) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await read_body(scope, receive, self._largest)
        except BodyTooLarge as error:
            await self._refuse(send, str(error))
            return
        if body is not None:
            await self._app(scope, _replay(body, receive), send)

    async def _refuse(self, send: Send, text: str) -> None:
        content = json.dumps({"error": text}).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body as one message, then whatever the server says (a disconnect)."""
    is_sent = False

    async def replay() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
