"""The timeline: what happened, who did it and why, chained so that a change or a deletion shows.

Each entry carries two hashes: `hash` covers the entry and the one before it in the same incident, `chain` covers
the entry's hash and the entry before it over all incidents, so that a whole incident cannot vanish either.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from quell.incidents.lifecycle import Move

GENESIS = "0" * 64
NO_INCIDENT = "-"  # entries that belong to no incident (a manual mitigation, a threshold) share one chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What shall be written; the store gives it its place and its hashes."""

    incident: str | None
    at: datetime
    kind: str  # lower-case words: "alert joined", "plan", "mitigation applying", "recovery", ...
    by: str  # "quell", "alertmanager", or a person
    text: str
    subject: str | None = None  # the record it is about: INC-1, MIT-3, FIX-1, ...
    evidence: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """`id` rises over all incidents (1, 2, ...), `number` inside one incident."""

    id: int
    incident: str
    number: int
    at: datetime
    kind: str
    by: str
    text: str
    subject: str | None
    evidence: Mapping[str, str]
    previous: str
    hash: str
    chain: str


def event_of(move: Move) -> Event:
    """A change of state as an event: `mitigation applied`, `incident contained`, ..."""
    noun = {"INC": "incident", "MIT": "mitigation", "FIX": "fix", "THR": "threshold"}.get(
        move.subject.split("-", 1)[0], "record"
    )
    return Event(
        incident=move.incident,
        at=move.at,
        kind=f"{noun} {move.to_state.replace('_', ' ')}",
        by=move.by,
        text=move.why,
        subject=move.subject,
        evidence={"from": move.from_state, "to": move.to_state, **move.evidence},
    )


def chain_entry(event: Event, *, last: TimelineEntry | None, last_of_incident: TimelineEntry | None) -> TimelineEntry:
    """Give an event its place after `last` (over all incidents) and `last_of_incident`, with both hashes."""
    number = last_of_incident.number + 1 if last_of_incident else 1
    previous = last_of_incident.hash if last_of_incident else GENESIS
    incident = event.incident or NO_INCIDENT
    digest = _hash_event(event, incident, number, previous)
    return TimelineEntry(
        id=last.id + 1 if last else 1,
        incident=incident,
        number=number,
        at=event.at,
        kind=event.kind,
        by=event.by,
        text=event.text,
        subject=event.subject,
        evidence=dict(event.evidence),
        previous=previous,
        hash=digest,
        chain=_sha256((last.chain if last else GENESIS) + digest),
    )


def verify_chain(entries: Iterable[TimelineEntry], *, written: int | None = None) -> list[str]:
    """Check all entries, in order of id; returns one sentence per fault, empty when the timeline is whole.

    `written` is how many the store counted (`Timeline.written`): without it, a cut-off end cannot be seen.
    """
    faults: list[str] = []
    last: TimelineEntry | None = None
    heads: dict[str, TimelineEntry] = {}
    for entry in entries:
        expected_id = last.id + 1 if last else 1
        if entry.id != expected_id:
            faults.append(f"entry {expected_id} is missing: after it comes entry {entry.id}")
        head = heads.get(entry.incident)
        if entry.number != (head.number + 1 if head else 1):
            faults.append(f"entry {entry.id}: number {entry.number} of {entry.incident} does not follow")
        if entry.previous != (head.hash if head else GENESIS):
            faults.append(f"entry {entry.id}: it does not continue the chain of {entry.incident}")
        if entry.hash != _hash_event(_event(entry), entry.incident, entry.number, entry.previous):
            faults.append(f"entry {entry.id}: its content was changed after it was written")
        if entry.chain != _sha256((last.chain if last else GENESIS) + entry.hash):
            faults.append(f"entry {entry.id}: it does not continue the chain over all incidents")
        last, heads[entry.incident] = entry, entry
    found = last.id if last else 0
    if written is not None and found < written:
        faults.append(f"the end is cut off: {written} entries were written, the last one found is entry {found}")
    return faults


def _event(entry: TimelineEntry) -> Event:
    return Event(
        incident=entry.incident,
        at=entry.at,
        kind=entry.kind,
        by=entry.by,
        text=entry.text,
        subject=entry.subject,
        evidence=entry.evidence,
    )


def _hash_event(event: Event, incident: str, number: int, previous: str) -> str:
    content = [
        incident,
        number,
        event.at.isoformat(),
        event.kind,
        event.by,
        event.text,
        event.subject,
        dict(event.evidence),
        previous,
    ]
    return _sha256(json.dumps(content, sort_keys=True, ensure_ascii=False))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
