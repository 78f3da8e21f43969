"""A post-mortem: one incident as people read it, written from the record alone, without blame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from quell.incidents.change import Change
from quell.incidents.fix import Fix, FixState
from quell.incidents.gantt import Bar, gantt
from quell.incidents.incident import Incident, Severity, incident_times
from quell.incidents.mitigation import Mitigation, MitigationState
from quell.incidents.review import ActionItem, SignOff
from quell.incidents.service import Catalog
from quell.incidents.timeline import TimelineEntry
from quell.prevention.table import markdown_table

REVIEW_DAYS: Mapping[Severity, int] = {Severity.CRITICAL: 3, Severity.MAJOR: 5, Severity.MINOR: 10}
_ACTION_DAYS = 14
_MOST_EVENTS = 14
_NAMED = ("MIT-", "FIX-")  # what people call by its number; other ids say nothing to them
# What the picture of the timeline shows; the table below it has everything.
_MILESTONES: Mapping[str, str] = {
    "incident opened": "Detect",
    "change linked": "Detect",
    "incident triaged": "Detect",
    "decision approve": "Respond",
    "decision refuse": "Respond",
    "mitigation applied": "Respond",
    "mitigation effective": "Respond",
    "mitigation ineffective": "Respond",
    "mitigation inconclusive": "Respond",
    "incident contained": "Respond",
    "fix proposed": "Resolve",
    "fix applied": "Resolve",
    "fix promoted": "Resolve",
    "fix reverted": "Resolve",
    "mitigation undone": "Resolve",
    "incident resolved": "Resolve",
    "handed to a person": "Resolve",
}
# What the record calls it, for readers who do not know our states.
_OUTCOME: Mapping[MitigationState, str] = {
    MitigationState.REFUSED: "refused, nothing was changed",
    MitigationState.EXPIRED: "nobody answered in time, nothing was changed",
    MitigationState.UNDO_FAILED: "could not be undone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that the post-mortem is written from. `chart` is markdown (an image), empty without metrics."""

    incident: Incident
    entries: tuple[TimelineEntry, ...]
    mitigations: tuple[Mitigation, ...]
    fixes: tuple[Fix, ...]
    changes: tuple[Change, ...]
    alerts: int
    reports: int
    sign_offs: tuple[SignOff, ...]
    action_items: tuple[ActionItem, ...]
    impact: str = ""  # what users saw, in numbers
    chart: str = ""


def involved_teams(catalog: Catalog, facts_services: Sequence[str]) -> tuple[str, ...]:
    """The teams of the services involved, each once, in order."""
    services = [catalog.service(name) for name in facts_services]
    return tuple(dict.fromkeys(service.team for service in services if service))


def plan_sign_offs(incident: Incident, teams: Sequence[str], today: date) -> tuple[SignOff, ...]:
    """One sign-off per team; the worse the incident, the sooner."""
    return tuple(SignOff(team=team, due=today + timedelta(days=REVIEW_DAYS[incident.severity])) for team in teams)


def plan_actions(incident: Incident, fixes: Sequence[Fix], owner: str, today: date) -> tuple[ActionItem, ...]:
    """What is left to do, from what the record shows to be missing."""
    promoted = [fix for fix in fixes if fix.state is FixState.PROMOTED]
    texts: list[str] = []
    for fix in promoted:
        if fix.guard:
            texts.append(f"Run `quell guard` with {fix.guard} in the pipeline that deploys {fix.file}")
        else:
            texts.append(f"Write a guard for {fix.file}: none could be derived from the change")
    if not promoted:
        texts.append("Find and mend the cause: no fix has been promoted")
    texts.append("Review the limits that were recomputed after this incident, and promote or decline them")
    times = incident_times(incident)
    if times.to_detect > timedelta(minutes=2):
        texts.append(f"Detect it earlier: it went unnoticed for {format_span(times.to_detect)}")
    due = today + timedelta(days=_ACTION_DAYS)
    return tuple(
        ActionItem(id=f"{incident.id}/A{number}", text=text, owner=owner, due=due)
        for number, text in enumerate(texts, start=1)
    )


