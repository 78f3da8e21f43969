"""The form for users' reports, over real HTTP on a real database: open to everybody, and what it thanks for is kept."""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.gateway import serving
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.gateway.app import create_app
from quell.gateway.deps import GatewayDeps
from quell.incidents.event_source import ReportLimits
from quell.incidents.inbox import InboxItem
from quell.incidents.service import Catalog, Service

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SERVICES = {
    "storefront": Service(name="storefront", team="shop", is_user_facing=True),
    "checkout": Service(name="checkout", team="shop"),
}


@dataclass(frozen=True)
class Site:
    client: httpx.Client
    store: SqlStore
    database: Path

    def reports(self) -> list[InboxItem]:
        with self.store.reading() as tx:
            return tx.inbox.find({"kind": "report"})

    def fields(self, **typed: str) -> dict[str, str]:
        """The form as it is loaded, with what is typed into it."""
        html = self.client.get("/report").text
        return {name: re.findall(f'name="{name}" value="([^"]*)"', html)[-1] for name in ("csrf", "id")} | typed

    def send(self, **typed: str) -> httpx.Response:
        return self.client.post("/report", data=self.fields(**typed))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    database = tmp_path / "quell.db"
    store = SqlStore(f"sqlite:///{database}")
    config = Config(
        folder=tmp_path,
        connections=Connections(store="", prometheus=""),
        catalog=Catalog(services=SERVICES),
        pages="signed-in",
        report_limits=ReportLimits(per_address=3, overall=4),
    )

    def decide(**_: Any) -> Any:
        raise AssertionError("nobody decides here")

    deps = GatewayDeps(store=store, config=config, clock=lambda: NOW, decide=decide, run_url=lambda run: run)
    with serving(create_app(deps)) as url, httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
        yield Site(client, store, database)
    store.close()


def test_the_form_is_open_where_reading_needs_signing_in(site: Site) -> None:
    """Users have no account; they see what they use, and nothing of what is behind it."""
    assert site.client.get("/").status_code == 303
    page = site.client.get("/report")
    assert page.status_code == 200
    assert "<option>storefront" in page.text
    assert "checkout" not in page.text
    assert 'href="/report"' in site.client.get("/sign-in").text


def test_a_report_is_stored_once_however_often_it_is_sent(site: Site) -> None:
    """A double click or a reload must not count as two voices."""
    fields = site.fields(
        text="basket is empty\r\nalways", service="storefront", contact="a@example.org", consent="true"
    )
    answers = [site.client.post("/report", data=fields) for _ in range(2)]
    assert [(a.status_code, a.headers["location"]) for a in answers] == [(303, "/report/thanks")] * 2
    (item,) = site.reports()
    said = dict(item.payload)
    assert re.fullmatch("[0-9a-f]{16}", said.pop("sender")), "a mark, never the address itself"
    assert said.pop("id").startswith("form-")
    assert said == {
        "text": "basket is empty\nalways",
        "service": "storefront",
        "contact": "a@example.org",
        "consent": True,
    }


def test_one_address_has_one_mark(site: Site) -> None:
    """One person who reports often is one voice; two addresses are two."""
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        fields = site.fields(text="broken")
        site.client.post("/report", data=fields, headers={"X-Forwarded-For": address})
    marks = [item.payload["sender"] for item in site.reports()]
    assert len(marks) == 3
    assert len(set(marks)) == 2


def test_the_api_takes_no_mark_from_outside(site: Site) -> None:
    """Who could choose its mark could be many voices."""
    answer = site.client.post("/api/v1/reports", json={"text": "broken", "sender": "a"})
    assert answer.status_code == 422
    assert "sender" in answer.json()["error"]
    assert site.reports() == []


def test_what_fills_in_the_hidden_field_is_thanked_and_not_stored(site: Site) -> None:
    """A program that fills in everything learns nothing from the answer."""
    answer = site.send(text="buy now", website="http://spam.example")
    assert (answer.status_code, answer.headers["location"]) == (303, "/report/thanks")
    assert site.reports() == []


def test_faults_are_linked_to_their_fields_and_what_was_typed_is_kept(site: Site) -> None:
    """Nobody types a report twice."""
    answer = site.send(text="", reporter="Ann <b>", contact="ann@example.org")
    assert answer.status_code == 422
    assert 'href="#text"' in answer.text
    assert 'href="#consent"' in answer.text
    assert 'value="Ann &lt;b&gt;"' in answer.text
    assert 'value="ann@example.org"' in answer.text
    assert site.reports() == []


@pytest.mark.parametrize(
    "typed",
    [
        {"text": "x" * 4001},
        {"text": "a\x00b"},
        {"text": "x", "service": "checkout"},
        {"text": "x", "contact": "nobody"},
    ],
)
def test_what_cannot_be_kept_is_refused_in_the_page(site: Site, typed: dict[str, str]) -> None:
    """Limits are those of the API, said in the form."""
    answer = site.send(**typed)
    assert answer.status_code == 422
    assert 'id="errors"' in answer.text
    assert site.reports() == []


def test_one_address_sends_no_more_than_its_share(site: Site) -> None:
    """A single visitor cannot flood triage, and hears when to come back."""
    assert [site.send(text="broken").status_code for _ in range(3)] == [303] * 3
    answer = site.send(text="still broken")
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert "from your address" in answer.text
    assert "still broken</textarea>" in answer.text
    assert len(site.reports()) == 3


def test_many_addresses_together_have_a_limit(site: Site) -> None:
    """A flood from everywhere is bounded as well."""
    statuses = list[int]()
    for n in range(5):
        fields = site.fields(text="broken")
        answer = site.client.post("/report", data=fields, headers={"X-Forwarded-For": f"192.0.2.{n}"})
        statuses.append(answer.status_code)
    assert statuses == [303] * 4 + [429]


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_another_site_cannot_send_the_form(site: Site, headers: dict[str, str]) -> None:
    """Else any page could make its visitors report."""
    answer = site.client.post("/report", data=site.fields(text="forged"), headers=headers)
    assert answer.status_code == 403
    assert site.reports() == []


def test_a_form_without_our_token_is_refused(site: Site) -> None:
    """The cookie alone proves nothing."""
    assert site.client.post("/report", data=site.fields(text="forged", csrf="x" * 32)).status_code == 403
    assert site.reports() == []


def test_while_the_store_is_away_the_text_is_kept_in_the_page(site: Site) -> None:
    """Nothing is thanked for before it is durable, and sending it again later works and counts once."""
    fields = site.fields(text="checkout hangs")
    lock = sqlite3.connect(site.database, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    answer = site.client.post("/report", data=fields)
    lock.execute("ROLLBACK")
    lock.close()
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "checkout hangs</textarea>" in answer.text
    assert f'value="{fields["id"]}"' in answer.text
    assert site.client.post("/report", data=fields).status_code == 303
    assert len(site.reports()) == 1
