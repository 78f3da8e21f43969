"""The anomaly page in a real browser: pictures load, one click labels, the next reader sees it, and it fits a phone."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from deployments.gateway import build_app, serving
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.detection.review import begin, review_candidates
from quell.incidents.decision import Person
from quell.incidents.series import SeriesMatrix
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.verdict import Verdict, VerdictKind
from quell.ports import MetricSource
from tasks.anomalies import label
from tasks.resources import Resources
from tests.pages import keep, open_page

pytestmark = pytest.mark.browser

T0 = datetime(2026, 11, 23, 12, 4, 10, tzinfo=UTC)
NOW = T0 + timedelta(minutes=12)
ERRORS = Signal(
    name="instance-error-ratio",
    query="q",
    kind=SignalKind.ERROR_RATIO,
    direction=Direction.HIGH,
    unit="ratio",
    step=timedelta(seconds=5),
)


class Metrics:
    """Three instances; the second has a bad minute."""

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        grid = np.arange(start.timestamp(), end.timestamp(), step.total_seconds())
        noise = np.random.default_rng(7).normal(0.01, 0.004, (len(grid), 3)).clip(0)
        bad = (grid >= T0.timestamp()) & (grid < T0.timestamp() + 60)
        noise[bad, 1] += 0.3
        noise[bad, 2] += 0.025
        labels = tuple({"service": "checkout", "instance": f"checkout-{n}"} for n in (1, 2, 3))
        return SeriesMatrix(timestamps=grid, values=noise, labels=labels)


def verdict(instance: str, value: float, score: float, at: datetime = T0) -> Verdict:
    kind = VerdictKind.ANOMALOUS if score >= 0.5 else VerdictKind.NORMAL
    reason = (
        f"{value} is above 0.035 (expected 0.01); what departs most is the value itself, beside the last 30 samples "
        f"and all before them (score {score:.2f}, less than once a year where nothing is wrong; 4320 samples)"
        if score >= 0.5
        else f"{value} stays below 0.035 (expected 0.01)"
    )
    return Verdict(
        id=f"instance-error-ratio:{instance}",
        signal=ERRORS.name,
        labels={"service": "checkout", "instance": instance},
        at=at,
        kind=kind,
        value=value,
        expected=0.01,
        lower=None,
        upper=0.035,
        score=score,
        samples=4320,
        reason=reason,
        baseline="instance-error-ratio@20261123T110000Z",
    )


def resources() -> Resources:
    carol = Person(name="carol", full_name="Carol", team="shop", roles=("analyst",), totp_secret="env:NONE")
    instances = tuple(Instance(name=f"checkout-{n}", service="checkout") for n in (1, 2, 3))
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus=""),
        catalog=Catalog(services={"checkout": Service(name="checkout", team="shop", instances=instances)}),
        signals={ERRORS.name: ERRORS},
        people={"carol": carol},
    )
    metrics = cast(MetricSource, Metrics())
    return Resources(config=config, store=MemoryStore(), metrics=metrics, actuators={}, clock=lambda: NOW)


def find_anomalies(res: Resources) -> None:
    yesterday = T0 - timedelta(days=1)
    found = [
        verdict("checkout-3", 0.029, 0.41, yesterday),
        verdict("checkout-2", 0.31, 0.99),
        verdict("checkout-3", 0.034, 0.48),
    ]
    for number, one in enumerate(found, start=1):
        [candidate] = review_candidates([(one, one.at.timestamp())], ERRORS, res.config.catalog)
        anomaly = replace(begin(candidate, f"ANO-{number}"), last_at=one.at + timedelta(seconds=60))
        with res.store.writing() as tx:
            tx.anomalies.add(anomaly)
    earlier = replace(res, clock=lambda: yesterday + timedelta(hours=1))
    label(earlier, anomaly="ANO-1", label="expected", person="carol", why="nightly batch", code="", channel="page")


@pytest.fixture
def shop() -> Iterator[tuple[str, Resources]]:
    res = resources()
    find_anomalies(res)
    with serving(build_app(res)) as url:
        yield url, res


def load_pictures(page: Page) -> None:
    """Scroll to each picture and wait until it is drawn."""
    for picture in page.locator("img.picture").all():
        picture.scroll_into_view_if_needed()
        handle = picture.element_handle()
        page.wait_for_function("i => i.complete && i.naturalWidth > 0", arg=handle, timeout=10_000)


def test_what_waits_is_shown_with_picture_and_explanation(shop: tuple[str, Resources], chromium: Browser) -> None:
    page, troubles = open_page(chromium, f"{shop[0]}/anomalies", viewport={"width": 1280, "height": 900})
    load_pictures(page)
    keep(page, "anomalies")
    cards = page.locator("article.anomaly")
    assert cards.count() == 2
    assert "less than once a year where nothing is wrong" in page.locator("#ANO-2").inner_text()
    near = page.locator("#ANO-3").inner_text()
    assert "judged just inside the limit: score 0.48, the limit is 0.5" in near
    assert "Said of this series before" in near and "nightly batch" in near
    assert troubles == []


def test_one_click_labels_and_the_name_is_remembered(shop: tuple[str, Resources], chromium: Browser) -> None:
    url, res = shop
    page, troubles = open_page(chromium, f"{url}/anomalies")
    page.locator("#ANO-2").get_by_label("Your name").fill("carol")
    page.locator("#ANO-2").get_by_label("Why").fill("bad configuration")
    page.locator("#ANO-2").get_by_role("button", name="Real").click()
    page.wait_for_selector("#ANO-2", state="detached")
    page.locator("#ANO-3").get_by_role("button", name="Expected again: nightly batch").click()  # nothing typed
    page.get_by_text("Nothing waits for review").wait_for()
    with res.store.reading() as tx:
        said = {a.id: (a.label, a.labelled_by, a.why) for a in tx.anomalies.find()}
    assert said["ANO-2"] == ("real", "carol", "bad configuration")
    assert said["ANO-3"] == ("expected", "carol", "nightly batch")
    page.goto(f"{url}/anomalies/labelled")
    load_pictures(page)
    keep(page, "anomalies-labelled")
    assert "carol (by name only) says real: “bad configuration”" in page.locator("#ANO-2").inner_text()
    assert troubles == []


def test_a_refusal_keeps_the_reader_on_the_anomaly(shop: tuple[str, Resources], chromium: Browser) -> None:
    page, _ = open_page(chromium, f"{shop[0]}/anomalies/ANO-2")
    page.get_by_label("Your name").fill("mallory")
    page.get_by_role("button", name="False alarm").click()
    page.get_by_role("alert").wait_for()
    keep(page, "anomaly-refused")
    assert "people.yaml knows no such person" in page.get_by_role("alert").inner_text()


def test_it_fits_a_phone_in_the_dark(shop: tuple[str, Resources], chromium: Browser) -> None:
    page, troubles = open_page(
        chromium, f"{shop[0]}/anomalies", viewport={"width": 375, "height": 740}, color_scheme="dark"
    )
    load_pictures(page)
    keep(page, "anomalies-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert troubles == []
