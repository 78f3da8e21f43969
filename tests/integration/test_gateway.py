"""The gateway over real HTTP on a real database: a 2xx means durable, an error says what to do."""

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.gateway import serving
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.gateway.app import create_app
from quell.gateway.body_limit import LARGEST_BODY
from quell.gateway.deps import GatewayDeps
from quell.gateway.problems import FAILED
from quell.incidents.decision import Answer, Decision
from quell.incidents.errors import Refused
from quell.incidents.inbox import InboxItem

pytestmark = pytest.mark.integration

WEBHOOK = "/api/v1/alerts/alertmanager"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Running:
    client: httpx.Client
    store: SqlStore
    database: Path
    decisions: list[dict[str, str]]

    def inbox(self) -> list[InboxItem]:
        """What waits for triage."""
        with self.store.reading() as tx:
            return tx.inbox.find({"processed_at": None})

    def held(self) -> list[InboxItem]:
        with self.store.reading() as tx:
            return tx.inbox.find({"quarantine": "held"})


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Running]:
    database = tmp_path / "quell.db"
    store = SqlStore(f"sqlite:///{database}")
    decisions: list[dict[str, str]] = []

    def decide(**given: str) -> Decision:
        if given["code"] == "fail":
            raise RuntimeError("a bug")
        if given["code"] != "123456":
            raise Refused("one-time code of alice is wrong: read a new one from the device")
        decisions.append(given)
        return Decision(
            id="DEC-1",
            subject=given["subject"],
            plan_hash=given["plan_hash"],
            person=given["person"],
            answer=Answer(given["answer"]),
            channel=given["channel"],
            at=NOW,
            code_step=7,
        )

    config = Config(
        folder=tmp_path,
        connections=Connections(store="", prometheus=""),
    )
    deps = GatewayDeps(store=store, config=config, clock=lambda: NOW, decide=decide, run_url=lambda run: f"/run/{run}")
    with serving(create_app(deps)) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield Running(client, store, database, decisions)
    store.close()


def alert(name: str = "InstanceErrors", **labels: str) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": name, **labels},
        "annotations": {},
        "startsAt": "2026-11-23T11:59:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
    }


def webhook(*alerts: Any) -> dict[str, Any]:
    return {"version": "4", "status": "firing", "alerts": list(alerts)}


def test_an_answered_webhook_is_in_the_database_once_however_often_it_is_sent(gateway: Running) -> None:
    for _ in range(3):
        answer = gateway.client.post(WEBHOOK, json=webhook(alert(service="checkout"), alert(service="payment")))
        assert (answer.status_code, answer.json()["taken"]) == (200, 2)
    assert [(item.source, item.events) for item in gateway.inbox()] == [("alertmanager", 2)]


def test_of_a_mixed_batch_the_good_alerts_are_kept_and_the_bad_named(gateway: Running) -> None:
    bad_time = {**alert(service="payment"), "startsAt": "yesterday"}
    answer = gateway.client.post(WEBHOOK, json=webhook(alert(service="checkout"), bad_time, "what", alert("")))
    assert answer.status_code == 200
    assert answer.json() == {
        "taken": 1,
        "rejected": [
            {
                "index": 1,
                "error": "startsAt is 'yesterday': send a time with an offset like 2026-11-23T07:58:54.725Z",
            },
            {"index": 2, "error": "alert is 'what': send a JSON object"},
            {
                "index": 3,
                "error": "labels.alertname is missing: send the alert's name, and service and instance if known",
            },
        ],
    }
    assert len(gateway.inbox()) == 1
    assert [item.error for item in gateway.held()] == [part["error"] for part in answer.json()["rejected"]]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        (WEBHOOK, b"{", 400, "body is not JSON"),
        (WEBHOOK, b'{"version": "3", "alerts": []}', 422, "version is '3': send Alertmanager's webhook"),
        (WEBHOOK, b'{"version": "4", "alerts": 7}', 422, "alerts is 7: send a list of alerts"),
        (WEBHOOK, b'{"version": "4", "alerts": [{"labels": {}}]}', 422, "none of 1 alerts can be read"),
        ("/api/v1/alerts", b'{"labels": {"alertname": "a\\u0000"}}', 422, "labels.alertname holds a NUL"),
        (
            "/api/v1/alerts",
            b'{"labels": {"alertname": "a", "b\\ud800": "c"}}',
            422,
            "a name in labels holds a NUL or half a character",
        ),
        ("/api/v1/changes", b'{"service": "checkout"}', 422, "summary is missing: send it"),
        ("/api/v1/changes", b"[", 400, "body is not JSON"),
        (
            "/api/v1/changes",
            b'{"service": "checkout", "summary": "x", "kind": "magic"}',
            422,
            "kind is 'magic': send one of deploy, config, flag, other",
        ),
        ("/api/v1/reports", b'{"text": " "}', 422, "text is ' ': send a text that is not empty"),
        ("/api/v1/reports", b'{"text": "a\\ud800"}', 422, "unable to parse raw data as a unicode string"),
        ("/api/v1/reports", b'{"text": "x", "colour": "red"}', 422, "colour is 'red': extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_read_is_refused_by_field_value_and_remedy(
    gateway: Running, path: str, body: bytes, status: int, text: str
) -> None:
    answer = gateway.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert text in answer.json()["error"]
    assert gateway.inbox() == []
    assert len(gateway.held()) == 1


