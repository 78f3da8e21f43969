"""The trend: the times of the last weeks, each with its sample size, as a table and as lines."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape

from quell.prevention.weekly.facts import Facts, behind_incident
from quell.prevention.weekly.figure import Figure, count_of
from quell.prevention.weekly.section import Row, Section
from quell.prevention.weekly.times import times_section
from quell.prevention.weekly.words import TICKS, span_in_words, tick_in_words

NAMES = ("mttd", "mtta", "mttc", "mttr")
_LEFT, _RIGHT, _TOP, _BASE, _WIDTH = 62, 66, 14, 196, 760


def trend_section(weeks: Sequence[Facts]) -> Section:
    """The oldest week first. A week without incidents has no times, and the lines are broken there."""
    return Section(
        key="trend",
        title="The last weeks",
        columns=("incidents", *(name.upper() for name in NAMES)),
        rows=tuple(_row(facts) for facts in weeks) if any(facts.real for facts in weeks) else (),
        empty="No incident was opened in the last weeks.",
    )


def _row(facts: Facts) -> Row:
    week = facts.week.name
    key = f"trend/{week.lower()}"
    times = {figure.key.split("/")[1]: figure for figure in times_section(facts).figures}
    incidents = count_of(
        f"{key}.incidents", f"incidents of {week}", map(behind_incident, facts.real), n=len(facts.real)
    )
    return Row(
        name=week,
        cells=(
            incidents,
            *(
                replace(times[name], key=f"{key}.{name}", name=f"{times[name].name}, {week}") if name in times else "–"
                for name in NAMES
            ),
        ),
    )


def trend_chart(section: Section) -> str:
    """The mean times by week as SVG, on a logarithmic axis; empty where fewer than two weeks have any."""
    lines = {name: [_value(row, name) for row in section.rows] for name in NAMES}
    known = [value for line in lines.values() for value in line if value is not None]
    if len(section.rows) < 2 or max(sum(v is not None for v in line) for line in lines.values()) < 2:
        return ""
    low, high = max(min(known) / 1.5, 0.5), max(known) * 1.5
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_BASE + 24}" width="{_WIDTH}"'
        f' height="{_BASE + 24}" role="img" aria-label="Mean times of the last {len(section.rows)} weeks">'
    ]
    for seconds in TICKS:
        if low <= seconds <= high:
            y = _y(seconds, low, high)
            parts.append(f'<line class="qc-grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="qc-text" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">')
            parts.append(f"{tick_in_words(seconds)}</text>")
    for place, row in enumerate(section.rows):
        x = _x(place, len(section.rows))
        parts.append(f'<text class="qc-text" x="{x:.1f}" y="{_BASE + 18}" text-anchor="middle">{row.name[5:]}</text>')
    for name, y in zip(lines, _apart(lines.values(), low, high), strict=True):
        parts += _line(name, lines[name], low, high, y)
    return "".join([*parts, "</svg>"])


def _line(name: str, values: Sequence[float | None], low: float, high: float, label_y: float) -> list[str]:
    parts: list[str] = []
    path = ""
    for place, value in enumerate(values):
        if value is None:
            continue
        x, y = _x(place, len(values)), _y(value, low, high)
        path += f"{'M' if place == 0 or values[place - 1] is None else 'L'}{x:.1f} {y:.1f}"
        parts.append(
            f'<circle class="qt-dot qt-{name}" cx="{x:.1f}" cy="{y:.1f}" r="3.5">'
            f"<title>{name.upper()}: {escape(span_in_words(value))}</title></circle>"
        )
    if not path:
        return []
    label = f'<text class="qc-text qt-label qt-{name}" x="{_WIDTH - _RIGHT + 12}" y="{label_y + 4:.1f}">'
    return [f'<path class="qt-line qt-{name}" d="{path}"/>', *parts, f"{label}{name.upper()}</text>"]


def _apart(lines: Iterable[Sequence[float | None]], low: float, high: float) -> list[float]:
    """Where each line's name stands: at its last value, and never on another name."""
    lasts = [next((_y(v, low, high) for v in reversed(line) if v is not None), float(_BASE)) for line in lines]
    placed: dict[int, float] = {}
    for number in sorted(range(len(lasts)), key=lambda n: lasts[n]):
        below = max(placed.values(), default=-math.inf) + 14
        placed[number] = max(lasts[number], below)
    over = max(max(placed.values()) - _BASE, 0.0)
    return [placed[number] - over for number in range(len(lasts))]


def _value(row: Row, name: str) -> float | None:
    cell = row.cells[1 + NAMES.index(name)]
    return cell.value if isinstance(cell, Figure) else None


def _x(place: int, count: int) -> float:
    return _LEFT + 14 + place / max(count - 1, 1) * (_WIDTH - _LEFT - _RIGHT - 28)


def _y(seconds: float, low: float, high: float) -> float:
    share = math.log(max(seconds, low) / low) / math.log(high / low)
    return _BASE - share * (_BASE - _TOP)
