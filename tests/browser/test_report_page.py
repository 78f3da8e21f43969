"""The form for users' reports in a real browser: by keyboard alone, on a phone, without scripts, light and dark."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page

from deployments.gateway import serving
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.gateway.app import create_app
from quell.gateway.deps import GatewayDeps
from quell.incidents.service import Catalog, Service
from tests.pages import keep

pytestmark = pytest.mark.browser
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def url(store: MemoryStore) -> Iterator[str]:
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus=""),
        catalog=Catalog(services={"storefront": Service(name="storefront", team="shop", is_user_facing=True)}),
        pages="signed-in",
    )

    def decide(**_: Any) -> Any:
        raise AssertionError("nobody decides here")

    deps = GatewayDeps(store=store, config=config, clock=lambda: NOW, decide=decide, run_url=lambda run: run)
    with serving(create_app(deps)) as url:
        yield url


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.name || document.activeElement.id || document.activeElement.className")


def tab_to(page: Page, name: str) -> None:
    for _ in range(20):
        if focused(page) == name:
            return
        page.keyboard.press("Tab")
        assert focused(page) != "website", "the hidden field is not for people"
    raise AssertionError(f"{name} cannot be reached by keyboard")


def look(page: Page, name: str) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls to the side"
    keep(page, f"report-{name}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_is_sent_by_keyboard_on_a_phone_without_scripts(
    url: str, store: MemoryStore, chromium: Browser, scheme: Literal["light", "dark"]
) -> None:
    """Whoever cannot use the shop may have an old phone, no mouse and no scripts; faults are said, nothing is lost."""
    page = chromium.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme, java_script_enabled=False)
    page.goto(f"{url}/report")
    look(page, f"{scheme}-empty")
    tab_to(page, "contact")
    page.keyboard.type("ann@example.org")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    assert focused(page) == "errors", "who cannot see the page is where the faults are said"
    assert page.title().startswith("Error")
    look(page, f"{scheme}-faults")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the link to the first fault
    assert focused(page) == "text"
    assert "Say what is wrong" in page.locator("#text-error").inner_text()
    page.keyboard.type("the basket is empty")
    tab_to(page, "consent")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Thank you").wait_for()
    look(page, f"{scheme}-thanks")
    page.close()
    with store.reading() as tx:
        (item,) = tx.inbox.find({"kind": "report"})
    assert item.payload["contact"] == "ann@example.org"