def test_alerts_come_as_a_list_or_alone(gateway: Running) -> None:
    assert gateway.client.post("/api/v1/alerts", json=alert()).json()["taken"] == 1
    assert gateway.client.post("/api/v1/alerts", json=[alert("A"), alert("B")]).json()["taken"] == 2
    assert [(item.source, item.events) for item in gateway.inbox()] == [("api", 1), ("api", 2)]


def test_changes_and_reports_are_kept_once_by_their_id_or_content(gateway: Running) -> None:
    change = {"kind": "config", "service": "checkout", "summary": "lower timeout", "commit": "abc"}
    first = gateway.client.post("/api/v1/changes", json=change)
    assert first.status_code == 202
    assert gateway.client.post("/api/v1/changes", json=change).json() == first.json()
    for text in ("cannot pay", "still cannot pay"):
        gateway.client.post("/api/v1/reports", json={"id": "ticket-7", "text": text})
    assert [item.id for item in gateway.inbox()] == [first.json()["id"], "report:ticket-7"]


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_body_over_the_limit_is_refused(gateway: Running, is_announced: bool) -> None:
    body = b"x" * (LARGEST_BODY + 1)
    content: Any = body if is_announced else (part for part in (body[:70_000], body[70_000:]))
    answer = gateway.client.post(WEBHOOK, content=content)
    assert answer.status_code == 413
    assert f"the limit is {LARGEST_BODY}" in answer.json()["error"]


def test_while_another_holds_the_database_the_answer_is_503_and_later_the_event_is_taken_once(gateway: Running) -> None:
    body = webhook(alert(service="checkout"))
    with sqlite3.connect(gateway.database) as holder:
        holder.execute("BEGIN IMMEDIATE")
        answer = gateway.client.post(WEBHOOK, json=body)
        holder.rollback()
    holder.close()
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert gateway.client.post(WEBHOOK, json=body).status_code == 200
    assert len(gateway.inbox()) == 1


def test_many_senders_at_once_lose_nothing(gateway: Running) -> None:
    def send(number: int) -> int:
        return gateway.client.post(WEBHOOK, json=webhook(alert(service=f"s{number}"))).status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(send, range(200))) == {200}
    assert len(gateway.inbox()) == 200


def test_a_decision_passes_the_one_check_and_a_code_is_never_repeated(gateway: Running) -> None:
    body = {"subject": "MIT-1", "plan_hash": "h", "person": "alice", "code": "123456", "answer": "approve"}
    taken = gateway.client.post("/api/v1/decisions", json=body)
    assert taken.status_code == 201
    assert "123456" not in taken.text and "code_step" not in taken.text
    assert gateway.decisions[0]["channel"] == "api"
    refused = gateway.client.post("/api/v1/decisions", json={**body, "code": "999999"})
    assert (refused.status_code, refused.json()["error"][:24]) == (403, "one-time code of alice i")
    malformed = gateway.client.post("/api/v1/decisions", json={**body, "code": 31337})
    assert malformed.status_code == 422 and "31337" not in malformed.text


def test_health_metrics_and_openapi_answer(gateway: Running) -> None:
    assert gateway.client.get("/healthz").text == "ok"
    assert gateway.client.get("/readyz").text == "ready"
    gateway.client.post("/api/v1/alerts", json=alert())
    metrics = gateway.client.get("/metrics").text
    assert 'quell_gateway_events_total{kind="alert",result="taken"} 1.0' in metrics
    assert "quell_inbox_waiting 1.0" in metrics
    paths = gateway.client.get("/api/v1/openapi.json").json()["paths"]
    assert {WEBHOOK, "/api/v1/alerts", "/api/v1/changes", "/api/v1/reports", "/api/v1/decisions"} <= set(paths)


def test_an_unknown_incident_is_404_in_the_api_and_on_its_page(gateway: Running) -> None:
    assert gateway.client.get("/api/v1/incidents").json() == {
        "incidents": [],
        "next": None,
        "count": 0,
        "is_more": False,
    }
    answer = gateway.client.get("/api/v1/incidents/INC-9")
    assert (answer.status_code, answer.json()["error"]) == (
        404,
        "incident INC-9 does not exist: see / for those that do",
    )
    assert gateway.client.get("/incidents/INC-9").status_code == 404
    assert "No incident yet" in gateway.client.get("/").text


