"""An incident's page in a real browser as its states go by: what waits stands first, what is over is told as past."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from deployments.gateway import build_app, serving
from quell.adapters.store.memory import MemoryStore
from quell.incidents.fix import FixState
from quell.incidents.incident import IncidentState
from quell.incidents.timeline import Event
from tests.pages import keep, open_page
from tests.postmortem_room import FIX, SECRET, SECRET_VARIABLE, Room, at

pytestmark = pytest.mark.browser

WAITING = replace(FIX, state=FixState.VALIDATED, approval_deadline=at(9000), canary_result="")


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Room:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    return Room(MemoryStore(), tmp_path).open(fix=WAITING, state=IncidentState.RESOLVING)


@pytest.fixture
def page(room: Room, chromium: Browser) -> Iterator[Page]:
    with serving(build_app(room.res)) as url:
        opened, troubles = open_page(chromium, f"{url}/incidents/INC-1", viewport={"width": 1280, "height": 900})
        yield opened
        assert troubles == []
        opened.close()


def top_of(page: Page, selector: str) -> float:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["y"]


def test_a_fix_that_waits_stands_above_the_mitigations_that_are_over(page: Page) -> None:
    """Its owner had to scroll past every mitigation to find the question."""
    assert "Decision needed" in page.locator("#FIX-1 h2").inner_text()
    assert top_of(page, "#FIX-1") < top_of(page, "#mitigations")
    keep(page, "fix-first")


def test_the_lines_that_a_diff_adds_and_takes_away_are_marked(page: Page) -> None:
    diff = page.locator("#FIX-1 .diff")
    assert diff.inner_text() == FIX.diff
    assert (diff.locator("ins").all_inner_texts(), diff.locator("del").all_inner_texts()) == (["+t: 800"], ["-t: 5"])


def test_a_mitigation_that_was_undone_takes_nothing_any_more(page: Page) -> None:
    """It said "takes 50 % of the live capacity" for ever."""
    told = page.locator("#MIT-1").inner_text()
    assert "took 50 % of the live capacity of checkout, 50 % still served" in told and "takes" not in told


def test_the_timeline_says_where_a_new_day_begins(room: Room, chromium: Browser) -> None:
    """An incident that lasts over midnight had two entries of 14:00:06 with a day between them."""
    later = at(6) + timedelta(days=1)
    with room.store.writing() as tx:
        tx.timeline.append(
            Event(incident="INC-1", at=later, kind="review", by="quell", text="reminded", subject="INC-1")
        )
    with serving(build_app(room.res)) as url:
        page, _ = open_page(chromium, f"{url}/incidents/INC-1", viewport={"width": 1280, "height": 900})
        assert page.locator("#timeline time small").all_inner_texts() == ["2026-11-24", "2026-11-23"]
        page.close()
