"""The frame of a chart: the plot's rectangle, the ranges that it shows, and the axes around it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

import numpy as np

from quell.incidents.series import FloatArray

_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Frame:
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


def time_range(timestamps: FloatArray, events: Sequence[tuple[datetime, str]]) -> tuple[float, float]:
    times = [*timestamps[[0, -1]].tolist()] if len(timestamps) else [at.timestamp() for at, _ in events]
    if not times:
        return 0.0, 1.0
    start, end = min(times), max(times)
    return (start, end) if end > start else (start - 30, start + 30)


def value_range(
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


def value_axis(frame: Frame, unit: str) -> list[str]:
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


def time_axis(frame: Frame) -> list[str]:
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
