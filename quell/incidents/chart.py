"""A chart: one signal over time with its band and what happened on it, as SVG that needs nothing else."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

import numpy as np

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
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 34, 40
_LANE = 16  # height of one row of event labels
_LETTER = 6.1  # mean width of a letter at 11 px, rather too wide than too narrow
_LONGEST_LABEL = 40
_MOST_POINTS = 1400
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_DAY = 86400


@dataclass(frozen=True, slots=True)
class _Label:
    x: float
    left: float
    lane: int
    text: str
    full: str


@dataclass(frozen=True, slots=True)
class _Frame:
    """The plot's rectangle and the ranges of time and value that it shows."""

    left: float
    right: float
    top: float
    bottom: float
    start: float
    end: float
    low: float
    high: float

    def x(self, at: float) -> float:
        return self.left + (at - self.start) / (self.end - self.start) * (self.right - self.left)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.bottom - min(max(share, 0.0), 1.0) * (self.bottom - self.top)


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
    start, end = _time_range(timestamps, events)
    low, high = _value_range(unit, np.append(values, [value for _, value in limits]), lower, upper)
    labels = _place_labels(events, start, end, _LEFT, width - _RIGHT)
    rows = max((label.lane for label in labels), default=-1) + 1
    top = _TOP + rows * _LANE
    total = height + rows * _LANE
    frame = _Frame(_LEFT, width - _RIGHT, top, total - _BOTTOM, start, end, low, high)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" width="{width}" height="{total}"'
        f' role="img" aria-label="{escape(title)}"><style>{CHART_STYLE}</style>',
        f'<rect class="qc-card" x=".5" y=".5" width="{width - 1}" height="{total - 1}" rx="6"/>',
        f'<text class="qc-text qc-title" x="{_LEFT}" y="21">{escape(title)}</text>',
        *_value_axis(frame, unit),
        *_time_axis(frame),
        *_band(frame, timestamps, lower, upper),
        *_line(frame, timestamps, values),
        *_limits(frame, limits),
        *_events(frame, labels),
        "</svg>",
    ]
    return "".join(parts)


def svg_data_url(svg: str) -> str:
    """The SVG as an address for an image in markdown.

    >>> svg_data_url("<svg/>")
    'data:image/svg+xml;base64,PHN2Zy8+'
    """
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def format_value(value: float, unit: str) -> str:
    """A value as people read it: a ratio in percent, seconds below one in milliseconds, others with their unit.

    >>> format_value(0.125, "ratio"), format_value(0.25, "seconds"), format_value(1500, "req/s")
    ('12.5 %', '250 ms', '1500 req/s')
    """
    if not math.isfinite(value):
        return "no data"
    if unit == "ratio":
        return f"{value * 100:.3g} %"
    if unit in ("seconds", "s"):
        return f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
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


def _time_range(timestamps: FloatArray, events: Sequence[tuple[datetime, str]]) -> tuple[float, float]:
    times = [*timestamps[[0, -1]].tolist()] if len(timestamps) else [at.timestamp() for at, _ in events]
    if not times:
        return 0.0, 1.0
    start, end = min(times), max(times)
    return (start, end) if end > start else (start - 30, start + 30)


def _value_range(
    unit: str, values: FloatArray, lower: FloatArray | None, upper: FloatArray | None
) -> tuple[float, float]:
    arrays = [a[np.isfinite(a)] for a in (values, lower, upper) if a is not None]
    known = np.concatenate(arrays) if arrays else np.array([])
    low = min(float(known.min()), 0.0) if known.size else 0.0
    high = float(known.max()) if known.size else 1.0
    if high <= low:
        high = low + (0.01 if unit == "ratio" else 1.0)
    return low, high + 0.06 * (high - low)


def _tick_step(span: float, wanted: int) -> float:
    rough = span / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough)


def _value_axis(frame: _Frame, unit: str) -> list[str]:
    step = _tick_step(frame.high - frame.low, 4)
    parts: list[str] = []
    number = math.ceil(frame.low / step)
    while number * step <= frame.high:
        y = frame.y(number * step)
        parts.append(f'<path class="qc-grid" d="M{frame.left:.1f} {y:.1f}H{frame.right:.1f}"/>')
        parts.append(
            f'<text class="qc-text" x="{frame.left - 7:.1f}" y="{y + 4:.1f}" text-anchor="end">'
            f"{escape(_tick_text(number * step, unit))}</text>"
        )
        number += 1
    name = "share, %" if unit == "ratio" else unit
    middle = (frame.top + frame.bottom) / 2
    parts.append(
        f'<text class="qc-text" transform="translate(14 {middle:.1f}) rotate(-90)" text-anchor="middle">'
        f"{escape(name)}</text>"
    )
    return parts


def _tick_text(value: float, unit: str) -> str:
    return f"{value * 100:.4g}" if unit == "ratio" else f"{value:.4g}"


