"""A fix in a real shop: asked for on the command line, waiting in Prefect, approved by the owner on the page."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from deployments.demo.witness import Witness
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from tests.pages import keep
from tests.prefect_desk import Desk

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]
OWNER, STRANGER = "alice", "bob"
WISH = ("payment_timeout_ms", "900", "--of", "checkout-3", "--reason", "the bank is slow today", "--by", "carol")


@pytest.fixture
def incident(running_quell: Any) -> Iterator[str]:
    """A triaged one, which no playbook answers; it is over afterwards."""
    now = datetime.now(UTC)
    with running_quell.store.writing() as tx:
        id = f"INC-{tx.next_number('INC')}"
        made = Incident(
            id=IncidentId(id),
            state=IncidentState.TRIAGED,
            severity=Severity.MINOR,
            title="checkout-3 gives up early on payment",
            service="checkout",
            onset_at=now - timedelta(minutes=1),
            opened_at=now,
            updated_at=now,
            opened_because="a person saw it",
            opened_by="carol",
        )
        tx.incidents.add(made)
    yield id
    with running_quell.store.writing() as tx:
        tx.incidents.put(replace(made, state=IncidentState.CLOSED))


def quell(running: Any, *words: str) -> str:
    command = [sys.executable, "-m", "deployments.cli.main", *words, "--config", str(running.sandbox.config_folder)]
    environment = {
        **os.environ,
        "PREFECT_API_URL": f"{running.prefect_url}/api",
        "PREFECT_UI_URL": running.prefect_url,
        "COLUMNS": "200",
    }
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return ended.stdout


def new_code(running: Any, name: str, used: set[str]) -> str:
    """One that was not typed yet: each works once, and five wrong ones lock the person out."""
    code = running.wait_for("a new code", lambda: code if (code := running.code(name)) not in used else None, within=45)
    used.add(code)
    return code


def sign_in(page: Page, running: Any, name: str, address: str, used: set[str]) -> None:
    page.goto(address)
    page.get_by_role("link", name="Sign in").first.click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill((running.sandbox.layout.secrets / f"{name}.password").read_text().strip())
    page.get_by_label("One-time code").fill(new_code(running, name, used))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)
    page.goto(address)


def fixes_of(running: Any, incident: str) -> list[Fix]:
    with running.store.reading() as tx:
        return tx.fixes.find({"incident": incident})


def state_of_run(running: Any, fix: Fix) -> str:
    return running.prefect("GET", f"/flow_runs/{fix.flow_run}")["state"]["type"] if fix.flow_run else ""


def test_what_is_taken_back_while_its_dialog_waits_ends_with_its_run_and_nothing_new_is_begun(
    running_quell: Any, incident: str, prefect_page: Page
) -> None:
    running, desk = running_quell, Desk(running_quell, prefect_page)
    quell(running, "fix", "set", incident, *WISH)
    [fix] = fixes_of(running, incident)

    def run() -> str | None:
        [known] = fixes_of(running, incident)
        return known.flow_run if state_of_run(running, known) == "PAUSED" else None

    dialog = desk.open_dialog(running.wait_for("its run waits in Prefect", run, within=120))
    for said in ("payment_timeout_ms = 900", "asked by carol: the bank is slow today", "+payment_timeout_ms: 900"):
        expect(dialog).to_contain_text(said)
    desk.shoot("fix-dialog")
    quell(running, "fix", "revert", fix.id, "--why", "it was the network")

    def ended() -> bool:
        return state_of_run(running, fixes_of(running, incident)[0]) == "COMPLETED"

    running.wait_for("the end of its run", ended, within=150)
    assert [known.id for known in fixes_of(running, incident)] == [fix.id]


def test_the_form_of_resolve_offers_the_shops_own_names(running_quell: Any, incident: str, prefect_page: Page) -> None:
    desk = Desk(running_quell, prefect_page)
    running_quell.wait_for("the incident offered", lambda: incident in offered_incidents(running_quell), within=60)
    desk.open_run_form("resolve")
    desk.choose("Going on", incident)
    desk.choose("Instance or service", "checkout-3")
    desk.choose("Requested By", "carol")
    desk.shoot("resolve-form")


def offered_incidents(running: Any) -> list[str]:
    schema = running.prefect("GET", "/deployments/name/resolve/resolve")["parameter_openapi_schema"]
    return [id for one in schema["properties"]["incident"].get("anyOf", []) for id in one.get("enum", [])]


def test_the_owner_reads_the_diff_on_the_page_and_what_waited_in_prefect_goes_on(
    running_quell: Any, incident: str, context: BrowserContext
) -> None:
    running, page = running_quell, context.new_page()
    witness = Witness(config=running.config, store=running.store, sandbox=running.sandbox)
    said = quell(running, "fix", "set", incident, *WISH)
    assert "+payment_timeout_ms: 900" in said and "it waits for somebody else's approval: quell approve FIX-" in said

    def fix() -> Fix:
        return fixes_of(running, incident)[0]

    running.wait_for("its run waits in Prefect", lambda: state_of_run(running, fix()) == "PAUSED", within=120)
    address = f"{running.config.gateway_url}/incidents/{incident}"
    sign_in(page, running, STRANGER, address, set())
    card = page.locator(f"#{fix().id}")
    expect(card).to_contain_text(f"You are {STRANGER}, approver; deciding takes {OWNER}.")
    assert card.get_by_role("button", name="Approve").count() == 0
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, running, OWNER, address, used := set[str]())
    expect(card.get_by_role("heading")).to_contain_text("Decision needed: set payment_timeout_ms = 900")
    expect(card.locator("pre")).to_contain_text("-payment_timeout_ms: ")
    keep(page, "fix-waits")

    card.get_by_label("One-time code").fill(new_code(running, OWNER, used))
    card.get_by_role("button", name="Approve").click()
    running.wait_for("the owner's word", lambda: bool(fix().approved_by), within=30)
    running.wait_for("the fix promoted", lambda: fix().state is FixState.PROMOTED, within=180)
    assert witness.instance_config("checkout-3")["commit"] == fix().fix_commit
    assert "payment_timeout_ms: 900" in witness.git("show", "main:services/checkout-3.yaml")
    page.reload()
    expect(card).to_contain_text(f"approved by {OWNER}")
    expect(card).to_contain_text("requests were exposed to it")
    keep(page, "fix-promoted")
    assert f"{fix().id} is reverted" in quell(running, "fix", "revert", fix().id, "--why", "the bank is quick again")
    assert "payment_timeout_ms: 800" in witness.git("show", "main:services/checkout-3.yaml")
    assert witness.instance_config("checkout-3")["commit"] not in (fix().fix_commit, None)
    assert fix().id in quell(running, "fix", "list", "--incident", incident)
