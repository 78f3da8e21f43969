"""The OpenAPI document and the gateway say the same: Schemathesis asks every operation for what the document allows and
for what it forbids, over real HTTP, and holds each answer against it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from pyotp.totp import TOTP
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from deployments.gateway import build_app, serving
from quell.adapters.sessions import open_session
from quell.adapters.store.memory import MemoryStore
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.gateway.body_limit import LARGEST_BODY
from quell.gateway.safety import SESSION_COOKIE
from quell.gateway.senders import hash_token
from quell.incidents.alert import Alert
from quell.incidents.change import Change
from quell.incidents.decision import Decision, Person
from quell.incidents.errors import Unavailable
from quell.incidents.event_source import EventKind, EventSource, ReportLimits
from quell.incidents.fix import Fix
from quell.incidents.incident import Incident
from quell.incidents.journal import JournalEntry
from quell.incidents.mitigation import Mitigation, MitigationState
from quell.incidents.notification import Notification
from quell.incidents.report import Report
from quell.incidents.review import Review
from quell.incidents.timeline import Event
from quell.ports import MetricSource, Store
from tasks.resources import Resources

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
IS_SEARCH = os.environ.get("QUELL_HYPOTHESIS") == "search"
TOKEN, SIGNING, SECRET = "a token of the test", "a secret of the test", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ALICE = Person(
    name="alice", full_name="Alice", team="shop", roles=("approver",), totp_secret="env:QUELL_TEST_TOTP",
    password_hash="nobody types it",
)  # fmt: skip
SOURCES = {
    "token": EventSource(name="token", may_send=frozenset(EventKind), tokens=(hash_token(TOKEN),)),
    "signer": EventSource(name="signer", may_send=frozenset(EventKind), signing_secret="env:QUELL_TEST_SIGNING"),
}
MANY, FEW = ReportLimits(per_address=1_000_000, overall=1_000_000), ReportLimits(overall=1)


def resources_on(store: Store, limits: ReportLimits = MANY) -> Resources:
    """Every door shut: senders need credentials, readers a session."""
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus=""),
        people={"alice": ALICE},
        sources=SOURCES,
        pages="signed-in",
        report_limits=limits,
    )
    metrics = cast(MetricSource, None)  # nothing here asks for any
    return Resources(config=config, store=store, metrics=metrics, actuators={}, clock=lambda: NOW)


def document() -> Any:
    """What the gateway serves (a test below holds that), known while tests are collected."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUELL_TEST_SIGNING", SIGNING)
        return build_app(resources_on(MemoryStore())).openapi()


