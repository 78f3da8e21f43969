"""The Prefect UI in a real browser: a person asks for a mitigation, another one approves it, and HAProxy obeys.

Nothing here goes round the UI: what is started, shown and answered is started, shown and answered in its pages.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from deployments.demo.witness import Witness
from quell.incidents.mitigation import Mitigation, MitigationState
from tests.pages import keep
from tests.waiting import NOT_YET

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]

PLAYBOOK = "isolate-for-a-moment"
SERVER = "be_checkout/checkout-3"
PATIENCE_MS = 30_000
T = TypeVar("T")
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    # The UI asks a host of its makers' for flags; nothing but this machine is needed.
    page.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
    yield page
    context.close()


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


@dataclass(frozen=True)
class Desk:
    """A person in front of the Prefect UI, and the witnesses of what it did."""

    quell: Any
    page: Page

    @property
    def witness(self) -> Witness:
        return Witness(config=self.quell.config, store=self.quell.store, sandbox=self.quell.sandbox)

    def shoot(self, name: str) -> None:
        keep(self.page, name, is_whole=False)

    def open_run_form(self, deployment: str) -> None:
        """From the list of deployments to the form of a custom run, click by click."""
        self.page.goto(f"{self.quell.prefect_url}/v2/deployments")
        self.page.get_by_role("link", name=deployment, exact=True).first.click()
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Custom run").click()
        expect(self.page.get_by_text("Parameters", exact=True)).to_be_visible()

    def choose(self, label: str, value: str) -> None:
        """Prefect's form is drawn anew when it has asked the server again, and an open list is gone then."""
        button = self.page.get_by_role("button", name=f"Select {label}")
        for _ in range(5):
            button.click()
            try:
                self.page.get_by_role("option", name=value, exact=True).click(timeout=4000)
            except PlaywrightTimeoutError:
                self.page.keyboard.press("Escape")
                continue
            break
        expect(button).to_contain_text(value)

    def offered(self, title: str) -> list[str]:
        """The choices that the deployment has now for a field of `mitigate`."""
        schema = self.quell.prefect("GET", "/deployments/name/mitigate/mitigate")["parameter_openapi_schema"]
        fields = schema["definitions"]["MitigationRequest"]["properties"].values()
        return next(field.get("enum", []) for field in fields if field["title"] == title)

    def submit_run(self) -> None:
        assert self.press_until_gone(self.page.get_by_role("button", name="Submit"))
        expect(self.page.get_by_text("scheduled to start now")).to_be_visible()

    def press_until_gone(self, button: Locator) -> bool:
        """Press until the form is gone: Prefect's forms lose a press while they still check the last field."""
        for _ in range(5):
            button.click()
            try:
                button.wait_for(state="detached", timeout=4000)
            except PlaywrightTimeoutError:
                continue
            return True
        return False

    def run(self, name: str) -> dict[str, Any] | None:
        found = self.quell.prefect("POST", "/flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
        return found[0] if found else None

    def waits(self, name: str, asked: int) -> dict[str, Any] | None:
        """The run, once it is suspended with its question for the n-th time."""
        run = self.run(name)
        if run is None or run["state_type"] != "PAUSED":
            return None
        return run if run["state"]["state_details"]["pause_key"] == f"ask-{asked}" else None

    def wait_for(self, what: str, name: str, ask: Callable[[], T | None]) -> T:
        """Wait for something that the run of this name brings about; a failure tells what the run has logged."""
        try:
            return self.quell.wait_for(what, ask, within=60)
        except pytest.fail.Exception as failure:
            try:
                run = self.run(name) or {"id": None, "state": None}
            except NOT_YET as error:
                pytest.fail(f"{failure}\n{name} cannot be looked at: {error!r}")
            logs = self.quell.prefect("POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}})
            told = "\n".join(f"{line['timestamp'][11:19]} {line['message']}" for line in logs[-40:])
            pytest.fail(f"{what}: not in time; {name} is {run['state']} and logged\n{told}")

    def open_dialog(self, run_id: str) -> Locator:
        """The run's page, its menu, Resume."""
        self.page.goto(f"{self.quell.prefect_url}/v2/runs/flow-run/{run_id}")
        self.page.get_by_role("button", name="Open menu").click()
        self.page.get_by_role("menuitem", name="Resume").click()
        return self.page.get_by_role("dialog")

    def answer(self, run_id: str, *, person: str, code: Callable[[], str], comment: str) -> None:
        """Fill the dialog and press Resume until the server has taken the answer.

        Prefect's dialog loses a press while it still checks a field, and empties its fields once when it has loaded;
        its button says that it is busy before anything is decided. So the server is asked, as a person would look,
        and the code is read when it is typed: it is good for a minute, and a slow machine takes longer over the dialog.
        """
        asked = self.quell.wait_for("the run's state", lambda: self.state_id(run_id))
        for _ in range(5):
            dialog = self.open_dialog(run_id)
            self.fill(dialog, person=person, code=code(), comment=comment)
            resume = dialog.get_by_role("button", name="Resume", exact=True)
            for _ in range(4):
                if resume.is_visible() and resume.is_enabled():
                    with suppress(PlaywrightTimeoutError):  # gone or busy just now: the server knows
                        resume.click(timeout=1000)
                if self.is_taken(run_id, asked, within=2.5):
                    return
        pytest.fail(f"the dialog takes no answer; it shows\n{self.page.get_by_role('dialog').aria_snapshot()}")

    def is_taken(self, run_id: str, asked: str, *, within: float) -> bool:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            with suppress(*NOT_YET):
                if self.state_id(run_id) != asked:
                    return True
            self.page.wait_for_timeout(200)
        return False

    def state_id(self, run_id: str) -> str:
        state: dict[str, Any] = self.quell.prefect("GET", f"/flow_runs/{run_id}")["state"]
        return str(state["id"])

    def fill(self, dialog: Locator, *, person: str, code: str, comment: str) -> None:
        expect(dialog.get_by_label("Comment")).to_be_visible()
        self.page.wait_for_timeout(500)  # until it has emptied its fields
        dialog.get_by_role("button", name="Select Answer").click()
        self.page.get_by_role("option", name="approve").click()
        for label, value in (("Person", person), ("One Time Code", code), ("Comment", comment)):
            dialog.get_by_label(label).fill(value)
            expect(dialog.get_by_label(label)).to_have_value(value)
        self.page.wait_for_timeout(500)  # until it has checked the last one
        self.shoot("dialog-filled")

    def mitigation(self) -> Mitigation | None:
        with self.quell.store.reading() as tx:
            return next(iter(tx.mitigations.find({"playbook": PLAYBOOK})), None)


def test_the_run_form_says_what_each_field_is_for(running_quell: Any, page: Page) -> None:
    desk = Desk(running_quell, page)
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


def test_the_run_form_offers_the_shops_own_names_and_takes_a_typed_client(running_quell: Any, page: Page) -> None:
    desk = Desk(running_quell, page)
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


def test_the_release_form_offers_who_may_ask_and_what_can_be_released(running_quell: Any, page: Page) -> None:
    desk = Desk(running_quell, page)
    desk.open_run_form("release")
    page.get_by_role("button", name="Select Requested By").click()
    expect(page.get_by_role("option")).to_have_text(["alice", "bob", "carol"])
    desk.shoot("release-form")


def test_one_person_asks_another_approves_and_what_did_not_help_is_undone(
    running_quell: Any, page: Page, quick_playbook: str
) -> None:
    """The server was well, so nobody can say that isolating it helped: inconclusive, and everything is put back."""
    desk, quell = Desk(running_quell, page), running_quell
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
    mitigation = desk.mitigation()
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
    mitigation = desk.mitigation()
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
