"""A person in front of the Prefect UI: its run forms, and the dialog in which a waiting run is answered."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from deployments.demo.witness import Witness
from tests.pages import keep
from tests.waiting import NOT_YET

PATIENCE_MS = 30_000
T = TypeVar("T")
expect.set_options(timeout=PATIENCE_MS)


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