def asking(*, with_made_up_credentials: bool) -> schemathesis.Config:
    """What people ask for is there, and what breaks a database or a calendar is asked for as well."""
    return schemathesis.Config.from_dict(
        {
            "generation": {
                "max-examples": 400 if IS_SEARCH else 25,
                "deterministic": not IS_SEARCH,
                "with-security-parameters": with_made_up_credentials,
            },
            "dictionaries": {
                "ids": {"values": ["INC-1", "INC-2"]},
                "moments": {"values": ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31"]},
                "marks": {"values": ["0001-01-01T00:00:00+14:00~INC-1", "2026-11-23T12:00:00Z~INC-1"]},
            },
            "parameters": {
                "path.incident_id": {"dictionary": "ids", "probability": 0.5},
                "query.since": {"dictionary": "moments", "probability": 0.2},
                "query.until": {"dictionary": "moments", "probability": 0.2},
                "query.after": {"dictionary": "marks", "probability": 0.2},
            },
        }
    )


# The live streams and the pages are not in the document: they speak to browsers, and tests/browser holds them to it.
as_known = schemathesis.openapi.from_dict(document(), config=asking(with_made_up_credentials=False))
as_stranger = schemathesis.openapi.from_dict(document(), config=asking(with_made_up_credentials=True))


@dataclass(frozen=True)
class Api:
    url: str
    session: str = ""

    @property
    def credentials(self) -> dict[str, Any]:
        return {"headers": BEARER, "cookies": {SESSION_COOKIE: self.session}}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUELL_TEST_TOTP", SECRET)
    monkeypatch.setenv("QUELL_TEST_SIGNING", SIGNING)


@contextmanager
def api_on(store: Store, limits: ReportLimits = MANY) -> Iterator[Api]:
    session = fill(store)
    with serving(build_app(resources_on(store, limits))) as url:
        yield Api(url, session)


@pytest.fixture
def api(postgres_url: str) -> Iterator[Api]:
    """PostgreSQL, because it takes least: no NUL, no half characters, no years outside of its calendar."""
    store = SqlStore(postgres_url)
    with api_on(store) as api:
        yield api
    store.close()


BARE = {
    "state", "severity", "title", "service", "onset_at", "opened_at", "updated_at", "opened_because", "opened_by"
}  # fmt: skip


def fill(store: Store) -> str:
    """Two incidents: one with everything that one can have, and one with nothing. Returns Alice's session."""
    full = replace(filled(Incident), id="INC-1", changes=("CHG-1",), merged_into=None)
    bare: Any = {field.name: getattr(full, field.name) for field in fields(full) if field.name in BARE}
    waits = replace(filled(Mitigation), id="MIT-1", incident="INC-1", state=MitigationState.AWAITING_APPROVAL)
    with store.writing() as tx:
        tx.incidents.put(full)
        tx.incidents.put(Incident(id=cast(Any, "INC-2"), **bare))
        tx.changes.put(replace(filled(Change), id="CHG-1"))
        tx.alerts.put(replace(filled(Alert), id="a-1", incident="INC-1"))
        tx.reports.put(replace(filled(Report), id="r-1", incident="INC-1", part_of=None))
        tx.mitigations.put(replace(waits, plan_hash="the plan", approval_deadline=NOW + timedelta(minutes=5)))
        tx.journal.put(replace(filled(JournalEntry), mitigation="MIT-1"))
        tx.decisions.put(replace(filled(Decision), subject="MIT-1"))
        tx.fixes.put(replace(filled(Fix), id="FIX-1", incident="INC-1"))
        tx.reviews.put(replace(filled(Review), id="INC-1"))
        tx.notifications.put(replace(filled(Notification), incident="INC-1"))
        tx.timeline.append(Event(incident="INC-1", at=NOW, kind="incident opened", by="quell", text="it began"))
        return open_session(tx, ALICE, NOW)


SAMPLES: Mapping[Any, Any] = {
    str: "é\u202e", int: 3, float: 0.5, bool: True, datetime: NOW, date: NOW.date(), timedelta: timedelta(seconds=90)
}  # fmt: skip


def filled(hint: Any) -> Any:
    """A value of this type in which nothing is left out."""
    if hint in SAMPLES:
        return SAMPLES[hint]
    if hasattr(hint, "__supertype__"):
        return filled(hint.__supertype__)
    if is_dataclass(hint):
        return cast(Any, hint)(**{name: filled(of) for name, of in get_type_hints(hint).items()})
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint))
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return filled(arguments[0])
    if origin is tuple:
        return (filled(arguments[0]),)
    return {"name": filled(arguments[1])}


def bad_parts_are_refused(ctx: Any, response: Any, case: Any) -> None:
    """A batch is taken in parts: where some alerts are wrong, a 200 names them, and the others are durable. A 4xx would
    make Alertmanager drop all of them."""
    if response.status_code == 200 and case.operation.path.startswith("/api/v1/alerts") and response.json()["rejected"]:
        return
    negative_data_rejection(ctx, response, case)


NO_SCHEMA_SAYS = ("is before startsAt", "printable", "the years that exist", "send the mark that came with")


def good_data_is_taken(ctx: Any, response: Any, case: Any) -> None:
    """But for what no JSON Schema can say: rules between fields, what is printable, which years exist in which zone,
    and which marks the page before gave."""
    if response.status_code in (400, 422) and any(words in response.text for words in NO_SCHEMA_SAYS):
        return
    positive_data_acceptance(ctx, response, case)