def write_postmortem(facts: Facts) -> str:
    """The post-mortem as markdown (GFM with one mermaid timeline)."""
    incident = facts.incident
    sections = [
        f"# {incident.id}: {incident.title}",
        _summary(facts),
        "## Facts\n\n" + _facts_table(facts),
        "## Timeline\n\n" + milestones_drawn(incident, facts.entries) + "\n\n" + _timeline_table(facts),
        "## Signal\n\n" + facts.chart if facts.chart else "",
        "## What helped, and what did not\n\n" + _mitigations(facts),
        "## Contributing change\n\n" + _changes(facts),
        "## Guards added\n\n" + _guards(facts),
        "## Action items\n\n"
        + markdown_table(("id", "what", "owner", "due"), [(a.id, a.text, a.owner, a.due) for a in facts.action_items]),
        "## Sign-offs\n\n"
        + markdown_table(
            ("team", "due", "signed by"), [(s.team, s.due, s.person or "not yet") for s in facts.sign_offs]
        ),
        "_Written from the record. It asks what made the trouble possible, not who was at the keyboard: the change"
        " passed every check that there was._",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def milestones_drawn(incident: Incident, entries: Sequence[TimelineEntry]) -> str:
    """The milestones by phase on one axis of time, as mermaid, each with the time since the onset."""
    seen: set[tuple[str, str]] = set()
    rows = [("Detect", Bar(label=f"trouble begins in {incident.service}", start=incident.onset_at, is_bad=True))]
    for entry in sorted(entries, key=lambda e: e.id):
        phase = _MILESTONES.get(entry.kind)
        key = (entry.kind, entry.subject or "")
        if phase and key not in seen and len(rows) < _MOST_EVENTS:
            seen.add(key)
            label = f"+{format_span(entry.at - incident.onset_at)} {_milestone(entry)}"
            rows.append((phase, Bar(label=label, start=entry.at)))
    return gantt([(name, [bar for phase, bar in rows if phase == name]) for name in ("Detect", "Respond", "Resolve")])


def _milestone(entry: TimelineEntry) -> str:
    """As few words as tell it: `MIT-1 effective`, `change linked`, `contained`."""
    about = f"{entry.subject} " if (entry.subject or "").startswith(_NAMED) else ""
    words = entry.kind.replace("decision approve", "approved").replace("decision refuse", "refused")
    return about + words.removeprefix("incident ").removeprefix("mitigation ").removeprefix("fix ")


def format_span(span: timedelta | None) -> str:
    """A length of time for people.

    >>> format_span(timedelta(seconds=95.4)), format_span(timedelta(seconds=7200)), format_span(None)
    ('1 min 35 s', '2 h 0 min', 'not reached')
    """
    if span is None:
        return "not reached"
    seconds = max(0, round(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def _summary(facts: Facts) -> str:
    incident, times = facts.incident, incident_times(facts.incident)
    told = f"{facts.alerts} alert{_s(facts.alerts)} and {facts.reports} report{_s(facts.reports)} from users"
    first = facts.impact or f"Requests to {incident.service} failed or were slow"
    parts = [
        f"{first}. It began at {_time(incident.onset_at)}, was noticed after {format_span(times.to_detect)}"
        f" ({told} became this one incident)"
    ]
    if times.to_contain is not None:
        parts.append(f", stopped reaching users after {format_span(times.to_contain)}")
    if times.to_resolve is not None:
        parts.append(f" and was mended after {format_span(times.to_resolve)}")
    return "".join(parts) + "."


def _facts_table(facts: Facts) -> str:
    incident, times = facts.incident, incident_times(facts.incident)
    suspect = incident.suspects[0] if incident.suspects else None
    rows: list[tuple[str, object]] = [
        ("severity", incident.severity),
        ("service", incident.service),
        ("onset", _time(incident.onset_at)),
        ("MTTD (onset to opened)", format_span(times.to_detect)),
        ("MTTA (opened to acknowledged)", format_span(times.to_acknowledge)),
        ("MTTC (onset to contained)", format_span(times.to_contain)),
        ("MTTR (onset to resolved)", format_span(times.to_resolve)),
        ("first suspect", f"{suspect.node}: {suspect.reason}" if suspect else "none"),
        ("reopened", f"{incident.reopened} time{_s(incident.reopened)}"),
    ]
    return markdown_table(("what", "value"), rows)


def _timeline_table(facts: Facts) -> str:
    onset = facts.incident.onset_at
    rows = [
        (_time(e.at), format_span(e.at - onset), e.by, e.kind, _short(e.text))
        for e in sorted(facts.entries, key=lambda e: e.id)
    ]
    table = markdown_table(("time (UTC)", "since onset", "by", "what", "why"), rows)
    return f"<details><summary>All {len(rows)} entries</summary>\n\n{table}\n\n</details>"


def _mitigations(facts: Facts) -> str:
    rows = [
        (
            m.id,
            m.playbook,
            m.target,
            _OUTCOME.get(m.state) or m.recovery_reason or m.state.value.replace("_", " "),
            m.approved_by or ("automatic" if not m.plan.needs_approval else "nobody"),
            format_span(m.ended_at - m.applied_at) if m.applied_at and m.ended_at else "-",
        )
        for m in facts.mitigations
    ]
    return markdown_table(("mitigation", "playbook", "target", "recovery", "approved by", "in force for"), rows)


def _changes(facts: Facts) -> str:
    rows = [(_time(c.at), c.kind, c.instance or c.service, c.summary, (c.commit or "-")[:12]) for c in facts.changes]
    parts = [markdown_table(("time (UTC)", "kind", "where", "what", "commit"), rows)]
    for fix in facts.fixes:
        parts.append(f"**{fix.id}** ({fix.state}) takes back `{fix.bad_commit[:12]}` in `{fix.file}`:")
        parts.append(f"````diff\n{fix.diff.rstrip()}\n````")
        if fix.canary_result:
            parts.append(f"Canary: {fix.canary_result}.")
    return "\n\n".join(parts)


def _guards(facts: Facts) -> str:
    rows = [(fix.guard, fix.guard_proof) for fix in facts.fixes if fix.guard and fix.state is FixState.PROMOTED]
    return markdown_table(("guard", "proof"), rows)


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
