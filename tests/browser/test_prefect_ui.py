"""The Prefect UI in a real browser: a person asks for a mitigation, another one approves it, and HAProxy obeys.

Nothing here goes round the UI: what is started, shown and answered is started, shown and answered in its pages.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from quell.incidents.mitigation import Mitigation, MitigationState
from tests.prefect_desk import Desk

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]

PLAYBOOK = "isolate-for-a-moment"
SERVER = "be_checkout/checkout-3"


@pytest.fixture
def quick_playbook(running_quell: Any) -> Iterator[str]:
    """`isolate-bad-instance`, judged after seconds instead of minutes; runs read the folder when they start."""
    folder: Path = running_quell.sandbox.config_folder / "playbooks"
    text = (folder / "isolate-bad-instance.yaml").read_text()
    for old, new in (
        ("name: isolate-bad-instance", f"name: {PLAYBOOK}"),
        ("match: '{service=~\".+\"}'", "match: '{alertname=\"none\"}'"),  # no incident is answered by it
        ("hold: 15s", "hold: 5s"),
        ("deadline: 2m", "deadline: 12s"),
    ):
        assert text.count(old) == 1, f"{old} in {folder}"
        text = text.replace(old, new)
    file = folder / f"{PLAYBOOK}.yaml"
    file.write_text(text)
    yield PLAYBOOK
    file.unlink()


def found_mitigation(quell: Any) -> Mitigation | None:
    with quell.store.reading() as tx:
        return next(iter(tx.mitigations.find({"playbook": PLAYBOOK})), None)


def test_the_run_form_says_what_each_field_is_for(running_quell: Any, prefect_page: Page) -> None:
    page, desk = prefect_page, Desk(running_quell, prefect_page)
    desk.open_run_form("mitigate")
    expect(page.get_by_text("nothing is touched")).to_be_visible()
    for label, about in (
        ("Select Service", "Needed: the service"),
        ("Select Instance or zone", "Needed: the instance, zone or client"),
        ("Select Requested By", "whoever asks cannot approve"),
    ):
        expect(page.get_by_role("button", name=label)).to_be_visible()
        expect(page.get_by_text(about)).to_be_visible()
    expect(page.get_by_text("only show the plan")).to_be_visible()
    expect(page.get_by_role("switch", name=re.compile("^Dry Run"))).to_be_checked()
    desk.shoot("run-form")


def test_the_run_form_offers_the_shops_own_names_and_takes_a_typed_client(
    running_quell: Any, prefect_page: Page
) -> None:
    page, desk = prefect_page, Desk(running_quell, prefect_page)
    desk.open_run_form("mitigate")
    page.get_by_role("button", name="Select Service").click()
    expect(page.get_by_role("option")).to_have_text(["storefront", "checkout", "payment", "catalog"])
    desk.shoot("run-form-services")
    page.get_by_role("option", name="checkout").click()
    desk.choose("Instance or zone", "checkout-2")
    page.get_by_role("tab", name="Client or other").click()
    page.get_by_role("tabpanel", name="Client or other").get_by_role("textbox").fill("batch-importer")
    desk.choose("Requested By", "carol")
    desk.shoot("run-form-chosen")


def test_the_release_form_offers_who_may_ask_and_what_can_be_released(running_quell: Any, prefect_page: Page) -> None:
    page, desk = prefect_page, Desk(running_quell, prefect_page)
    desk.open_run_form("release")
    page.get_by_role("button", name="Select Requested By").click()
    expect(page.get_by_role("option")).to_have_text(["alice", "bob", "carol"])
    desk.shoot("release-form")


def test_one_person_asks_another_approves_and_what_did_not_help_is_undone(
    running_quell: Any, prefect_page: Page, quick_playbook: str
) -> None:
    """The server was well, so nobody can say that isolating it helped: inconclusive, and everything is put back."""
    desk, quell = Desk(running_quell, prefect_page), running_quell
    name = "mitigate isolate checkout-3"
    ask_for_it(desk, quick_playbook)
    run = desk.wait_for("the run that asks", name, lambda: desk.waits(name, 1))
    assert {"checkout", "response"} <= set(run["tags"])
    the_dialog_tells_the_plan(desk, run["id"])

    desk.answer(run["id"], person="bob", code=lambda: a_wrong_code(quell), comment="oops")
    run = desk.wait_for("the run to ask again", name, lambda: desk.waits(name, 2))
    assert desk.witness.server_state(SERVER).startswith("ready")
    expect(desk.open_dialog(run["id"])).to_contain_text("Not accepted so far: 1")

    desk.answer(run["id"], person="bob", code=lambda: quell.code("bob"), comment="go ahead")
    desk.wait_for(f"{SERVER} drained", name, lambda: desk.witness.server_state(SERVER).startswith("drain"))
    desk.wait_for("the run's end", name, lambda: (desk.run(name) or {}).get("state_type") == "COMPLETED")

    assert desk.witness.server_state(SERVER).startswith("ready 100")
    the_record_says_who_and_how(desk)
    the_outcome_can_be_read(desk, run["id"])


def ask_for_it(desk: Desk, playbook: str) -> None:
    desk.quell.wait_for("the new playbook in the form", lambda: playbook in desk.offered("Playbook"), within=90)
    desk.open_run_form("mitigate")
    for label, value in (
        ("Playbook", playbook),
        ("Service", "checkout"),
        ("Instance or zone", "checkout-3"),
        ("Requested By", "carol"),
    ):
        desk.choose(label, value)
    desk.page.get_by_label(re.compile("^Reason")).fill("it answers slowly in the evening")
    desk.page.get_by_role("switch", name=re.compile("^Dry Run")).click()
    desk.submit_run()


def the_dialog_tells_the_plan(desk: Desk, run_id: str) -> None:
    dialog = desk.open_dialog(run_id)
    for text in (
        "drain be_checkout/checkout-3",
        "asked by carol",
        "it answers slowly",
        "33%",
        "67%",
        "by itself after",
    ):
        expect(dialog).to_contain_text(text)
    for label in ("Person", "One Time Code", "Comment"):
        expect(dialog.get_by_label(label)).to_be_visible()
    chart = dialog.get_by_role("img", name="users: shop-error-ratio, limit 2 %")
    expect(chart).to_be_visible()
    assert chart.evaluate("image => image.naturalWidth") == 480
    expect(dialog.get_by_role("button", name="Select Answer")).to_be_in_viewport()  # the form is not below the fold
    desk.shoot("dialog")
    dialog.get_by_role("button", name="Cancel").click()


def a_wrong_code(quell: Any) -> str:
    """Six digits that are none of bob's codes around now."""
    return f"{(int(quell.code('bob')) + 500_000) % 1_000_000:06}"