# All of Schemathesis's checks: no 5xx; status, type, headers and body as documented; bad data refused, good data taken;
# other methods refused with Allow; and what needs credentials is asked again without them and with wrong ones.
CHECKS: dict[str, Any] = {
    "additional_checks": [bad_parts_are_refused, good_data_is_taken],
    "excluded_checks": [negative_data_rejection, positive_data_acceptance],  # for which the two above stand
}
CONFORMANCE = [
    status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance
]  # fmt: skip
# One gateway for all examples of an operation: what one leaves behind, the next may stumble over.
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@as_known.parametrize()
@shared
def test_who_has_credentials_is_answered_as_the_document_says(case: schemathesis.Case, api: Api) -> None:
    """What it allows is taken, what it forbids is refused in words, and nothing breaks the gateway."""
    case.call_and_validate(base_url=api.url, **api.credentials, **CHECKS)


@as_stranger.parametrize()
@shared
def test_who_has_none_is_refused_as_the_document_says(case: schemathesis.Case, api: Api) -> None:
    """Nobody gets in without credentials, with made-up ones, or around them."""
    case.call_and_validate(base_url=api.url, **CHECKS)


def as_documented(method: str, path: str, answer: httpx.Response) -> httpx.Response:
    """Status, headers and body are among the answers that the document has for this operation."""
    as_known[path][method].Case(path_parameters={"incident_id": "INC-1"}).validate_response(answer, checks=CONFORMANCE)
    return answer


def test_a_decision_is_answered_as_the_document_says(api: Api) -> None:
    """No made-up request has the code of the moment."""
    said = {"subject": "MIT-1", "plan_hash": "the plan", "person": "alice", "answer": "approve"}
    for code, status in (("000000", 403), (TOTP(SECRET).at(NOW), 201), (TOTP(SECRET).at(NOW), 403)):
        answer = httpx.post(f"{api.url}/api/v1/decisions", json={**said, "code": code})
        assert as_documented("POST", "/api/v1/decisions", answer).status_code == status, answer.text
        assert "code_step" not in answer.text


def test_what_is_too_much_is_answered_as_the_document_says() -> None:
    with api_on(MemoryStore(), FEW) as api:
        for body, status in (({"text": "x"}, 202), ({"text": "x" * LARGEST_BODY}, 413), ({"text": "x"}, 429)):
            answer = httpx.post(f"{api.url}/api/v1/reports", json=body, headers=BEARER)
            assert as_documented("POST", "/api/v1/reports", answer).status_code == status


class Away(MemoryStore):
    """A store that went away when the gateway was up."""

    is_away = False

    def reading(self) -> Any:
        return self._or_away(super().reading)

    def writing(self) -> Any:
        return self._or_away(super().writing)

    def receive(self, items: Any) -> int:
        return self._or_away(lambda: super(Away, self).receive(items))

    def _or_away(self, go: Any) -> Any:
        if self.is_away:
            raise Unavailable("the database does not answer: send again later")
        return go()


ALERTS = [{"labels": {"alertname": "Errors"}, "startsAt": "2026-11-23T11:59:00Z"}]
WELL_FORMED: Mapping[str, Any] = {
    "POST /api/v1/alerts/alertmanager": {"version": "4", "alerts": ALERTS},
    "POST /api/v2/alerts": ALERTS,
    "POST /api/v1/alerts": ALERTS,
    "POST /api/v1/changes": {"service": "checkout", "summary": "deploy 7"},
    "POST /api/v1/reports": {"text": "it hangs"},
    "POST /api/v1/decisions": {"subject": "a", "plan_hash": "b", "person": "alice", "code": "1", "answer": "approve"},
    "GET /api/v1/incidents": None,
    "GET /api/v1/incidents/{incident_id}": None,
    "GET /api/v1/incidents/{incident_id}/alerts": None,
    "GET /readyz": None,
}


def test_while_the_store_is_away_every_answer_is_documented() -> None:
    """503 with a time to wait: no sender may take it for the end."""
    store = Away()
    with api_on(store) as api:
        store.is_away = True
        for label, body in WELL_FORMED.items():
            method, path = label.split()
            answer = httpx.request(method, api.url + path.format(incident_id="INC-1"), json=body, **api.credentials)
            assert as_documented(method, path, answer).status_code == 503, (label, answer.text)
            assert int(answer.headers["retry-after"]) > 0


def test_the_document_is_the_one_that_is_served(api: Api) -> None:
    assert httpx.get(f"{api.url}/api/v1/openapi.json").json() == document()
