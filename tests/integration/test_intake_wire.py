"""Whatever comes over the wire to a door: it is taken, or refused with a status and words that are documented; and the
gateway goes on taking alerts."""

import gzip
import json
import os
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from deployments.gateway import serving
from deployments.http_protocol import LARGEST_HEAD
from quell.adapters.signature import sign
from quell.adapters.store.memory import MemoryStore
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.gateway.app import create_app
from quell.gateway.body_limit import LARGEST_BODY
from quell.gateway.deps import GatewayDeps
from quell.gateway.intake import DOORS
from quell.gateway.senders import hash_token
from quell.incidents.event_source import EventKind, EventSource, ReportLimits
from quell.incidents.inbox import InboxItem, Quarantine
from quell.ports import MetricSource, Store
from tasks.intake import drain_inbox
from tasks.resources import Resources

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
EXAMPLES = 3000 if os.environ.get("QUELL_HYPOTHESIS") == "search" else 150
shared = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
GOOD: Mapping[str, Any] = {
    "/api/v1/alerts/alertmanager": {"version": "4", "alerts": [{"labels": {"alertname": "Slow"}}]},
    "/api/v2/alerts": [{"labels": {"alertname": "Slow"}, "startsAt": "2026-11-26T11:58:54.725Z"}],
    "/api/v1/alerts": {"labels": {"alertname": "Slow"}, "annotations": {"summary": "é"}},
    "/api/v1/changes": {"service": "checkout", "summary": "deploy 7", "at": "2026-11-26T11:58:54Z", "kind": "deploy"},
    "/api/v1/reports": {"text": "it hangs", "contact": "a@example.org", "consent": True},
}
DOCUMENTED = {400, 401, 403, 413, 422, 429, 503}


@dataclass(frozen=True)
class Served:
    client: httpx.Client
    store: Store
    config: Config

    @property
    def address(self) -> tuple[str, int]:
        return self.client.base_url.host, self.client.base_url.port or 0

    def check(self, path: str, answer: httpx.Response) -> None:
        """Taken with what the door promises, or refused in words."""
        if answer.status_code in (200, 202):
            return
        assert answer.status_code in DOCUMENTED, answer.text
        assert answer.headers["content-type"] == "application/json"
        said: Any = answer.json()
        text = said if path == "/api/v2/alerts" and answer.status_code == 400 else said["error"]
        text = text["error"] if isinstance(text, dict) else text
        assert isinstance(text, str) and len(text) > 10, answer.text

    def still_takes_alerts(self) -> None:
        name = f"Fresh{os.urandom(8).hex()}"
        body = [{"labels": {"alertname": name}, "startsAt": "2026-11-26T11:58:54Z"}]
        answer = self.client.post("/api/v1/alerts", json=body, headers={"Authorization": "Bearer token"})
        assert (answer.status_code, answer.json()) == (200, {"taken": 1, "rejected": []})
        (item,) = [item for item in self.waiting() if name in json.dumps(item.payload)]
        assert item.events == 1

    def held(self) -> dict[str, str]:
        with self.store.reading() as tx:
            return {item.id: item.error for item in tx.inbox.find({"quarantine": Quarantine.HELD})}

    def waiting(self) -> list[InboxItem]:
        with self.store.reading() as tx:
            return tx.inbox.find({"processed_at": None})

    def triage(self) -> dict[str, str]:
        """Triage whatever was taken; what it had to set aside, and why."""
        metrics = cast(MetricSource, None)  # nothing here asks for any
        res = Resources(config=self.config, store=self.store, metrics=metrics, actuators={}, clock=lambda: NOW)
        before = self.held()
        while self.waiting():
            drain_inbox(res)
        return {id: error for id, error in self.held().items() if id not in before}

    def say(self, request: bytes, patience: float = 10) -> bytes:
        """Write bytes as they are; what comes back until the gateway hangs up, or says no more.

        The first word is awaited for `patience` seconds. A gateway that refuses in the middle of a
        request hangs up on the writer; what it said before is read all the same.
        """
        heard = b""
        with socket.create_connection(self.address, timeout=patience) as wire:
            with suppress(OSError):
                wire.sendall(request)
            with suppress(OSError):
                while piece := wire.recv(65536):
                    heard += piece
                    wire.settimeout(0.5)
        return heard


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wire")


@pytest.fixture
def served(postgres_url: str, folder: Path) -> Iterator[Served]:
    """On PostgreSQL, because it takes least."""
    yield from serve(SqlStore(postgres_url), folder, None)


@pytest.fixture
def wired(folder: Path) -> Iterator[Served]:
    """For what is decided before a store hears of it."""
    yield from serve(MemoryStore(), folder, None)


