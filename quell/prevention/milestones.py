"""Milestones: the few events by which an incident is told, on one axis of time."""

from collections.abc import Iterator, Mapping, Sequence

from quell.incidents.gantt import Bar, gantt
from quell.incidents.incident import Incident
from quell.incidents.timeline import TimelineEntry
from quell.prevention.span import format_span

MOST_EVENTS = 14
_NAMED = ("MIT-", "FIX-")  # what people call by its number; other ids say nothing to them
PHASES = ("Detect", "Respond", "Resolve")
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


def milestones_drawn(incident: Incident, entries: Sequence[TimelineEntry]) -> str:
    """The milestones by phase on one axis of time, as mermaid, each with the time since the onset."""
    rows = [("Detect", Bar(label=f"trouble begins in {incident.service}", start=incident.onset_at, is_bad=True))]
    for phase, entry in milestones(entries, at_most=MOST_EVENTS - 1):
        label = f"+{format_span(entry.at - incident.onset_at)} {milestone_words(entry)}"
        rows.append((phase, Bar(label=label, start=entry.at)))
    return gantt([(name, [bar for phase, bar in rows if phase == name]) for name in PHASES])


def milestones(entries: Sequence[TimelineEntry], *, at_most: int) -> Iterator[tuple[str, TimelineEntry]]:
    """Phase and entry, in order, each kind once for each subject."""
    seen: set[tuple[str, str]] = set()
    for entry in sorted(entries, key=lambda e: e.id):
        phase = _MILESTONES.get(entry.kind)
        key = (entry.kind, entry.subject or "")
        if phase and key not in seen and len(seen) < at_most:
            seen.add(key)
            yield phase, entry


def milestone_words(entry: TimelineEntry) -> str:
    """As few words as tell it: `MIT-1 effective`, `change linked`, `contained`."""
    about = f"{entry.subject} " if (entry.subject or "").startswith(_NAMED) else ""
    words = entry.kind.replace("decision approve", "approved").replace("decision refuse", "refused")
    return about + words.removeprefix("incident ").removeprefix("mitigation ").removeprefix("fix ")