def test_a_form_from_elsewhere_decides_nothing(gateway: Running) -> None:
    form = {"csrf": "guessed", "subject": "MIT-1", "person": "alice", "code": "123456", "answer": "approve"}
    answer = gateway.client.post("/incidents/INC-1/decide", data=form)
    assert answer.status_code in (403, 404)
    assert gateway.decisions == []


def test_a_logged_error_never_shows_what_was_sent(gateway: Running, caplog: pytest.LogCaptureFixture) -> None:
    gateway.client.post("/api/v1/decisions", content=json.dumps({"code": "424242"}))
    assert "424242" not in caplog.text


@pytest.mark.parametrize(
    ("address", "status", "text"),
    [
        ("/api/v1/incidents?since=0001-01-01T00:00:00%2B14:00", 422, "outside the years that exist"),
        ("/api/v1/incidents?until=9999-12-31T23:59:59-14:00", 422, "outside the years that exist"),
        ("/api/v1/incidents?after=0001-01-01T00:00:00%2B14:00~INC-1", 422, "send the mark that came with"),
        ("/?since=0001-01-01T00:00:00%2B14:00", 422, "outside the years that exist"),
        ("/incidents/INC-1/timeline?below=99999999999999999999", 422, "below is '99999999999999999999'"),
        ("/incidents/%00/timeline?below=7", 422, "holds a character that text in a database cannot have"),
        ("/incidents/INC-9/timeline?below=7", 404, "incident INC-9 does not exist"),
        ("/incidents/INC-9/alerts", 404, "incident INC-9 does not exist"),
        ("/api/v1/incidents/INC-9/alerts", 404, "incident INC-9 does not exist"),
        ("/api/v1/nothing", 404, "/api/v1/nothing is not here: see /api/v1/openapi.json"),
        ("/api/v1/decisions", 405, "/api/v1/decisions takes POST only"),
    ],
)
def test_what_nobody_can_show_is_refused_in_words(gateway: Running, address: str, status: int, text: str) -> None:
    """Times and numbers beyond what calendar and database have were a failure of the gateway, without words."""
    answer = gateway.client.get(address)
    assert answer.status_code == status
    assert text in unescape(answer.text)


@pytest.mark.parametrize(
    ("content_type", "body", "status", "text"),
    [
        ("text/plain", b'{"code": "424242"}', 415, "content-type is 'text/plain': send the body as application/json"),
        ("application/json", b'["424242"]', 422, "body: input should be a valid dictionary"),
        ("application/json", b"\xff424242", 400, "body cannot be read"),
        ("application/json", b"[" * 100_000, 400, "body cannot be read"),
    ],
)
def test_a_body_that_is_no_decision_is_refused_and_not_repeated(
    gateway: Running, content_type: str, body: bytes, status: int, text: str
) -> None:
    """Who forgets the content type had his one-time code come back in the answer."""
    answer = gateway.client.post("/api/v1/decisions", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert text in answer.json()["error"]
    assert "424242" not in answer.text


def test_a_failure_is_answered_in_words_and_counted(gateway: Running) -> None:
    """Who watches the gateway must see that it fails."""
    decision = {"subject": "MIT-1", "plan_hash": "a", "person": "alice", "code": "fail", "answer": "approve"}
    answer = gateway.client.post("/api/v1/decisions", json=decision)
    assert (answer.status_code, answer.json()["error"]) == (500, FAILED)
    with httpx.Client(base_url=gateway.client.base_url) as anew:  # the server hangs up after a failure
        assert 'route="/api/v1/decisions",status="500"} 1.0' in anew.get("/metrics").text


@pytest.mark.parametrize(
    ("method", "path", "status", "title", "text"),
    [
        ("GET", "/incident/INC-1", 404, "Not found", "/incident/INC-1 is not here"),
        ("GET", "/incidents/INC-9/timeline?below=-1", 422, "This does not fit", "below"),
        ("POST", "/", 405, "Not possible here", "/ takes GET only"),
    ],
)
def test_a_browser_is_told_what_went_wrong_on_a_page_with_a_way_on(
    gateway: Running, method: str, path: str, status: int, title: str, text: str
) -> None:
    """Who mistyped an address got bare JSON, and what does not fit was called not found."""
    answer = gateway.client.request(method, path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert f"<h1>{title}</h1>" in answer.text and text in unescape(answer.text)
    assert '<a href="/">All incidents</a>' in answer.text and "default-src 'none'" in str(answer.headers)


def test_a_program_is_told_in_json_and_so_is_a_browser_that_asks_the_api(gateway: Running) -> None:
    for path, accept in (("/incident/INC-1", "*/*"), ("/api/v1/nothing", "text/html")):
        answer = gateway.client.get(path, headers={"Accept": accept})
        assert answer.status_code == 404 and answer.json()["error"].startswith(f"{path} is not here")
