"""Who is it that sends, and may they: bearer tokens that are kept as hashes, and signatures with a time."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

from quell.adapters.signature import SIGNATURE, TIMESTAMP, is_signed
from quell.config.value import is_reference, read_reference
from quell.incidents.errors import InvalidInput, QuellError, Refused
from quell.incidents.event_source import EventKind, EventSource

HASH_PREFIX = "sha256:"
_HINT = "send `Authorization: Bearer TOKEN` with a token of a source in sources.yaml"

Headers = Iterable[tuple[bytes, bytes]]


class NotKnown(QuellError):
    """Nobody whom sources.yaml names: mend the sender's token, signature or clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """`source` is the sender's name, None where no sources are configured; `sent_at` is the time it signed."""

    source: str | None
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signer:
    source: EventSource
    secret: bytes


def hash_token(token: str) -> str:
    """How a token stands in the configuration. Tokens are random and long, so a fast hash is enough."""
    return HASH_PREFIX + hashlib.sha256(token.encode()).hexdigest()


class Senders:
    """Admits what a source may send. References in the sources are read once, when the gateway starts."""

    def __init__(self, sources: Mapping[str, EventSource] | None) -> None:
        """Raises InvalidInput when a hash or a secret cannot be read."""
        self._is_open = sources is None
        self._by_hash = {each: source for source in (sources or {}).values() for each in _hashes(source)}
        self._signers = {
            source.name: _Signer(source=source, secret=read_reference(source.signing_secret).encode())
            for source in (sources or {}).values()
            if source.signing_secret
        }

    def admit(self, kind: EventKind, headers: Headers, body: bytes, *, client: str | None, now: datetime) -> Admitted:
        """Raises NotKnown without credentials that hold, Refused where the source may not send that kind."""
        said = {name: value for name, value in headers if name in _READ}
        if self._is_open:
            _admit_local(client, said)
            return Admitted(source=None)
        source = self._bearer(said)
        signer = self._signers.get(source.name) if source else None
        sent_at = None
        if signer is not None or source is None:
            source, sent_at = self._signed(said, body, signer, now)
        if kind not in source.may_send:
            allowed = ", ".join(sorted(source.may_send)) or "nothing"
            raise Refused(f"source {source.name} may not send {kind}; sources.yaml lets it send {allowed}")
        return Admitted(source=source.name, sent_at=sent_at)

    def _bearer(self, said: Mapping[bytes, bytes]) -> EventSource | None:
        given = said.get(b"authorization")
        if given is None:
            return None
        scheme, _, token = given.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            raise NotKnown(f"authorization is of the scheme {scheme[:20]!r}: {_HINT}")
        # Found by its hash: what the time of a look-up tells of a hash helps nobody to a token.
        source = self._by_hash.get(hash_token(token.strip()))
        if source is None:
            raise NotKnown(f"the token is of no source: {_HINT}, or add its hash there (`quell source new`)")
        return source

    def _signed(
        self, said: Mapping[bytes, bytes], body: bytes, known: _Signer | None, now: datetime
    ) -> tuple[EventSource, datetime]:
        given, stamp = said.get(SIGNATURE), said.get(TIMESTAMP)
        if given is None or stamp is None:
            if known is None:
                raise NotKnown(f"no credentials: {_HINT}, or sign the body")
            raise NotKnown(f"source {known.source.name} must sign: send X-Quell-Timestamp and X-Quell-Signature")
        candidates = [known] if known else list(self._signers.values())
        signer = next((each for each in candidates if is_signed(given, each.secret, stamp, body)), None)
        if signer is None:
            raise NotKnown(
                "the signature does not hold: send X-Quell-Signature: "
                'v1=hex(hmac_sha256(secret, timestamp + "." + body))'
            )
        return signer.source, _fresh(stamp, signer.source, now)


_READ = frozenset({b"authorization", b"origin", b"host", TIMESTAMP, SIGNATURE})


def _fresh(stamp: bytes, source: EventSource, now: datetime) -> datetime:
    """When it was signed, if that is near enough to now: an old request cannot be sent again by others."""
    if not stamp.isdigit() or len(stamp) > 11:  # more would lie beyond the years that exist
        raise NotKnown(f"X-Quell-Timestamp is {stamp[:20]!r}: send seconds since 1970, as `date +%s` says")
    sent_at = datetime.fromtimestamp(int(stamp), UTC)
    away = abs(now - sent_at)
    if away > source.tolerance:
        raise NotKnown(
            f"the request was signed {away.total_seconds():.0f} s from now, the limit is "
            f"{source.tolerance.total_seconds():.0f} s: set the sender's clock, and sign when sending"
        )
    return sent_at


def _hashes(source: EventSource) -> list[str]:
    return [_checked(_read(token, source) if is_reference(token) else token, source) for token in source.tokens]


def _read(reference: str, source: EventSource) -> str:
    try:
        return read_reference(reference)
    except InvalidInput as error:
        text = f"a token of source {source.name} is not there: {error}; `quell source new {source.name}` makes one"
        raise InvalidInput(text) from error


def _checked(written: str, source: EventSource) -> str:
    digits = written.removeprefix(HASH_PREFIX).lower()
    if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise InvalidInput(
            f"a token of source {source.name} is no hash: write sha256: and 64 hex digits, as `quell source new` does"
        )
    return HASH_PREFIX + digits


def _admit_local(client: str | None, said: Mapping[bytes, bytes]) -> None:
    """Without sources.yaml only programs of this machine may send, and no web page that somebody there looks at."""
    if client is not None and not _is_loopback(client):
        raise NotKnown("no sources are configured, so only this machine may send: name senders in sources.yaml")
    origin = said.get(b"origin")
    if origin is not None and origin.rpartition(b"//")[2] != said.get(b"host"):
        raise Refused(f"a web page of {json.dumps(origin.decode('latin-1')[:80])} may not send events")


def _is_loopback(client: str) -> bool:
    try:
        return ip_address(client).is_loopback
    except ValueError:
        return False
