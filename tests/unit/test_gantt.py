"""The gantt: mermaid that parses whatever the words are, on an axis that stays readable."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from quell.incidents.gantt import Bar, gantt

pytestmark = pytest.mark.unit

T0 = datetime(2026, 11, 23, 15, 55, 5, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def test_moments_and_stretches_are_told_apart() -> None:
    text = gantt([("MIT-1", [Bar(label="applied 20 s", start=at(0), end=at(20)), Bar(label="undone", start=at(20))])])
    assert "        applied 20 s :2026-11-23T15:55:05, 2026-11-23T15:55:25" in text
    assert "        undone :milestone, 2026-11-23T15:55:25, 0s" in text


def test_what_went_badly_is_marked() -> None:
    text = gantt([("a", [Bar(label="undo failed", start=at(0), is_bad=True)])])
    assert "undo failed :crit, milestone" in text


def test_words_from_outside_cannot_break_the_syntax() -> None:
    text = gantt([("a;b", [Bar(label='x: y, "z" %%{init} # <b>', start=at(0))])])
    assert "        x y z init b :milestone" in text and "    section a b" in text


def test_the_settings_are_json_in_one_line() -> None:
    text = gantt([("a", [Bar(label="x", start=at(0))])])
    found = re.fullmatch(r"%%\{init: (.*)\}%%", text.splitlines()[1])
    assert found and json.loads(found[1])["theme"] == "dark"


@pytest.mark.parametrize(
    ("seconds", "tick"),
    [(0, "1second"), (100, "15second"), (600, "2minute"), (7200, "15minute"), (90_000, "4hour"), (30 * 86400, "4day")],
)
def test_the_axis_never_has_more_than_a_few_ticks(seconds: int, tick: str) -> None:
    text = gantt([("a", [Bar(label="x", start=at(0)), Bar(label="y", start=at(seconds))])])
    assert f"    tickInterval {tick}" in text


def test_nothing_to_draw_is_nothing() -> None:
    assert gantt([]) == "" and gantt([("a", [])]) == ""