@pytest.fixture
def guarded(postgres_url: str, folder: Path) -> Iterator[Served]:
    """Open to one token, and to who signs with the secret."""
    (folder / "signing").write_bytes(b"secret")
    sources = (
        EventSource(name="token", may_send=frozenset({EventKind.ALERTS}), tokens=(hash_token("token"),)),
        EventSource(name="signer", may_send=frozenset(EventKind), signing_secret=f"file:{folder}/signing"),
    )
    yield from serve(SqlStore(postgres_url), folder, {source.name: source for source in sources})


def serve(store: Store, folder: Path, sources: dict[str, EventSource] | None) -> Iterator[Served]:
    """Afterwards the gateway must be as good as before."""
    config = Config(
        folder=folder,
        connections=Connections(store="", prometheus=""),
        sources=sources,
        report_limits=ReportLimits(per_address=1_000_000, overall=1_000_000),
    )
    deps = GatewayDeps(
        store=store, config=config, clock=lambda: NOW, decide=lambda **_: pytest.fail("no decision"), run_url=str
    )
    with serving(create_app(deps)) as address, httpx.Client(base_url=address, timeout=20, trust_env=False) as client:
        made = Served(client, store, config)
        yield made
        made.still_takes_alerts()
    store.close()


ODD = st.sampled_from(["\0", "\ud800", "", " ", "firing", "2026-11-26T07:58:54z", "é\u202e"])
TEXT = st.one_of(st.text(max_size=20), ODD)
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -(2**63) - 1, 2**64, float("nan"), 1e308]))
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)


@st.composite
def bent(draw: st.DrawFn, value: Any) -> Any:
    """The value with something in one place replaced, lost or added."""
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        inside = [key for key, inner in value.items() if isinstance(inner, dict | list)]
        key = draw(st.one_of(st.sampled_from([*value, *inside * 3]), st.none()))
        if key is None:
            return value | {draw(ODD): draw(st.one_of(ODD, JUNK))}
        if draw(st.integers(0, 4)):
            return value | {key: draw(bent(value[key]))}
        return {name: inner for name, inner in value.items() if name != key}
    if isinstance(value, list) and value and draw(st.integers(0, 9)):
        return [*value[1:], draw(bent(value[0])), *draw(st.lists(st.sampled_from(value), max_size=2))]
    return draw(st.one_of(ODD, JUNK))


def twice(body: Any) -> bytes:
    """Every key of the object twice: which of the two counts is nobody's promise, but one answer is."""
    text = json.dumps(body)
    return f"{text[:-1]},{text[1:]}".encode() if isinstance(body, dict) and body else text.encode()


def deep(depth: int) -> bytes:
    return b'{"labels":' * depth + b"[" * depth


def near_bodies(path: str) -> st.SearchStrategy[bytes]:
    """Almost what the door takes."""
    bodies = st.one_of(bent(GOOD[path]), bent(GOOD[path]).flatmap(bent))
    return st.one_of(bodies.map(lambda body: json.dumps(body).encode()), bodies.map(twice))


def far_bodies(path: str) -> st.SearchStrategy[bytes]:
    """What has little to do with it."""
    good = json.dumps(GOOD[path])
    texts = st.one_of(
        JUNK.map(lambda body: json.dumps(body).encode()),
        st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.binary(max_size=200),
        st.integers(1, 20_000).map(deep),
        st.integers(0, len(good)).map(lambda length: good[:length].encode()),
        st.sampled_from(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7"]).map(lambda name: good.encode(name)),
    )
    return st.one_of(texts, texts.map(gzip.compress), texts.map(zlib.compress))


HEADER_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60).map(
    lambda text: text.strip(" ")  # the client sends no other
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.one_of(
            st.sampled_from(
                ["application/json", "application/json; charset=utf-16", "text/plain", "multipart/form-data", "", "/",
                 "application/x-www-form-urlencoded"]
            ),
            HEADER_VALUES,
        ),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "br", "identity", "gzip, gzip", "nonsense"]),
        "Accept": st.sampled_from(["text/html", "application/xml;q=1", "*/*", "nonsense"]),
        "X-Long": st.integers(1, 40_000).map("x".__mul__),
        "Host": st.one_of(st.just("quell:8800"), st.from_regex(r"[a-z0-9.:\[\]-]{1,30}", fullmatch=True)),
    },
)  # fmt: skip


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("bodies", [near_bodies, far_bodies])
def test_no_body_breaks_a_door(served: Served, path: str, bodies: Callable[[str], st.SearchStrategy[bytes]]) -> None:
    """A 500 makes senders repeat for ever what can never be taken."""

    @shared
    @given(bodies(path), HEADERS, st.booleans())
    @example(deep(100_000), {}, False)
    @example(b"", {}, True)
    @example(b"x" * (LARGEST_BODY + 1), {}, True)
    @example(b"[" + b"1" * 5000 + b"]", {"Content-Type": "application/json"}, False)
    def send(body: bytes, headers: dict[str, str], in_chunks: bool) -> None:
        content = iter([body[:7], body[7:]]) if in_chunks else body
        named = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
        served.check(path, served.client.post(path, content=content, headers=named))

    send()
    assert served.triage() == {}, "a 2xx is a promise that triage can read it"


