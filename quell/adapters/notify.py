"""Delivery through Apprise: one message to one address, with a time limit, and an error text without secrets."""

import logging
import re
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from quell.config.value import read_reference
from quell.incidents.errors import InvalidInput, Unavailable
from quell.incidents.incident import Severity
from quell.incidents.notification import NotificationKind
from quell.triage.notification import Message

_MASK = "****"
_SHORTEST_SECRET = 3
_LONGEST_ERROR = 300
# Apprise logs what goes wrong, with hosts and parts of addresses that are tokens in many of its schemes: what it says
# is taken here, masked, and goes nowhere else.
_APPRISE = logging.getLogger("apprise")
_APPRISE.propagate = False


def send(reference: str, message: Message, *, timeout: timedelta, severity: str, contact: str | None = None) -> None:
    """Send to the address that `reference` names. Raises Unavailable (try again) with a masked reason.

    `severity` colours the message where the service knows colours: a Severity, `resolved` or `info`. `contact`
    replaces `{contact}` in the address.
    """
    try:
        url = read_reference(reference)
    except InvalidInput as error:
        raise Unavailable(f"address of {reference} is not known: {error}") from error
    if contact is not None:
        url = url.replace("{contact}", quote(contact, safe=""))
    with _heard() as said:
        try:
            is_sent = _notify(url, message, timeout, severity)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; its text may hold the address
            said.append(f"{type(error).__name__}: {error}")
            is_sent = False
    if not is_sent:
        why = "; ".join(said) or "the service refused without a reason"
        raise Unavailable(f"{reference} was not reached: {mask(why, url, contact)[:_LONGEST_ERROR]}")


def is_known_address(url: str) -> bool:
    """Whether Apprise knows the scheme and finds everything that it needs in the address."""
    with _heard():
        return _plugin(url) is not None


def mask(text: str, url: str, contact: str | None = None) -> str:
    """The text with every part of the address hidden but its scheme.

    >>> mask("POST https://hooks.example/T0K3N failed for bob", "json://bob:pw@hooks.example/T0K3N?key=S3CRET")
    'POST https://**** failed for ****'
    """
    secrets = {part for whole in (url, contact or "") for part in _parts(whole)}
    for secret in sorted(secrets, key=len, reverse=True):
        text = re.sub(re.escape(secret), _MASK, text, flags=re.IGNORECASE)
    return re.sub(r"(\*{4})+", _MASK, text)


def _parts(url: str) -> set[str]:
    rest = url.split("://", 1)[-1]
    pieces = {url, rest, *re.split(r"[/?&=:@,;#+\s]+", rest)}
    with suppress(ValueError):
        parts = urlsplit(url)
        pieces |= {parts.netloc, parts.path, parts.query, parts.hostname or "", parts.password or ""}
    pieces |= {unquote(piece) for piece in pieces}
    return {piece for piece in pieces if len(piece) >= _SHORTEST_SECRET}


def _plugin(url: str) -> Any:
    # imported late: it takes a tenth of a second, which no command but these needs
    from apprise import Apprise

    return Apprise.instantiate(url, suppress_exceptions=True)  # pyright: ignore[reportUnknownMemberType] -- untyped


def _notify(url: str, message: Message, timeout: timedelta, severity: str) -> bool:
    from apprise import Apprise, NotifyFormat, NotifyType

    plugin = _plugin(url)
    if plugin is None:
        _APPRISE.warning("the address is none that Apprise knows, or lacks a part; see `quell notify test`")
        return False
    plugin.retry = 0  # the outbox tries again by itself, later and without holding a thread
    plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout.total_seconds()
    sender = Apprise()
    sender.add(plugin)  # pyright: ignore[reportUnknownMemberType] -- untyped
    is_plain = plugin.notify_format == NotifyFormat.TEXT
    return bool(
        sender.notify(
            title=message.title,
            body=message.text if is_plain else message.markdown,
            body_format=NotifyFormat.TEXT if is_plain else NotifyFormat.MARKDOWN,
            notify_type=NotifyType(_COLOURS.get(severity, "info")),
        )
    )


_COLOURS: Mapping[str, str] = {
    Severity.CRITICAL: "failure",
    Severity.MAJOR: "warning",
    Severity.MINOR: "warning",
    NotificationKind.RESOLVED: "success",
}


class _Ear(logging.Handler):
    """What Apprise says in this thread; other threads are sending something else."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.said.append(record.getMessage())


@contextmanager
def _heard() -> Generator[list[str]]:
    ear = _Ear()
    _APPRISE.propagate = False  # again: importing Apprise and configuring logging both set it back
    _APPRISE.addHandler(ear)
    try:
        yield ear.said
    finally:
        _APPRISE.removeHandler(ear)
