"""A chart: one signal over time with its band and what happened on it, as SVG that needs nothing else."""

import base64
import math
from collections.abc import Sequence
from datetime import datetime
from html import escape

import numpy as np

from quell.incidents.chart_events import LANE, TOP, draw_events, place_labels
from quell.incidents.chart_frame import Frame, time_axis, time_range, value_axis, value_range
from quell.incidents.series import FloatArray

# Own classes and an opaque card, so that the chart is readable on light and dark, inline and as an image.
CHART_STYLE = """
.qc-card{fill:#ffffff;stroke:#d8dee6}.qc-grid{stroke:#e6eaef}.qc-axis{stroke:#9aa4b2}
.qc-text{fill:#57606e;font:11px ui-sans-serif,system-ui,'Segoe UI',Helvetica,Arial,sans-serif}
.qc-title{fill:#1d2430;font-size:13px;font-weight:600}.qc-band{fill:#2f6fdb;fill-opacity:.14}
.qc-value{fill:none;stroke:#1f5fc4;stroke-width:1.6;stroke-linejoin:round}.qc-dot{fill:#1f5fc4}
.qc-limit{stroke:#b4462f;stroke-width:1.6;stroke-dasharray:7 4}.qc-former{stroke:#9aa4b2;stroke-width:1.2}
.qc-event{stroke:#b4462f;stroke-dasharray:3 3}.qc-mark{fill:#b4462f}.qc-label{fill:#8c3422}.qc-back{fill:#ffffff}
@media (prefers-color-scheme:dark){.qc-card{fill:#151a21;stroke:#2c3440}.qc-grid{stroke:#252d38}
.qc-axis{stroke:#5b6674}.qc-text{fill:#a9b3c0}.qc-title{fill:#eef2f7}.qc-band{fill:#7fb0ff;fill-opacity:.18}
.qc-value{stroke:#7fb0ff}.qc-dot{fill:#7fb0ff}.qc-event{stroke:#f0886b}.qc-mark{fill:#f0886b}
.qc-label{fill:#f5a58e}.qc-back{fill:#151a21}}
""".replace("\n", "")
_LEFT, _RIGHT, _BOTTOM = 62, 16, 40
_MOST_POINTS = 1400


def signal_chart(
    *,
    title: str,
    unit: str,
    timestamps: FloatArray,
    values: FloatArray,
    lower: FloatArray | None,
    upper: FloatArray | None,
    events: Sequence[tuple[datetime, str]],
    limits: Sequence[tuple[str, float]] = (),
    width: int = 760,
    height: int = 240,
) -> str:
    """One signal as SVG text: its band filled, its line broken where samples are missing, events as labelled lines.

    All arrays have shape (T,), T may be 0; `timestamps` are epoch seconds, rising. `lower` or `upper` None means that
    the band is open on that side; both None, no band. Times are UTC. Rows of event labels are added on top of
    `height`, so that many events never squeeze the plot. Long series are thinned to the least and the greatest value
    of each bucket, so that no peak is lost. `limits` are lines across, each with its name.
    """
    timestamps, values, lower, upper = _thin(timestamps, values, lower, upper)
    start, end = time_range(timestamps, events)
    low, high = value_range(unit, np.append(values, [value for _, value in limits]), lower, upper)
    labels = place_labels(events, start, end, _LEFT, width - _RIGHT)
    rows = max((label.lane for label in labels), default=-1) + 1
    top = TOP + rows * LANE
    total = height + rows * LANE
    frame = Frame(_LEFT, width - _RIGHT, top, total - _BOTTOM, start, end, low, high)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" width="{width}" height="{total}"'
        f' role="img" aria-label="{escape(title)}"><style>{CHART_STYLE}</style>',
        f'<rect class="qc-card" x=".5" y=".5" width="{width - 1}" height="{total - 1}" rx="6"/>',
        f'<text class="qc-text qc-title" x="{_LEFT}" y="21">{escape(title)}</text>',
        *value_axis(frame, unit),
        *time_axis(frame),
        *_band(frame, timestamps, lower, upper),
        *_line(frame, timestamps, values),
        *_limits(frame, limits),
        *draw_events(frame, labels),
        "</svg>",
    ]
    return "".join(parts)