def _time_axis(frame: _Frame) -> list[str]:
    span = frame.end - frame.start
    wanted = max(2, int((frame.right - frame.left) / 95))
    step = next((s for s in _TIME_STEPS if span / s <= wanted), None) or _DAY * max(1, math.ceil(span / _DAY / wanted))
    pattern = "%H:%M:%S" if step < 60 else "%H:%M" if step < _DAY else "%d %b"
    parts = [f'<path class="qc-axis" d="M{frame.left:.1f} {frame.bottom:.1f}H{frame.right:.1f}"/>']
    at = math.ceil(frame.start / step) * step
    while at <= frame.end:
        x = frame.x(at)
        parts.append(f'<path class="qc-axis" d="M{x:.1f} {frame.bottom:.1f}v4"/>')
        text = datetime.fromtimestamp(at, UTC).strftime(pattern)
        parts.append(
            f'<text class="qc-text" x="{x:.1f}" y="{frame.bottom + 16:.1f}" text-anchor="middle">{text}</text>'
        )
        at += step
    days = [datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d") for t in (frame.start, frame.end)]
    day = days[0] if days[0] == days[1] else f"{days[0]} to {days[1]}"
    parts.append(
        f'<text class="qc-text" x="{frame.right:.1f}" y="{frame.bottom + 32:.1f}" text-anchor="end">{day}, UTC</text>'
    )
    return parts


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


def _band(frame: _Frame, timestamps: FloatArray, lower: FloatArray | None, upper: FloatArray | None) -> list[str]:
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


def _line(frame: _Frame, timestamps: FloatArray, values: FloatArray) -> list[str]:
    parts: list[str] = []
    for start, end in _runs(np.isfinite(values).tolist()):
        points = [f"{frame.x(timestamps[i]):.1f} {frame.y(values[i]):.1f}" for i in range(start, end)]
        if len(points) == 1:
            x, y = points[0].split()
            parts.append(f'<circle class="qc-dot" cx="{x}" cy="{y}" r="1.6"/>')
        else:
            parts.append(f'<path class="qc-value" d="M{"L".join(points)}"/>')
    return parts


def _limits(frame: _Frame, limits: Sequence[tuple[str, float]]) -> list[str]:
    """A dashed line each; the first is drawn stronger: it is the one that the chart is about."""
    parts: list[str] = []
    for place, (name, value) in enumerate(limits):
        y, kind = frame.y(value), "qc-limit" if name == limits[0][0] else "qc-limit qc-former"
        x = frame.left + 6 + 60 * place  # side by side, as lines may lie close together
        parts.append(f'<path class="{kind}" d="M{frame.left:.1f} {y:.1f}H{frame.right:.1f}"/>')
        parts.append(f'<text class="qc-text" x="{x:.1f}" y="{y - 4:.1f}">{escape(name)}</text>')
    return parts


def _place_labels(
    events: Sequence[tuple[datetime, str]], start: float, end: float, left: float, right: float
) -> list[_Label]:
    """Each label in the first row where it touches no other; to the left of its line where the right edge is near."""
    taken: list[list[tuple[float, float]]] = []
    labels: list[_Label] = []
    for at, full in sorted(events, key=lambda event: event[0]):
        if not start <= at.timestamp() <= end:
            continue
        x = left + (at.timestamp() - start) / (end - start) * (right - left)
        text = full if len(full) <= _LONGEST_LABEL else full[: _LONGEST_LABEL - 1] + "…"
        size = len(text) * _LETTER + 8
        box = (x - 4, x + 6 + size) if x + 6 + size <= right or x - 6 - size < left else (x - 6 - size, x + 4)
        lane = next((i for i, row in enumerate(taken) if all(box[1] < a or box[0] > b for a, b in row)), len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append(box)
        labels.append(_Label(x, box[0] + 10 if box[0] == x - 4 else box[0], lane, text, full))
    return labels


def _events(frame: _Frame, labels: Sequence[_Label]) -> list[str]:
    lines: list[str] = []
    texts: list[str] = []
    for label in labels:
        y = _TOP + label.lane * _LANE + 4
        lines.append(f'<path class="qc-event" d="M{label.x:.1f} {y:.1f}V{frame.bottom:.1f}"/>')
        texts.append(f'<rect class="qc-back" x="{label.left:.1f}" y="{y - 7:.1f}" height="14"')
        texts.append(f' width="{len(label.text) * _LETTER:.1f}"/>')
        texts.append(f'<circle class="qc-mark" cx="{label.x:.1f}" cy="{y:.1f}" r="3"/>')
        texts.append(f'<text class="qc-text qc-label" x="{label.left + 1:.1f}" y="{y + 4:.1f}">{escape(label.text)}')
        texts.append(f"<title>{escape(label.full)}</title></text>")
    return lines + texts
