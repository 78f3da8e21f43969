"""Pages in a real browser: opened with an eye on what goes wrong, and kept as pictures for people."""

import os
from typing import Any

from playwright.sync_api import Browser, Page

SHOTS = os.environ.get("QUELL_SHOTS")  # a folder: the pages are kept there as pictures


def open_page(browser: Browser, url: str, **options: Any) -> tuple[Page, list[str]]:
    """A page, and everything that went wrong on it or left the gateway."""
    page = browser.new_page(**options)
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    origin = "/".join(url.split("/")[:3])
    page.on("request", lambda r: None if r.url.startswith((origin, "data:")) else troubles.append(f"asked {r.url}"))
    page.goto(url)
    return page, troubles


def keep(page: Page, name: str, *, is_whole: bool = True) -> None:
    """Nothing unless pictures are wanted."""
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png", full_page=is_whole)
