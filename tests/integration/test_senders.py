"""Who may send what: tokens kept as hashes, signatures with a time, and this machine alone where nobody is named."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from quell.adapters.signature import sign
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.gateway.app import create_app
from quell.gateway.deps import GatewayDeps
from quell.gateway.measures import Measures
from quell.gateway.quarantine import QuarantineRoom
from quell.gateway.senders import hash_token
from quell.incidents.errors import InvalidInput
from quell.incidents.event_source import EventKind, EventSource
from quell.incidents.inbox import InboxItem, InboxKind, Quarantine
from quell.incidents.report import Report
from quell.triage.intake import parse_report
from quell.triage.report_sense import voices_of

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
STAMP = str(int(NOW.timestamp())).encode()
SECRET = b"a secret that only pipeline and gateway know"
CHANGE = b'{"service":"checkout","summary":"deploy 7"}'
ALERT = b'[{"labels":{"alertname":"Errors"},"startsAt":"2026-11-23T11:59:00Z"}]'


@dataclass(frozen=True)
class Gateway:
    """The whole application, called from an address of one's choice."""

    store: SqlStore
    config: Config

    def post(
        self, path: str, body: bytes, headers: dict[str, str] | None = None, client: str = "10.0.0.7"
    ) -> httpx.Response:
        deps = GatewayDeps(
            store=self.store, config=self.config, clock=lambda: NOW, decide=_decides_nothing, run_url=lambda run: run
        )

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(create_app(deps), client=(client, 4000))
            async with httpx.AsyncClient(transport=transport, base_url="http://quell") as http:
                return await http.post(path, content=body, headers=headers)

        return asyncio.run(ask())

    def found(self, criteria: dict[str, Any]) -> list[InboxItem]:
        with self.store.reading() as tx:
            return tx.inbox.find(criteria)


def _decides_nothing(**_given: str) -> Any:
    raise AssertionError("no decision here")


def gateway_with(store: SqlStore, folder: Path, sources: dict[str, EventSource] | None) -> Gateway:
    config = Config(
        folder=folder,
        connections=Connections(store="", prometheus=""),
        sources=sources,
    )
    return Gateway(store, config)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = SqlStore(f"sqlite:///{tmp_path}/quell.db")
    yield store
    store.close()


@pytest.fixture
def gateway(store: SqlStore, tmp_path: Path) -> Gateway:
    (tmp_path / "signing").write_bytes(SECRET)
    sources = (
        EventSource(
            name="prometheus",
            may_send=frozenset({EventKind.ALERTS}),
            tokens=(hash_token("new token"), hash_token("old token")),
        ),
        EventSource(name="helpdesk", may_send=frozenset({EventKind.REPORTS}), tokens=(hash_token("of the helpdesk"),)),
        EventSource(name="app", may_send=frozenset({EventKind.REPORTS}), tokens=(hash_token("of the app"),)),
        EventSource(
            name="pipeline", may_send=frozenset({EventKind.CHANGES}), signing_secret=f"file:{tmp_path}/signing"
        ),
        EventSource(
            name="both",
            may_send=frozenset({EventKind.CHANGES}),
            tokens=(hash_token("with signature"),),
            signing_secret=f"file:{tmp_path}/signing",
        ),
    )
    return gateway_with(store, tmp_path, {source.name: source for source in sources})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def signed(body: bytes, secret: bytes = SECRET, stamp: bytes = STAMP) -> dict[str, str]:
    return {"X-Quell-Timestamp": stamp.decode(), "X-Quell-Signature": sign(secret, stamp, body)}


