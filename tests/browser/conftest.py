"""Debian's Chromium, one for each module: its loop must not outlive it, as other tests have loops of their own."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.prefect_desk import PATIENCE_MS

_FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """One person's: with cookies of its own."""
    made = chromium.new_context(viewport={"width": 1280, "height": 900})
    yield made
    made.close()


@pytest.fixture
def prefect_page(chromium: Browser) -> Iterator[Page]:
    """One for the Prefect UI, which asks a host of its makers' for flags: nothing but this machine is needed."""
    made = chromium.new_context(viewport={"width": 1400, "height": 1000})
    page = made.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
    yield page
    made.close()
