"""The chart: honest about gaps, readable, and safe to embed."""

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import numpy as np
import pytest

from quell.incidents.chart import signal_chart
from quell.incidents.series import FloatArray

pytestmark = pytest.mark.unit

START = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


def draw(
    values: FloatArray,
    events: list[tuple[datetime, str]] | None = None,
    upper: FloatArray | None = None,
    title: str = "t",
) -> ElementTree.Element:
    times = START.timestamp() + 5.0 * np.arange(len(values))
    text = signal_chart(
        title=title, unit="ratio", timestamps=times, values=values, lower=None, upper=upper, events=events or []
    )
    return ElementTree.fromstring(text)


def classed(svg: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [element for element in svg.iter() if name in (element.get("class") or "").split()]


def test_a_gap_breaks_the_line_and_a_lone_sample_is_a_dot() -> None:
    values = np.array([0.1, 0.2, np.nan, 0.3, np.nan, 0.1, 0.2])
    svg = draw(values)
    assert len(classed(svg, "qc-value")) == 2 and len(classed(svg, "qc-dot")) == 1


def test_a_band_is_open_on_the_side_that_has_no_limit() -> None:
    svg = draw(np.full(10, 0.1), upper=np.full(10, 0.2))
    (band,) = classed(svg, "qc-band")
    assert (band.get("d") or "").endswith("Z")


def test_no_samples_still_make_a_chart() -> None:
    assert draw(np.array([])).tag == f"{SVG}svg"
    assert classed(draw(np.full(5, np.nan)), "qc-value") == []


def test_a_constant_zero_has_an_axis_above_it() -> None:
    svg = draw(np.zeros(20))
    assert len(classed(svg, "qc-grid")) >= 2


def test_event_labels_never_overlap() -> None:
    events = [(START + timedelta(seconds=s), f"something happened {s}") for s in (0, 3, 5, 8, 100, 395, 398, 400)]
    svg = draw(np.zeros(81), events)
    boxes = [tuple(float(b.get(k) or 0) for k in ("x", "y", "width")) for b in classed(svg, "qc-back")]
    assert len(boxes) == len(events)
    for i, (x, y, width) in enumerate(boxes):
        assert x >= 0 and x + width <= 760
        for other_x, other_y, other_width in boxes[:i]:
            assert y != other_y or x > other_x + other_width or other_x > x + width


def test_events_outside_of_the_time_shown_are_left_out() -> None:
    svg = draw(np.zeros(10), [(START - timedelta(hours=1), "long ago")])
    assert classed(svg, "qc-event") == []


def test_text_from_outside_cannot_break_out_of_the_picture() -> None:
    svg = draw(np.zeros(10), [(START, "<script>alert(1)</script>")], title="a < b & c")
    assert svg.find(f".//{SVG}script") is None


def test_a_long_series_is_thinned_without_losing_its_peak_or_its_gap() -> None:
    values = np.zeros(50_000)
    values[12_345] = 1.0
    values[30_000:31_000] = np.nan
    svg = draw(values)
    lines = classed(svg, "qc-value")
    assert len(lines) == 2
    heights = [float(p.split()[1]) for p in (lines[0].get("d") or "")[1:].split("L")]
    assert min(heights) < 60 < max(heights)
    assert sum(len(line.get("d") or "") for line in lines) < 40_000


def test_times_are_utc_and_the_day_is_named() -> None:
    texts = [element.text or "" for element in classed(draw(np.zeros(121)), "qc-text")]
    assert "14:04" in texts and any("2026-11-23, UTC" in text for text in texts)