STAMPS = st.one_of(
    st.just(str(int(NOW.timestamp()))),
    st.integers().map(str),
    st.sampled_from(["99999999999", "999999999999", "9" * 400, "-1", "1e3", "²", ""]),
    HEADER_VALUES,
)


@shared
@given(
    path=st.sampled_from(list(GOOD)),
    scheme=st.sampled_from(["Bearer ", "bearer", "Basic ", ""]),
    token=st.one_of(st.sampled_from(["token", "Token", "token token", "sha256:token"]), HEADER_VALUES),
    stamp=STAMPS,
    secret=st.sampled_from([b"secret", b"guessed", None]),
    said=st.sets(st.sampled_from(["token", "stamp", "signature"])),
    others=st.fixed_dictionaries({}, optional={b"X-Forwarded-For": HEADER_VALUES, b"Origin": HEADER_VALUES}),
)
def test_no_credentials_break_a_door(
    guarded: Served,
    path: str,
    scheme: str,
    token: str,
    stamp: str,
    secret: bytes | None,
    said: set[str],
    others: dict[bytes, str],
) -> None:
    """Who has none is told so, whatever stands in their place; and nothing but the right ones opens it."""
    body = json.dumps(GOOD[path]).encode()
    stamp_sent = stamp.strip().encode("latin-1")
    mark = b"v1=" if secret is None else sign(secret, stamp_sent, body).encode()
    named = {"Authorization": (scheme + token).strip().encode("latin-1"), "X-Quell-Timestamp": stamp_sent}
    named["X-Quell-Signature"] = mark
    names = {"token": "Authorization", "stamp": "X-Quell-Timestamp", "signature": "X-Quell-Signature"}
    sent = {names[part].encode(): named[names[part]] for part in said}
    more = {name: value.encode("latin-1") for name, value in others.items()}
    answer = guarded.client.post(path, content=body, headers=sent | more)
    guarded.check(path, answer)
    has_token = "token" in said and named["Authorization"].lower().split(b" ", 1)[0] == b"bearer" and token == "token"
    has_signed = {"stamp", "signature"} <= said and secret == b"secret" and "token" not in said
    assert has_token or has_signed or answer.status_code == 401, (sent, answer.text)


ALERT = b'{"labels":{"alertname":"Wire"},"startsAt":"2026-11-26T11:58:54Z"}'
HEAD = b"POST /api/v1/alerts HTTP/1.1\r\nHost: quell\r\n"
SIZE = b"Content-Length: %d\r\n" % len(ALERT)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
BROKEN: Mapping[str, bytes] = {
    "a length that is no number": HEAD + b"Content-Length: many\r\n\r\n" + ALERT,
    "a negative length": HEAD + b"Content-Length: -5\r\n\r\n" + ALERT,
    "a signed length": HEAD + b"Content-Length: +5\r\n\r\n" + ALERT,
    "a length of five thousand digits": HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n" + ALERT,
    "a length of two exabytes": HEAD + b"Content-Length: 2000000000000000000\r\n\r\n" + ALERT,
    "two lengths": HEAD + SIZE + b"Content-Length: 5\r\n\r\n" + ALERT,
    "a length and chunks": HEAD + SIZE + CHUNKED + b"\r\n" + ALERT,
    "a chunk whose size is no number": HEAD + CHUNKED + b"\r\nzz\r\n" + ALERT + b"\r\n0\r\n\r\n",
    "a chunk without end": HEAD + CHUNKED + b"\r\nffffffffffffffff\r\n" + ALERT,
    "a body that is cut off": HEAD + b"Content-Length: 500\r\n\r\n" + ALERT,
    "a body announced and never sent": HEAD + SIZE + b"Expect: 100-continue\r\n\r\n",
    "a header of a megabyte": HEAD + SIZE + b"X-Long: " + b"x" * 1_000_000 + b"\r\n\r\n" + ALERT,
    "ten thousand headers": HEAD + SIZE + b"X-Many: 1\r\n" * 10_000 + b"\r\n" + ALERT,
    "a NUL in a header": HEAD + SIZE + b"X-Nul: a\0b\r\n\r\n" + ALERT,
    "a space in a header's name": HEAD + SIZE + b"X Name: a\r\n\r\n" + ALERT,
    "a method that is none": b"POKE" + HEAD[4:] + SIZE + b"\r\n" + ALERT,
    "a version that is none": HEAD.replace(b"HTTP/1.1", b"HTTP/9.9") + SIZE + b"\r\n" + ALERT,
    "no version at all": b"POST /api/v1/alerts\r\n\r\n" + ALERT,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tunnel": b"CONNECT quell:8800 HTTP/1.1\r\nHost: quell\r\n\r\n" + ALERT,
    "a path that is no ASCII": HEAD.replace(b"/api", b"/\xc3\xa4pi") + SIZE + b"\r\n" + ALERT,
    "a path that is no text": HEAD.replace(b"/api", b"/%ff%00") + SIZE + b"\r\n" + ALERT,
    "a path of a megabyte": HEAD.replace(b"alerts", b"a" * 1_000_000) + SIZE + b"\r\n" + ALERT,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "nothing": b"",
}


