"""A strip chart: every time of the week as a dot on one logarithmic axis, so that a mean hides nothing."""

import math
from collections.abc import Sequence
from html import escape

from quell.prevention.weekly.figure import Behind, Figure
from quell.prevention.weekly.words import TICKS, span_in_words, tick_in_words

MOST_DOTS = 300
_LEFT, _RIGHT, _TOP, _LANE, _WIDTH = 70, 20, 16, 46, 760


def strip_chart(figures: Sequence[Figure]) -> str:
    """SVG with one lane for each figure in seconds; a dot leads to its incident. Empty where nothing was measured.

    The dash is the median, the thin line reaches to the 90th percentile. What is below a second stands at the left.
    Of very many times some are left out, evenly by rank, never the least and the greatest.
    """
    shown = [figure for figure in figures if figure.median is not None]
    if not shown:
        return ""
    values = [one.value or 0.0 for figure in shown for one in figure.behind]
    least, most = max(min(values), 1.0), max(values)
    low = float(max(tick for tick in TICKS if tick <= least))
    axis = (low, max(most * 1.1, low * 10))
    ticks = [tick for tick in TICKS if axis[0] <= tick <= axis[1]]
    height = _TOP + _LANE * len(shown) + 24
    base = height - 22
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        ' role="group" aria-label="Every time of the week, one dot for each incident">'
    ]
    for tick in ticks:
        x = _x(tick, axis)
        parts.append(f'<line class="qc-grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{base}"/>')
        parts.append(
            f'<text class="qc-text" x="{x:.1f}" y="{base + 15}" text-anchor="middle">{tick_in_words(tick)}</text>'
        )
    for lane, figure in enumerate(shown):
        parts += _lane(figure, _TOP + lane * _LANE + _LANE / 2, axis)
    return "".join([*parts, "</svg>"])


def _lane(figure: Figure, y: float, axis: tuple[float, float]) -> list[str]:
    short = figure.name.split(",")[0]
    middle, ninth = _x(figure.median or 0.0, axis), _x(figure.p90 or 0.0, axis)
    parts = [
        f'<text class="qc-text qc-title" x="8" y="{y + 4:.1f}">{escape(short)}</text>',
        f'<line class="qc-axis" x1="{middle:.1f}" x2="{ninth:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>',
    ]
    for one in _thinned(figure.behind):
        words = f"{one.id}: {span_in_words(one.value or 0.0)}"
        # the great circle is what a finger hits
        parts.append(
            f'<a href="/incidents/{escape(one.incident or one.id)}" aria-label="{escape(short)} of {escape(words)}">'
            f'<circle class="qw-hit" cx="{_x(one.value or 0.0, axis):.1f}" cy="{y:.1f}" r="12"/>'
            f'<circle class="qw-dot" cx="{_x(one.value or 0.0, axis):.1f}" cy="{y:.1f}" r="4.5"/>'
            f"<title>{escape(words)}</title></a>"
        )
    parts.append(f'<line class="qw-median" x1="{middle:.1f}" x2="{middle:.1f}" y1="{y - 13:.1f}" y2="{y + 13:.1f}"/>')
    return parts


def _x(seconds: float, axis: tuple[float, float]) -> float:
    low, high = axis
    share = math.log(max(seconds, low) / low) / math.log(high / low)
    return _LEFT + min(share, 1.0) * (_WIDTH - _LEFT - _RIGHT)


def _thinned(behind: Sequence[Behind]) -> Sequence[Behind]:
    if len(behind) <= MOST_DOTS:
        return behind
    ranked = sorted(behind, key=lambda one: one.value or 0.0)
    return [ranked[round(n * (len(ranked) - 1) / (MOST_DOTS - 1))] for n in range(MOST_DOTS)]
