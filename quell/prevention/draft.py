"""The draft of a post-mortem: its sections, written from the record alone and without blame."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from quell.incidents.change import Change
from quell.incidents.fix import Fix, FixState
from quell.incidents.hours import HourBand, bands_in_words
from quell.incidents.incident import Incident, incident_times
from quell.incidents.mitigation import Mitigation, MitigationState, Recovery
from quell.incidents.review import ActionItem, Section, SignOff
from quell.incidents.threshold import ThresholdVersion
from quell.incidents.timeline import TimelineEntry
from quell.prevention.blameless import Cast
from quell.prevention.milestones import MOST_EVENTS, milestone_words, milestones, milestones_drawn
from quell.prevention.span import format_span, format_time
from quell.prevention.table import cell, markdown_table

LESSONS = "_Nothing is written yet. What surprised you? Where were you lucky? What would have shown it earlier?_"
_QUOTED = 3  # reports
_MOST_ENTRIES = 400  # of the timeline
_AFTERWARDS = "review "  # entries about the review itself tell nothing of the incident
# What the record calls it, for readers who do not know our states.
_OUTCOME = {
    MitigationState.REFUSED: "refused, nothing was changed",
    MitigationState.EXPIRED: "nobody answered in time, nothing was changed",
    MitigationState.UNDO_FAILED: "could not be undone",
}
_DID_NOT_HELP = (MitigationState.INEFFECTIVE, MitigationState.INCONCLUSIVE, MitigationState.UNDO_FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAlert:
    """The first alert of one name: when it came, from whom, and how many of them there were in the end."""

    name: str
    source: str
    at: datetime
    count: int = 1


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
    thresholds: tuple[ThresholdVersion, ...] = ()
    first_alerts: tuple[FirstAlert, ...] = ()
    first_report_at: datetime | None = None
    quotes: tuple[str, ...] = ()  # what users wrote
    cast: Cast = field(default_factory=Cast)


def draft_sections(facts: Facts) -> tuple[Section, ...]:
    """All sections in the order in which they are read; those from the record alone stay as the record says."""
    parts = [
        ("impact", "Impact", _impact(facts), False),
        ("facts", "Facts", _facts_table(facts), True),
        ("timeline", "Timeline", _timeline(facts), True),
        ("signal", "Signal", facts.chart, True),
        ("detection", "Detection", _detection(facts), False),
        ("helped", "What helped, and what did not", _mitigations(facts), False),
        ("cause", "Contributing change", _changes(facts), False),
        ("guards", "Guards added", _guards(facts), True),
        ("thresholds", "Threshold changes", _thresholds(facts), True),
        ("lessons", "What we learned", LESSONS, False),
    ]
    return tuple(
        Section(id=id, title=title, text=text, is_record=is_record) for id, title, text, is_record in parts if text
    )


def _impact(facts: Facts) -> str:
    incident, times = facts.incident, incident_times(facts.incident)
    told = f"{_count(facts.alerts, 'alert')} and {_count(facts.reports, 'report')} from users"
    first = facts.impact or f"Requests to {incident.service} failed or were slow"
    parts = [
        f"{first}. It began at {format_time(incident.onset_at)}, was noticed after {format_span(times.to_detect)}"
        f" ({told} became this one incident)"
    ]
    if times.to_contain is not None:
        parts.append(f", stopped reaching users after {format_span(times.to_contain)}")
    if times.to_resolve is not None:
        parts.append(f" and was mended after {format_span(times.to_resolve)}")
    paragraphs = ["".join(parts) + "."]
    if incident.impact:
        paragraphs.append(f"Who was affected: {cell(facts.cast.prose(incident.impact)).rstrip('.')}.")
    if facts.quotes:
        quotes = "\n".join(f"> {cell(_short(facts.cast.prose(text)))}\n>" for text in facts.quotes[:_QUOTED])
        paragraphs.append(f"Users wrote:\n\n{quotes.removesuffix('>').rstrip()}")
    return "\n\n".join(paragraphs)


def _facts_table(facts: Facts) -> str:
    incident, times = facts.incident, incident_times(facts.incident)
    suspect = incident.suspects[0] if incident.suspects else None
    worst = incident.worst_severity
    rows: list[tuple[str, object]] = [
        ("severity", f"{incident.severity}{f', {worst} at worst' if worst and worst != incident.severity else ''}"),
        ("service", incident.service),
        ("onset", format_time(incident.onset_at)),
        ("MTTD (onset to opened)", format_span(times.to_detect)),
        ("MTTA (opened to acknowledged)", format_span(times.to_acknowledge)),
        ("MTTC (onset to contained)", format_span(times.to_contain)),
        ("MTTR (onset to resolved)", format_span(times.to_resolve)),
        ("first suspect", f"{suspect.node}: {facts.cast.prose(suspect.reason)}" if suspect else "none"),
        ("reopened", _count(incident.reopened, "time")),
    ]
    return markdown_table(("what", "value"), rows)


def _timeline(facts: Facts) -> str:
    """A picture of the milestones, the same as a table, and every entry, folded."""
    incident, entries = facts.incident, facts.entries
    rows = [("Detect", format_time(incident.onset_at), "0 s", f"trouble begins in {incident.service}")]
    for phase, e in milestones(entries, at_most=MOST_EVENTS - 1):
        at = f"{e.at:%H:%M:%S}" if e.at.date() == incident.onset_at.date() else format_time(e.at)
        rows.append((phase, at, format_span(e.at - incident.onset_at), milestone_words(e)))
    table = markdown_table(("phase", "time (UTC)", "since onset", "what"), rows)
    return "\n\n".join((milestones_drawn(incident, entries), table, _all_entries(facts)))


def _all_entries(facts: Facts) -> str:
    onset, cast = facts.incident.onset_at, facts.cast
    told = [e for e in sorted(facts.entries, key=lambda e: e.id) if not e.kind.startswith(_AFTERWARDS)]
    shown = told if len(told) <= _MOST_ENTRIES else [*told[: _MOST_ENTRIES // 2], *told[-_MOST_ENTRIES // 2 :]]
    rows = [
        (format_time(e.at), format_span(e.at - onset), cast.actor(e.by), e.kind, _short(cast.prose(e.text, by=e.by)))
        for e in shown
    ]
    table = markdown_table(("time (UTC)", "since onset", "by", "what", "why"), rows)
    left = f"; {len(told) - len(shown)} in the middle are on the incident's page" if len(shown) < len(told) else ""
    return f"<details><summary>All {len(told)} entries{left}</summary>\n\n{table}\n\n</details>"


def _detection(facts: Facts) -> str:
    incident, onset = facts.incident, facts.incident.onset_at
    because = facts.cast.prose(incident.opened_because)
    opened = f"The incident was opened {format_span(incident_times(incident).to_detect)} after the onset"
    sentences = [f"{opened}, by {incident.opened_by}{f': {cell(because)}' if because else ''}."]
    if facts.first_report_at is not None:
        before = facts.first_report_at < incident.opened_at
        after = format_span(facts.first_report_at - onset)
        sentences.append(
            f"Users reported it {after} after the onset, before it was detected: the signals were later than they were."
            if before
            else f"The first user reported it {after} after the onset, when it was known already."
        )
    elif not facts.reports:
        sentences.append("No user had to report it.")
    rows = [(a.name, a.source, format_span(a.at - onset), a.count) for a in facts.first_alerts]
    table = markdown_table(("alert", "from", "first, after onset", "how many"), rows)
    return " ".join(sentences) + (f"\n\n{table}" if rows else "")


def _mitigations(facts: Facts) -> str:
    sentences = [facts.cast.prose(s) for s in (*_helped(facts.mitigations), *_did_not_help(facts.mitigations))]
    rows = [
        (
            m.id,
            m.playbook,
            m.target,
            facts.cast.prose(_outcome(m)),
            facts.cast.actor(m.approved_by) if m.approved_by else _unapproved(m),
            format_span(m.ended_at - m.applied_at) if m.applied_at and m.ended_at else "-",
        )
        for m in facts.mitigations
    ]
    table = markdown_table(("mitigation", "playbook", "target", "recovery", "approved by", "in force for"), rows)
    return "\n\n".join(["\n".join(f"- {sentence}" for sentence in sentences), table] if sentences else [table])


def _helped(mitigations: Sequence[Mitigation]) -> Iterable[str]:
    for each in mitigations:
        if each.recovery is Recovery.EFFECTIVE:
            yield f"{each.playbook} on {each.target} ({each.id}) helped: {cell(_outcome(each)).rstrip('.')}."


def _did_not_help(mitigations: Sequence[Mitigation]) -> Iterable[str]:
    for each in mitigations:
        if each.recovery is Recovery.EFFECTIVE:
            continue
        if each.recovery is not None or each.state in (*_DID_NOT_HELP, *_OUTCOME):
            yield f"{each.playbook} on {each.target} ({each.id}) did not help: {cell(_outcome(each)).rstrip('.')}."


def _outcome(mitigation: Mitigation) -> str:
    known = _OUTCOME.get(mitigation.state)
    return known or mitigation.recovery_reason or mitigation.state.value.replace("_", " ")


def _unapproved(mitigation: Mitigation) -> str:
    return "automatic" if not mitigation.plan.needs_approval else "nobody"


def _changes(facts: Facts) -> str:
    rows = [
        (format_time(c.at), c.kind, c.instance or c.service, facts.cast.prose(c.summary), (c.commit or "-")[:12])
        for c in facts.changes
    ]
    parts = [markdown_table(("time (UTC)", "kind", "where", "what", "commit"), rows)]
    for fix in facts.fixes:
        agreed = f", approved by {facts.cast.prose(fix.approved_by)}" if fix.approved_by else ""
        parts.append(f"**{fix.id}** ({fix.state}{agreed}): {fix.deed} in `{fix.file}`")
        parts.append(f"````diff\n{fix.diff.rstrip()}\n````")
        if fix.canary_result:
            parts.append(f"Canary: {facts.cast.prose(fix.canary_result)}.")
    return "\n\n".join(parts)


def _guards(facts: Facts) -> str:
    rows = [(fix.guard, fix.guard_proof) for fix in facts.fixes if fix.guard and fix.state is FixState.PROMOTED]
    return markdown_table(("guard", "proof"), rows)


def _thresholds(facts: Facts) -> str:
    rows = [
        (
            t.id,
            t.signal,
            t.state,
            _limit(t.lower, t.lower_by_hour),
            _limit(t.upper, t.upper_by_hour),
            t.replaces or "-",
            t.evidence.get("new limit", "-"),
        )
        for t in facts.thresholds
    ]
    return markdown_table(("version", "signal", "state", "lower", "upper", "replaces", "backtest"), rows)


def _limit(value: float | None, by_hour: Sequence[HourBand]) -> str:
    if by_hour:
        return bands_in_words(by_hour, "{:.4g}".format)
    return "-" if value is None else f"{value:.4g}"


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
