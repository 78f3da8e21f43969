"""A gantt: when things happened and how long they took, as mermaid that stays readable in a narrow column."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# The UI draws mermaid on a dark card, about 690 pixels wide; at its own width the letters keep their size.
_INIT = {
    "theme": "dark",
    "themeVariables": {
        "taskBkgColor": "#2f6fdb",
        "taskBorderColor": "#7fb0ff",
        "taskTextColor": "#ffffff",
        "taskTextLightColor": "#ffffff",
        "taskTextOutsideColor": "#dfe6ee",
        "gridColor": "#55657a",
    },
    "gantt": {
        "useWidth": 690,
        "fontSize": 13,
        "sectionFontSize": 13,
        "barHeight": 20,
        "barGap": 6,
        "leftPadding": 75,
        "topPadding": 50,
        "gridLineStartPadding": 40,
    },
}
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
_MOST_TICKS = 8
_TIME = "%Y-%m-%dT%H:%M:%S"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Something that lasted from `start` to `end`, or without an end a moment."""

    label: str
    start: datetime
    end: datetime | None = None
    is_bad: bool = False


def gantt(sections: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """The sections with their bars as a mermaid block; empty when there is nothing to draw. Times are UTC."""
    known = [(name, bars) for name, bars in sections if bars]
    if not known:
        return ""
    times = [at for _, bars in known for bar in bars for at in (bar.start, bar.end) if at is not None]
    lines = [
        "```mermaid",
        f"%%{{init: {json.dumps(_INIT)}}}%%",
        "gantt",
        "    dateFormat YYYY-MM-DDTHH:mm:ss",
        "    todayMarker off",
        f"    axisFormat {'%H:%M:%S' if max(times) - min(times) < timedelta(hours=1) else '%H:%M'}",
        f"    tickInterval {_tick(max(times) - min(times))}",
    ]
    for name, bars in known:
        lines += [f"    section {_plain(name)}", *(f"        {_line(bar)}" for bar in bars)]
    return "\n".join([*lines, "```"])


def _line(bar: Bar) -> str:
    start = bar.start.strftime(_TIME)
    if bar.end is None:
        return f"{_plain(bar.label)} :{'crit, ' if bar.is_bad else ''}milestone, {start}, 0s"
    return f"{_plain(bar.label)} :{'crit, ' if bar.is_bad else ''}{start}, {bar.end.strftime(_TIME)}"


def _tick(span: timedelta) -> str:
    seconds = next((tick for tick in _TICKS if span.total_seconds() / tick <= _MOST_TICKS), None)
    if seconds is None:
        return f"{max(1, span.days // _MOST_TICKS + 1)}day"
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}second"


def _plain(text: str) -> str:
    """Text without what mermaid reads as its own syntax."""
    return " ".join(re.sub(r"[:;#,{}<>\"`%]", " ", text).split())
