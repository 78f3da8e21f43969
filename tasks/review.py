"""Review: write the post-mortem from the record, keep it, publish it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.incidents.chart import format_value, signal_chart, svg_data_url
from quell.incidents.errors import QuellError
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.review import Review
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Signal, SignalKind
from quell.incidents.timeline import TimelineEntry
from quell.prevention.postmortem import Facts, involved_teams, plan_actions, plan_sign_offs, write_postmortem
from tasks.artifacts import incident_link, publish
from tasks.record import get_incident
from tasks.resources import Resources, resources
from tasks.rollback import move_to
from tasks.runs import tag_run
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


def write_review_of(res: Resources, incident_id: str) -> Review:
    """The incident's post-mortem, stored; RESOLVED becomes REVIEWED. Signatures and done items are kept."""
    with res.store.reading() as tx:
        incident = get_incident(tx, incident_id)
        entries = tuple(tx.timeline.of(incident_id))
    facts = _facts(res, incident, entries, draw_signal(res, incident, entries))
    review = Review(
        id=incident_id,
        markdown=write_postmortem(facts),
        written_at=res.clock(),
        sign_offs=facts.sign_offs,
        action_items=facts.action_items,
    )
    with res.store.writing() as tx:
        tx.reviews.put(review)
    if incident.state is IncidentState.RESOLVED:
        open_items = sum(item.done_at is None for item in review.action_items)
        why = f"post-mortem written; {open_items} action items, {len(review.sign_offs)} teams sign off"
        move_to(res, incident_id, IncidentState.REVIEWED, why)
    return review


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


def _facts(res: Resources, incident: Incident, entries: tuple[TimelineEntry, ...], picture: Picture) -> Facts:
    with res.store.reading() as tx:
        mitigations = tuple(tx.mitigations.find({"incident": incident.id}))
        fixes = tuple(tx.fixes.find({"incident": incident.id}))
        changes = tuple(c for id in incident.changes if (c := tx.changes.get(id)) is not None)
        alerts = tx.alerts.count({"incident": incident.id})
        reports = tx.reports.count({"incident": incident.id})
        earlier = tx.reviews.get(incident.id)
    catalog, today = res.config.catalog, res.clock().date()
    suspects = [i.service if (i := catalog.instance(s.node)) else s.node for s in incident.suspects[:1]]
    services = [incident.service, *suspects, *(m.service for m in mitigations), *(f.service for f in fixes)]
    service = catalog.service(incident.service)
    owner = (service.owner or service.team) if service else "nobody yet"
    sign_offs = plan_sign_offs(incident, involved_teams(catalog, services), today)
    actions = plan_actions(incident, fixes, owner, today)
    if earlier is not None:  # what people did to the first version stays
        signed = {s.team: s for s in earlier.sign_offs}
        done = {item.text: item.done_at for item in earlier.action_items}
        sign_offs = tuple(signed.get(s.team, s) for s in sign_offs)
        actions = tuple(replace(item, done_at=done.get(item.text)) for item in actions)
    return Facts(
        incident=incident,
        entries=entries,
        mitigations=mitigations,
        fixes=fixes,
        changes=changes,
        alerts=alerts,
        reports=reports,
        sign_offs=sign_offs,
        action_items=actions,
        impact=picture.impact,
        chart=picture.chart,
    )


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
    if limit is not None and len(matrix.timestamps) > 1:
        seconds = float((known > limit).sum()) * float(np.median(np.diff(matrix.timestamps)))
        text += f"; {signal.name} was beyond its limit for about {seconds:.0f} s"
    return text


@task(name="write the post-mortem", task_run_name="write the post-mortem of {incident}", cache_policy=NO_CACHE)
def write_review(incident: str) -> None:
    """Write, store and publish the post-mortem."""
    res = resources()
    review = write_review_of(res, incident)
    with res.store.reading() as tx:
        record = get_incident(tx, incident)
    tag_run(record.id, record.service, record.severity, "prevention")
    link = incident_link(res.config, incident)
    publish(f"postmortem {incident}", f"{link}\n\n{review.markdown}", f"Post-mortem of {incident}")
