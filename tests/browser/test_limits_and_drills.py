"""The pages of a limit and of drills in a real browser: found from the navigation, readable on a phone."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta

import msgspec
import pytest
from playwright.sync_api import Browser, Page

from deployments.gateway import build_app, serving
from quell.adapters.store.memory import MemoryStore
from quell.incidents.drill import DRILL, Drill, Mark, Part, Strike
from quell.incidents.threshold import ThresholdState, ThresholdVersion, chart_id
from quell.ports import Document, Transaction
from quell.prevention.refusals import SHADOW, Refusals, Refused, refusals_id
from quell.prevention.refusals import to_body as refusals_body
from quell.prevention.watch import Recorded, WatchRecord, to_body, watch_id
from tasks.resources import Resources
from tests.pages import keep, open_page
from tests.shop_levers import Levers, UsersSignal, shop_config
from tests.weekly_records import MONDAY, NOW

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
WIDE_PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 300"><path d="M0 0 960 300"/></svg>'
LIMIT = ThresholdVersion(
    id="THR-1", signal="shop-error-ratio", state=ThresholdState.ACTIVE, upper=0.05, lower=None,
    created_at=MONDAY, updated_at=NOW, predicted={"per_week": 1.0}, evidence={"budget": "1 false alarm"},
)  # fmt: skip
CLIENTS = replace(
    LIMIT, id="THR-2", signal="clients:standing", upper=None, window=timedelta(seconds=10),
    clients={"batch-importer": 149, "NEW": 193, "OTHERS": 386}, predicted={"offered": 9000.0, "refused": 0.0},
)  # fmt: skip


def put_limits(tx: Transaction) -> None:
    tx.thresholds.put_all([LIMIT, CLIENTS])
    picture = Document(id=chart_id("THR-1"), kind="threshold-chart", updated_at=NOW, body={}, blob=WIDE_PICTURE)
    alarms = (Recorded(at=MONDAY, series='{instance="checkout-2"}', worst=0.2678, incident="INC-1"),)
    watch = WatchRecord(since=MONDAY, until=NOW, weeks=1.0, count=1, alarms=alarms)
    tx.documents.put(picture)
    tx.documents.put(Document(id=watch_id("THR-1"), kind="watch", updated_at=NOW, body=to_body(watch)))
    refused = Refused(offered=9000, refused=180, minutes=12, worst=31, worst_at=MONDAY)
    seen = Refusals(since=MONDAY, until=NOW, measured=timedelta(days=1), clients={"batch-importer": refused})
    body = refusals_body(seen)
    tx.documents.put(Document(id=refusals_id(SHADOW, "THR-2"), kind=SHADOW, updated_at=NOW, body=body))


def put_drill(tx: Transaction) -> None:
    drill = Drill(
        id="DRILL-1",
        strike=Strike(fault="errors", kind="instance", target="checkout-2"),
        began_at=NOW - timedelta(minutes=7),
        ended_at=NOW,
        by="dana",
        incident="INC-1",
        aborted="",
        parts={
            "detected": Part(mark=Mark.YES, seconds=7.25, words="INC-1 opened by sweep"),
            "contained": Part(mark=Mark.NO, words="MIT-1 was refused: it takes 33 % of the capacity of checkout"),
            "undone": Part(mark=Mark.NOT_ASKED),
        },
    )
    body = msgspec.to_builtins(asdict(drill))
    tx.documents.put(Document(id=drill.id, kind=DRILL, updated_at=NOW, body=body))


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    store = MemoryStore()
    with store.writing() as tx:
        put_limits(tx)
        put_drill(tx)
    res = Resources(
        config=shop_config(), store=store, metrics=UsersSignal(), actuators={"haproxy": Levers()}, clock=lambda: NOW
    )  # type: ignore[arg-type]
    with serving(build_app(res)) as url:
        yield url


def is_wider_than_the_screen(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


@pytest.mark.parametrize(
    "path", ["/thresholds", "/thresholds/THR-1", "/thresholds/THR-2", "/drills", "/drills/DRILL-1"]
)
def test_nothing_is_wider_than_a_phone(shop: str, chromium: Browser, path: str) -> None:
    """The chart of a limit made its page half as wide again as the phone."""
    page, troubles = open_page(chromium, f"{shop}{path}", viewport=PHONE)
    keep(page, path.strip("/").replace("/", "-"))
    assert not is_wider_than_the_screen(page) and troubles == []


def test_a_phone_shows_the_latest_end_of_a_chart_first(shop: str, chromium: Browser) -> None:
    """What just happened was cut off on the right, and only the calm before it was seen."""
    page, _ = open_page(chromium, f"{shop}/thresholds/THR-1", viewport=PHONE)
    picture, frame = page.locator(".until-now img").bounding_box(), page.locator(".until-now").bounding_box()
    assert picture and frame and picture["width"] > frame["width"] + 50
    assert picture["x"] + picture["width"] == pytest.approx(frame["x"] + frame["width"], abs=2)


def test_what_alerted_is_told_in_the_signals_unit_and_leads_to_its_incident(shop: str, chromium: Browser) -> None:
    page, _ = open_page(chromium, f"{shop}/thresholds/THR-1", viewport={"width": 1280, "height": 900})
    alarms = page.get_by_role("region", name="Alerted")
    assert "at 26.8 %, in INC-1" in alarms.inner_text()
    assert alarms.get_by_role("link", name="INC-1").get_attribute("href") == "/incidents/INC-1"


def test_on_a_phone_each_clients_figures_stand_under_its_name(shop: str, chromium: Browser) -> None:
    """Four columns of a word each could not be read there."""
    page, _ = open_page(chromium, f"{shop}/thresholds/THR-2", viewport=PHONE)
    name = page.get_by_role("rowheader", name="batch-importer").bounding_box()
    cell = page.get_by_role("cell", name="180 (2 % of its requests)").bounding_box()
    assert name and cell and cell["y"] >= name["y"] + name["height"] - 1 and cell["width"] > 250


def test_drills_are_found_from_the_navigation_and_lead_to_their_scorecard(shop: str, chromium: Browser) -> None:
    page, troubles = open_page(chromium, f"{shop}/", viewport={"width": 1280, "height": 900})
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Drills").click()
    page.get_by_role("link", name="DRILL-1").click()
    page.get_by_role("heading", level=1, name="errors on checkout-2").wait_for()
    keep(page, "drill")
    assert "7.2" in page.get_by_role("row", name="detected").inner_text() and troubles == []


def test_one_of_a_kind_is_written_in_the_singular(shop: str, chromium: Browser) -> None:
    page, _ = open_page(chromium, f"{shop}/thresholds", viewport={"width": 1280, "height": 900})
    told = page.locator("#thresholds").inner_text()
    assert "predicted 1 alert per week, seen 1 (1 in 1 week): within 25 %" in told and "of 1 client, new ones" in told
