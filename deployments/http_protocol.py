"""HTTP/1.1 as the gateway speaks it, below the application: bounded heads, no upgrades, and errors in words.

uvicorn with httptools keeps a head of any size, from anybody, before the application hears of it; and it loses the body
of a request that offers to upgrade the connection, as every Java client does (Kludex/uvicorn#2722, with 0.54: look at
`_decline` again when that is closed).
"""

import json

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

LARGEST_HEAD = 64 * 1024  # bytes of first line and headers; as uvicorn's other parser, h11, has it
_OFFER = frozenset({b"connection", b"upgrade", b"http2-settings"})


class HeadTooLarge(Exception):
    """The head of a request is over LARGEST_HEAD: send fewer or shorter headers."""


class GatewayProtocol(HttpToolsProtocol):
    """Answers 431 to a head over LARGEST_HEAD, 400 to what is no HTTP, and an upgrade as if it were not offered."""

    _is_in_head = False
    _head_size = 0  # what was parsed of the head
    _has_begun = False  # in the packet at hand
    _fed = 0  # bytes of the packets after that which did not end the head; one header may be all of them
    _is_too_large = False

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._has_begun = False
        rest = memoryview(data)
        try:
            while (offer := self._feed(rest)) is not None:  # many requests may be in one packet
                rest = rest[offer:]
                self._decline()
        except httptools.HttpParserError:
            self._refuse()
            return
        self._fed = 0 if self._has_begun else self._fed + len(data)
        if self._is_in_head and self._fed > LARGEST_HEAD:
            self._is_too_large = True
            self._refuse()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._has_begun, self._head_size = True, True, 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _feed(self, data: memoryview) -> int | None:
        """Parse; where a request offers an upgrade, stop after its head and say how far that was."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            return int(offer.args[0])
        return None

    def _decline(self) -> None:
        """Read the head again without the offer: a server may ignore it (RFC 9110, section 7.8)."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            raise httptools.HttpParserError("no tunnels here")
        closes = any(name == b"connection" and b"close" in value.lower() for name, value in self.headers)
        headers = [(name, value) for name, value in self.headers if name not in _OFFER]
        headers += [(b"connection", b"close")] if closes else []
        lines = [b"%s %s HTTP/%s" % (method, self.url, version), *(b"%s: %s" % header for header in headers)]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.parser.feed_data(b"\r\n".join(lines) + b"\r\n\r\n")

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > LARGEST_HEAD:
            self._is_too_large = True
            raise HeadTooLarge  # the parser gives up

    def _refuse(self) -> None:
        status, text = 400, "this is no HTTP/1.1 request: send one"
        if self._is_too_large:
            status = 431
            text = f"the request's head is over {LARGEST_HEAD} bytes, which is the limit: send fewer or shorter headers"
        body = json.dumps({"error": text}).encode()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()