UNANSWERED = {
    "nothing",
    "a body that is cut off",
    "a chunk without end",
    "a body announced and never sent",
}  # what is awaited may come


def answers_in(heard: bytes) -> list[tuple[int, bytes]]:
    """Status and body of every answer on one connection; 100 Continue is none yet."""
    found: list[tuple[int, bytes]] = []
    while heard:
        head, _, rest = heard.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        sizes = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        size = int(sizes[0]) if sizes else 0
        if status != 100:
            found.append((status, rest[:size]))
        heard = rest[size:]
    return found


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_http_is_refused_and_nothing_of_it_taken(wired: Served, name: str) -> None:
    """Neither does the server below the doors fail, nor does half of a request come through it."""
    patience = 0.5 if name in UNANSWERED else 10
    answers = answers_in(wired.say(BROKEN[name], patience))
    for status, body in answers:
        assert 400 <= status < 500
        assert len(json.loads(body)["error"]) > 10
    assert answers or name in UNANSWERED
    assert wired.waiting() == []


def test_two_requests_in_one_packet_are_two(wired: Served) -> None:
    """What comes after the announced length is the next request, and is answered for itself."""
    other = ALERT.replace(b"Wire", b"More")
    with socket.create_connection(wired.address, timeout=10) as wire:
        wire.sendall(HEAD + SIZE + b"\r\n" + ALERT + HEAD + SIZE + b"Connection: close\r\n\r\n" + other)
        heard = b"".join(iter(lambda: wire.recv(65536), b""))
    assert [status for status, _ in answers_in(heard)] == [200, 200]
    assert len(wired.waiting()) == 2


@pytest.mark.parametrize("to", [b"h2c", b"websocket"])
def test_an_offer_to_upgrade_loses_no_body(wired: Served, to: bytes) -> None:
    """Every Java client offers HTTP/2 with what it posts; its body was lost, and answered as if it were no JSON."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + to + b"\r\nHTTP2-Settings: AAEAAEAA\r\n"
    in_chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ALERT), ALERT)
    for kind, body in ((SIZE, ALERT), (CHUNKED, in_chunks)):
        request = HEAD + offer + kind + b"\r\n" + body
        for cut in (20, len(HEAD) + 30, len(request) - 30, len(request)):
            with socket.create_connection(wired.address, timeout=10) as wire:
                wire.sendall(request[:cut])
                time.sleep(0.02)  # so that the parts come as two
                wire.sendall(request[cut:] + b"GET /healthz HTTP/1.1\r\nHost: quell\r\nConnection: close\r\n\r\n")
                heard = b"".join(iter(lambda: wire.recv(65536), b""))
            assert answers_in(heard) == [(200, b'{"taken":1,"rejected":[]}'), (200, b"ok")], (kind, cut)


def test_many_offers_in_one_packet_are_declined_one_by_one(wired: Served) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: q\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: q\r\nConnection: close, upgrade\r\nUpgrade: h2c\r\n\r\n"
    answers = answers_in(wired.say(one * 2000 + last))
    assert [status for status, _ in answers] == [200] * 2001


def test_a_head_may_be_long_and_not_longer(wired: Served) -> None:
    """Nobody fills the memory with headers."""
    for size, status in ((LARGEST_HEAD - 1000, 200), (LARGEST_HEAD + 1, 431), (10 * LARGEST_HEAD, 431)):
        for long in (b"X-Long: " + b"x" * size + b"\r\n", b"X-Long: 1\r\n" * (size // 7)):
            answers = answers_in(wired.say(HEAD + SIZE + long + b"\r\n" + ALERT))
            assert [answer for answer, _ in answers] == [status], (size, long[:20], answers)


def test_a_sender_who_stops_in_the_middle_holds_nobody_up(wired: Served) -> None:
    """Forty connections that promise a body and do not send it, while others send theirs."""
    lines = [socket.create_connection(wired.address, timeout=10) for _ in range(40)]
    try:
        for line in lines:
            line.sendall(HEAD + b"Content-Length: 500\r\n\r\n" + ALERT)
        wired.still_takes_alerts()
    finally:
        for line in lines:
            line.close()