def svg_data_url(svg: str) -> str:
    """The SVG as an address for an image in markdown.

    >>> svg_data_url("<svg/>")
    'data:image/svg+xml;base64,PHN2Zy8+'
    """
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def format_value(value: float, unit: str, *, digits: int = 3) -> str:
    """A value as people read it: a ratio in percent, seconds below one in milliseconds, others with their unit.

    `digits` are those of ratios and seconds; a value that is told beside its limit needs one more.

    >>> format_value(0.125, "ratio"), format_value(0.25, "seconds"), format_value(1500, "req/s")
    ('12.5 %', '250 ms', '1500 req/s')
    """
    if not math.isfinite(value):
        return "no data"
    if unit == "ratio":
        return f"{value * 100:.{digits}g} %"
    if unit in ("seconds", "s"):
        return f"{value * 1000:.{digits}g} ms" if abs(value) < 1 else f"{value:.{digits}g} s"
    return f"{value:.4g} {unit}".strip()


def _thin(
    timestamps: FloatArray, values: FloatArray, lower: FloatArray | None, upper: FloatArray | None
) -> tuple[FloatArray, FloatArray, FloatArray | None, FloatArray | None]:
    size = math.ceil(2 * len(timestamps) / _MOST_POINTS)
    if size <= 2:
        return timestamps, values, lower, upper
    buckets = [slice(i, i + size) for i in range(0, len(timestamps), size)]

    def extremes(array: FloatArray) -> FloatArray:
        picked: list[float] = []
        for bucket in buckets:
            part = array[bucket]
            known = part[np.isfinite(part)]
            # a bucket with a hole keeps it, as otherwise missing data would look whole
            picked += [known.min(), known.max()] if known.size == part.size else [*known[:1], np.nan, np.nan][:2]
        return np.array(picked)

    times = np.array([t for b in buckets for t in (timestamps[b][0], timestamps[b][-1])])
    bands = [None if a is None else extremes(a) for a in (lower, upper)]
    return times, extremes(values), bands[0], bands[1]


def _runs(known: Sequence[bool]) -> list[tuple[int, int]]:
    """Start and end (excluded) of each stretch of True."""
    runs: list[tuple[int, int]] = []
    start: int | None = None
    for i, is_known in enumerate([*known, False]):
        if is_known and start is None:
            start = i
        elif not is_known and start is not None:
            runs.append((start, i))
            start = None
    return runs


def _band(frame: Frame, timestamps: FloatArray, lower: FloatArray | None, upper: FloatArray | None) -> list[str]:
    if lower is None and upper is None:
        return []
    floor = np.full(len(timestamps), frame.low) if lower is None else lower
    roof = np.full(len(timestamps), frame.high) if upper is None else upper
    parts: list[str] = []
    for start, end in _runs((np.isfinite(floor) & np.isfinite(roof)).tolist()):
        there = [f"{frame.x(timestamps[i]):.1f} {frame.y(roof[i]):.1f}" for i in range(start, end)]
        back = [f"{frame.x(timestamps[i]):.1f} {frame.y(floor[i]):.1f}" for i in range(end - 1, start - 1, -1)]
        parts.append(f'<path class="qc-band" d="M{"L".join(there + back)}Z"/>')
    return parts


def _line(frame: Frame, timestamps: FloatArray, values: FloatArray) -> list[str]:
    parts: list[str] = []
    for start, end in _runs(np.isfinite(values).tolist()):
        points = [f"{frame.x(timestamps[i]):.1f} {frame.y(values[i]):.1f}" for i in range(start, end)]
        if len(points) == 1:
            x, y = points[0].split()
            parts.append(f'<circle class="qc-dot" cx="{x}" cy="{y}" r="1.6"/>')
        else:
            parts.append(f'<path class="qc-value" d="M{"L".join(points)}"/>')
    return parts


def _limits(frame: Frame, limits: Sequence[tuple[str, float]]) -> list[str]:
    """A dashed line each; the first is drawn stronger: it is the one that the chart is about."""
    parts: list[str] = []
    for place, (name, value) in enumerate(limits):
        y, kind = frame.y(value), "qc-limit" if name == limits[0][0] else "qc-limit qc-former"
        x = frame.left + 6 + 60 * place  # side by side, as lines may lie close together
        parts.append(f'<path class="{kind}" d="M{frame.left:.1f} {y:.1f}H{frame.right:.1f}"/>')
        parts.append(f'<text class="qc-text" x="{x:.1f}" y="{y - 4:.1f}">{escape(name)}</text>')
    return parts