@pytest.mark.parametrize("headers", [{}, bearer("wrong"), bearer(""), {"Authorization": "Basic bmV3IHRva2Vu"}])
def test_without_a_token_that_holds_nothing_is_taken(gateway: Gateway, headers: dict[str, str]) -> None:
    """A stranger who can reach the port must not be able to open incidents, nor to fill the quarantine."""
    for body in (ALERT, b"junk"):
        answer = gateway.post("/api/v1/alerts", body, headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "sources.yaml" in answer.json()["error"]
    assert gateway.found({}) == []


def test_the_hash_is_no_token(gateway: Gateway) -> None:
    """Who reads the configuration can still not send."""
    assert gateway.post("/api/v1/alerts", ALERT, bearer(hash_token("new token"))).status_code == 401


@pytest.mark.parametrize("token", ["new token", "old token"])
def test_while_a_token_is_rotated_both_hold(gateway: Gateway, token: str) -> None:
    assert gateway.post("/api/v1/alerts", ALERT, bearer(token)).status_code == 200
    assert [item.source for item in gateway.found({})] == ["prometheus"]


def test_a_source_sends_only_what_it_may(gateway: Gateway) -> None:
    answer = gateway.post("/api/v1/changes", CHANGE, bearer("new token"))
    assert answer.status_code == 403
    assert "source prometheus may not send changes; sources.yaml lets it send alerts" in answer.json()["error"]
    assert gateway.found({}) == []


def test_a_signature_alone_is_enough_where_no_token_is_configured(gateway: Gateway) -> None:
    assert gateway.post("/api/v1/changes", CHANGE, signed(CHANGE)).status_code == 202
    assert [item.source for item in gateway.found({})] == ["pipeline"]


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (signed(CHANGE, secret=b"guessed"), "signature does not hold"),
        (signed(b'{"service":"checkout","summary":"deploy 8"}'), "signature does not hold"),
        (signed(CHANGE) | {"X-Quell-Timestamp": str(int(STAMP) + 1)}, "signature does not hold"),
        (signed(CHANGE, stamp=str(int(STAMP) - 301).encode()), "301 s from now, the limit is 300 s"),
        (signed(CHANGE, stamp=str(int(STAMP) + 301).encode()), "301 s from now, the limit is 300 s"),
        (signed(CHANGE, stamp=b"noon"), "send seconds since 1970"),
        (signed(CHANGE, stamp=b"999999999999"), "send seconds since 1970"),  # in the year 33658
        (bearer("with signature"), "source both must sign"),
    ],
)
def test_a_request_that_was_altered_kept_back_or_not_signed_is_refused(
    gateway: Gateway, headers: dict[str, str], said: str
) -> None:
    """Who records a signed request can neither change it nor send it later."""
    answer = gateway.post("/api/v1/changes", CHANGE, headers)
    assert answer.status_code == 401 and said in answer.json()["error"]
    assert gateway.found({}) == []


def test_a_signed_request_sent_twice_in_time_has_one_effect(gateway: Gateway) -> None:
    for _ in range(2):
        headers = bearer("with signature") | signed(CHANGE)
        assert gateway.post("/api/v1/changes", CHANGE, headers).status_code == 202
    assert len(gateway.found({})) == 1


def test_without_sources_only_this_machine_may_send(store: SqlStore, tmp_path: Path) -> None:
    """A first try on a laptop needs no tokens, and opens no door to the network."""
    gateway = gateway_with(store, tmp_path, None)
    assert gateway.post("/api/v1/alerts", ALERT, client="10.0.0.7").status_code == 401
    web = {"Origin": "https://evil.example"}
    assert gateway.post("/api/v1/alerts", ALERT, web, client="127.0.0.1").status_code == 403
    assert gateway.found({}) == []
    assert gateway.post("/api/v1/alerts", ALERT, client="127.0.0.1").status_code == 200
    assert gateway.post("/api/v1/alerts", ALERT, client="::1").status_code == 200


def test_a_hash_that_is_not_there_stops_the_start_and_names_the_source(store: SqlStore, tmp_path: Path) -> None:
    """Open doors would be the worse answer to a file that went missing."""
    away = EventSource(name="ci", may_send=frozenset({EventKind.CHANGES}), tokens=(f"file:{tmp_path}/away",))
    with pytest.raises(InvalidInput, match=r"source ci is not there: .*away cannot be read.*`quell source new ci`"):
        gateway_with(store, tmp_path, {"ci": away}).post("/api/v1/changes", CHANGE)


def test_a_flood_from_one_reporter_of_a_source_is_one_voice(gateway: Gateway) -> None:
    """However the name is written and whatever is said: one person must not be able to open an incident alone."""
    for number, name in enumerate(["Zoe Martin", "zoe  martin", "ZOE MARTIN", "Zoe\u200b Martin", "Ｚｏｅ Martin"] * 4):
        said = {"text": f"checkout {'very ' * number}broken", "reporter": name}
        _report(gateway, "of the helpdesk", said)
    assert len(_voices(gateway)) == 1
    assert len(gateway.found({"kind": InboxKind.REPORT})) == 20, "all of them are kept"
    _report(gateway, "of the helpdesk", {"text": "cannot pay", "reporter": "Ann"})
    assert len(_voices(gateway)) == 2


