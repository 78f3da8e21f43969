"""The picture of an incident: the users' signal with what happened on it, and what users saw, in numbers."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from quell.incidents.chart import format_value, signal_chart, svg_data_url
from quell.incidents.errors import QuellError
from quell.incidents.incident import Incident
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Signal, SignalKind
from quell.incidents.timeline import TimelineEntry
from tasks.resources import Resources
from tasks.users import recovery_rule

_BEFORE, _AFTER = timedelta(minutes=3), timedelta(minutes=1)
_MOST_POINTS = 600
# kind on the timeline -> label on the chart; the first of each kind is shown
_MARKS = {
    "decision approve": "approved",
    "mitigation applied": "mitigated",
    "incident contained": "contained",
    "fix applied": "fix in force",
    "fix promoted": "promoted",
    "fix reverted": "fix taken back",
    "incident resolved": "resolved",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The main signal during the incident: as an image for markdown, and in words."""

    chart: str = ""
    impact: str = ""


def draw_signal(res: Resources, incident: Incident, entries: tuple[TimelineEntry, ...]) -> Picture:
    """The users' signal from before the onset until after the end; empty where there are no samples."""
    signal = main_signal(res, incident)
    if signal is None:
        return Picture()
    start, end = incident.onset_at - _BEFORE, min((incident.resolved_at or res.clock()) + _AFTER, res.clock())
    step = max(signal.step, timedelta(seconds=np.ceil((end - start).total_seconds() / _MOST_POINTS)))
    try:
        steps = (end - start) // step  # the grid ends at the end, so that the last event is on it
        matrix = res.metrics.range(signal.query, start=end - steps * step, end=end, step=step)
    except QuellError:
        return Picture()
    if not matrix.labels:
        return Picture()
    worst = np.where(np.isfinite(matrix.values), matrix.values, -np.inf).max(axis=1)
    worst = np.where(np.isfinite(worst), worst, np.nan)
    rule = recovery_rule(res, incident)
    limit = rule.below if rule is not None and rule.signal == signal.name else None
    svg = signal_chart(
        title=f"{signal.name} during {incident.id}",
        unit=signal.unit,
        timestamps=matrix.timestamps,
        values=worst,
        lower=None,
        upper=None if limit is None else np.full(len(worst), limit),
        events=_events(incident, entries),
    )
    return Picture(
        chart=f"![{signal.name} during {incident.id}]({svg_data_url(svg)})",
        impact=_impact(signal, matrix, worst, incident, limit),
    )


def main_signal(res: Resources, incident: Incident) -> Signal | None:
    """What recovery was judged by, else the first user-facing error signal."""
    rule = recovery_rule(res, incident)
    if rule is not None and rule.signal in res.config.signals:
        return res.config.signals[rule.signal]
    errors = [s for s in res.config.signals.values() if s.is_user_facing and s.kind is SignalKind.ERROR_RATIO]
    return errors[0] if errors else None


def _events(incident: Incident, entries: tuple[TimelineEntry, ...]) -> list[tuple[datetime, str]]:
    events = [(incident.onset_at, "onset"), (incident.opened_at, f"{incident.id} opened")]
    for kind, label in _MARKS.items():
        first = next((entry for entry in entries if entry.kind == kind), None)
        if first is not None:
            events.append((first.at, label))
    return events


def _impact(signal: Signal, matrix: SeriesMatrix, worst: FloatArray, incident: Incident, limit: float | None) -> str:
    inside = matrix.timestamps >= incident.onset_at.timestamp()
    known = worst[inside & np.isfinite(worst)]
    if not known.size:
        return ""
    peak = format_value(float(known.max()), signal.unit)
    if signal.kind is SignalKind.ERROR_RATIO:
        text = f"Up to {peak} of users' requests failed"
    else:
        text = f"{signal.description.rstrip('.') or signal.name} was {peak} at worst"
    step = float(np.median(np.diff(matrix.timestamps))) if len(matrix.timestamps) > 1 else 0.0
    if limit is not None and step:
        text += f"; {signal.name} was beyond its limit for about {float((known > limit).sum()) * step:.0f} s"
    if signal.slo is not None and len(matrix.labels) == 1 and signal.kind is SignalKind.ERROR_RATIO:
        period = signal.slo.period.total_seconds()
        share = float(known.sum()) * step / (signal.slo.error_budget * period)
        text += f"; at even traffic that is {share * 100:.1f} % of the error budget of {period / 86400:g} days"
    return text
