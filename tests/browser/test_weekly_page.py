"""The weekly report in a real browser: every number leads to its records, files can be taken away, it fits a phone."""

import csv
import io
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from pyarrow import BufferReader, parquet

from deployments.gateway import build_app, serving
from quell.adapters.store.memory import MemoryStore
from quell.ports import Document
from tasks.resources import Resources
from tests.pages import keep, open_page
from tests.shop_levers import Levers, UsersSignal, shop_config
from tests.weekly_records import MONDAY, NOW, RUN
from tests.weekly_shop import fill

pytestmark = pytest.mark.browser

WEEK = "/weekly/2026-W47"


def resources() -> Resources:
    """The shop with two weeks on record; what Prefect said of them was kept when they were over."""
    store = MemoryStore()
    fill(store)
    seconds = {f"{n:08d}-2222-3333-4444-555555555555": 1.5 + n / 10 for n in range(20)}
    flows = [
        {"flow": "detection-sweep", "states": {"completed": 20_150, "failed": 3}, "seconds": seconds, "bad": [RUN]},
        {"flow": "respond", "states": {"completed": 8, "crashed": 1}, "seconds": {RUN: 4.2}, "bad": []},
    ]
    with store.writing() as tx:
        for name in ("2026-W46", "2026-W47"):
            document = Document(id=f"weekly runs {name}", kind="weekly runs", updated_at=NOW, body={"flows": flows})
            tx.documents.put(document)
        for name in shop_config().playbooks:  # known for long: those that nobody used are reported
            known = MONDAY.replace(year=2025)
            tx.documents.put(Document(id=f"playbook {name}", kind="playbook", updated_at=known, body={"name": name}))
    return Resources(
        config=shop_config(), store=store, metrics=UsersSignal(), actuators={"haproxy": Levers()}, clock=lambda: NOW
    )  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    with serving(build_app(resources())) as url:
        yield url


def test_the_navigation_leads_to_the_last_week_that_is_over(shop: str, chromium: Browser) -> None:
    page, troubles = open_page(chromium, f"{shop}/", viewport={"width": 1280, "height": 900})
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Weekly").click()
    page.get_by_role("heading", level=1).get_by_text("Week 2026-W47").wait_for()
    keep(page, "weekly")
    times = page.locator("#times").inner_text()
    assert "MTTR" in times and "from" in times and "not there yet" in times
    assert "false isolations" in page.locator("#isolations").inner_text()
    assert troubles == []


def test_a_number_leads_to_its_incidents_and_flow_runs(shop: str, chromium: Browser) -> None:
    page, troubles = open_page(chromium, shop + WEEK)
    page.locator("#times tr", has_text="MTTR").locator("td.main a").click()
    page.get_by_role("heading", name="What is behind it").wait_for()
    keep(page, "weekly-behind")
    row = page.locator("tr", has=page.get_by_role("link", name="INC-1", exact=True).first)
    assert "9 min" in row.first.inner_text()
    assert row.first.get_by_role("link", name=RUN[:8]).get_attribute("href", timeout=1000)
    page.get_by_role("link", name="INC-1", exact=True).first.click()
    page.wait_for_url("**/incidents/INC-1")
    assert troubles == []


def test_every_link_of_the_report_leads_somewhere(shop: str, chromium: Browser) -> None:
    page, _ = open_page(chromium, shop + WEEK)
    links = {a.get_attribute("href") or "" for a in page.locator("main a").all()}
    inside = {link for link in links if link.startswith("/")}
    assert len(inside) > 30
    broken = [link for link in sorted(inside) if page.request.get(shop + link).status != 200]
    assert broken == []


def test_the_files_hold_the_figures_of_the_page(shop: str, chromium: Browser) -> None:
    page, _ = open_page(chromium, shop + WEEK)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "quell-2026-W47.csv"
    rows = {row["figure"]: row for row in csv.DictReader(io.StringIO(download.value.path().read_text()))}
    table = parquet.read_table(BufferReader(page.request.get(f"{shop}{WEEK}.parquet").body()))
    typed = {row["figure"]: row for row in table.to_pylist()}
    assert rows.keys() == typed.keys()
    assert float(rows["times/mttr"]["value"]) == typed["times/mttr"]["value"]
    assert rows["times/mttr"]["incidents"].split() == typed["times/mttr"]["incidents"]


def test_a_proposed_diff_can_be_opened(shop: str, chromium: Browser) -> None:
    page, troubles = open_page(chromium, f"{shop}{WEEK}#upkeep")
    page.locator("#upkeep summary").first.click()
    diff = page.locator("#upkeep pre").first
    diff.wait_for(state="visible")
    assert "+  level: " in diff.inner_text()
    assert troubles == []


def test_what_is_no_week_or_no_figure_is_said(shop: str, chromium: Browser) -> None:
    page = chromium.new_page()
    assert page.goto(f"{shop}/weekly/2026-W99").status == 422  # type: ignore[union-attr]
    assert "as in 2026-W47" in page.locator("main").inner_text()
    assert page.goto(f"{shop}{WEEK}/times/nothing").status == 404  # type: ignore[union-attr]
    assert page.request.get(f"{shop}/weekly/2026-W99.csv").status == 422


def test_an_empty_week_says_that_nothing_was_measured(shop: str, chromium: Browser) -> None:
    page, troubles = open_page(chromium, f"{shop}/weekly/2026-W20")
    assert "n = 0" in page.locator("#times").inner_text()
    assert "The record begins on" in page.locator(".banner").inner_text()
    keep(page, "weekly-empty")
    assert troubles == []


def test_it_fits_a_phone_in_the_dark(shop: str, chromium: Browser) -> None:
    page, troubles = open_page(chromium, shop + WEEK, viewport={"width": 375, "height": 740}, color_scheme="dark")
    keep(page, "weekly-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.goto(f"{shop}{WEEK}/times/mttr")
    keep(page, "weekly-behind-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert troubles == []