def test_one_name_at_two_sources_is_two_people(gateway: Gateway) -> None:
    """A source must not be able to silence another's users by their names."""
    for token in ("of the helpdesk", "of the app"):
        _report(gateway, token, {"text": f"cannot pay, says a user {token}", "reporter": "user 17"})
    assert len(_voices(gateway)) == 2


@pytest.mark.parametrize("said", [{}, {"reporter": ""}, {"reporter": "a customer"}])
def test_a_source_that_names_nobody_speaks_for_many(gateway: Gateway, said: dict[str, str]) -> None:
    for text in ("cannot pay", "checkout says internal error"):
        _report(gateway, "of the helpdesk", {"text": text, **said})
    assert len(_voices(gateway)) == 2
    assert all("sender" not in item.payload for item in gateway.found({"kind": InboxKind.REPORT}))


def test_the_mark_tells_the_source_and_no_name_and_a_repetition_is_the_same_report(gateway: Gateway) -> None:
    for _ in range(2):
        _report(gateway, "of the helpdesk", {"text": "cannot pay", "reporter": "zoe@example.org"})
    (item,) = gateway.found({"kind": InboxKind.REPORT})
    assert re.fullmatch("helpdesk:[0-9a-f]{16}", item.payload["sender"])


def _report(gateway: Gateway, token: str, said: dict[str, str]) -> None:
    assert gateway.post("/api/v1/reports", orjson.dumps(said), bearer(token)).status_code == 202


def _voices(gateway: Gateway) -> list[Report]:
    items = gateway.found({"kind": InboxKind.REPORT})
    return voices_of([parse_report(item.payload, id=item.id, received_at=NOW) for item in items])


def test_alertmanagers_own_form_keeps_the_valid_part_and_holds_the_rest(gateway: Gateway) -> None:
    """Prometheus drops what was answered with 400, so the good alerts of that request must be in already."""
    mixed = [*orjson.loads(ALERT), {"labels": {}}, {"labels": {"alertname": "Late"}, "startsAt": "soon"}]
    answer = gateway.post("/api/v2/alerts", orjson.dumps(mixed), bearer("new token"))
    assert answer.status_code == 400
    assert "alert 1: labels.alertname is missing" in answer.json() and "alert 2: startsAt is 'soon'" in answer.json()
    assert [item.events for item in gateway.found({"processed_at": None})] == [1]
    assert [item.source for item in gateway.found({"quarantine": Quarantine.HELD})] == ["prometheus"] * 2


def test_a_body_that_nobody_can_read_is_held_as_it_came_once(gateway: Gateway) -> None:
    for _ in range(2):
        assert gateway.post("/api/v2/alerts", b"\xff\xfe[", bearer("new token")).status_code == 400
    (held,) = gateway.found({"quarantine": Quarantine.HELD})
    assert held.payload["base64"] == "//5b" and "body is not JSON" in held.error


def test_a_full_quarantine_drops_and_counts(store: SqlStore) -> None:
    """A sender gone mad must not fill the disk, and what is thrown away must be seen."""
    measures = Measures(store, lambda: NOW)
    room = QuarantineRoom(store=store, measures=measures, most=2, largest=10)
    items = [(_held(str(n)), 11 if n == 0 else 5) for n in range(4)]
    kept = room.choose(items)
    assert [item.id for item in kept] == ["1", "2"]
    store.receive(kept)
    assert room.choose([(_held("5"), 5)]) == []
    assert (
        room.choose([(_held("1"), 5), (_held("2"), 5)]) == []
    )  # sent again: here already, so neither held nor dropped
    counted = {name: measures.quarantined.labels(name)._value.get() for name in ("held", "dropped")}
    assert counted == {"held": 2, "dropped": 3}


def _held(id: str) -> InboxItem:
    return InboxItem(
        id=id, kind=InboxKind.UNREADABLE, source="x", payload={"form": "plain", "text": "{"}, received_at=NOW,
        processed_at=NOW, error="body is not JSON", quarantine=Quarantine.HELD,
    )  # fmt: skip