def the_record_says_who_and_how(desk: Desk) -> None:
    mitigation = found_mitigation(desk.quell)
    assert mitigation is not None
    assert (mitigation.state, mitigation.requested_by, mitigation.approved_by) == (
        MitigationState.UNDONE,
        "carol",
        "bob",
    )
    with desk.quell.store.reading() as tx:
        (decision,) = tx.decisions.find({"subject": mitigation.id})
        entries = [entry for entry in tx.timeline.of("-") if entry.subject == mitigation.id]
    assert (decision.person, decision.channel, decision.comment) == ("bob", "prefect", "go ahead")
    kinds = [entry.kind for entry in entries]
    assert "decision rejected" in kinds and "mitigation inconclusive" in kinds
    assert kinds.index("decision rejected") < kinds.index("decision approve") < kinds.index("mitigation applied")


def the_outcome_can_be_read(desk: Desk, run_id: str) -> None:
    """The run's artifact: the states as a drawn diagram, the signal as a picture, nothing wider than the page."""
    mitigation = found_mitigation(desk.quell)
    assert mitigation is not None
    page = desk.page
    page.goto(f"{desk.quell.prefect_url}/v2/runs/flow-run/{run_id}?tab=Artifacts")
    page.get_by_role("link", name=re.compile(f"mitigation-{mitigation.id.lower()}")).first.click()
    page.locator("a[href*='/artifacts/artifact/']").first.click()  # the newest of its versions
    expect(page.get_by_role("heading", name=f"{mitigation.id} (isolate checkout-3) is undone")).to_be_visible()
    expect(page.locator("svg text").filter(has_text=re.compile(r"awaiting approval \d+")).first).to_be_visible()
    picture = page.get_by_role("img", name=re.compile(f"around {mitigation.id}"))
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 500
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    desk.shoot("outcome")
