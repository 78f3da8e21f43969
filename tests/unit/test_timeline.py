"""The chain shows every change, every deletion and every exchange of entries."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incidents.lifecycle import Move
from quell.incidents.timeline import GENESIS, Event, TimelineEntry, chain_entry, event_of, verify_chain

pytestmark = pytest.mark.unit
NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)


def chain(incidents: list[str | None]) -> list[TimelineEntry]:
    entries: list[TimelineEntry] = []
    for n, incident in enumerate(incidents):
        at = NOW + timedelta(seconds=n)
        event = Event(incident=incident, at=at, kind="note", by="alice", text=f"entry {n}", evidence={"n": str(n)})
        of_incident = [e for e in entries if e.incident == (incident or "-")]
        entries.append(
            chain_entry(
                event,
                last=entries[-1] if entries else None,
                last_of_incident=of_incident[-1] if of_incident else None,
            )
        )
    return entries


STORY = chain(["INC-1", "INC-2", "INC-1", None, "INC-2", None, "INC-1"])
CHAINS = st.lists(st.sampled_from(["INC-1", "INC-2", None]), min_size=1, max_size=12).map(chain)


def test_a_move_becomes_an_event_that_says_from_where_to_where() -> None:
    move = Move(
        subject="MIT-3",
        incident="INC-1",
        at=NOW,
        by="quell",
        why="no one answered",
        from_state="awaiting_approval",
        to_state="undo_failed",
        evidence={"deadline": "09:41"},
    )
    event = event_of(move)
    assert (event.kind, event.subject, event.text, event.by) == (
        "mitigation undo failed",
        "MIT-3",
        "no one answered",
        "quell",
    )
    assert event.evidence == {"from": "awaiting_approval", "to": "undo_failed", "deadline": "09:41"}


def test_entries_are_numbered_over_all_and_within_their_incident() -> None:
    assert [e.id for e in STORY] == [1, 2, 3, 4, 5, 6, 7]
    assert [(e.incident, e.number) for e in STORY][-3:] == [("INC-2", 2), ("-", 2), ("INC-1", 3)]
    assert STORY[0].previous == GENESIS and STORY[2].previous == STORY[0].hash


@given(CHAINS)
def test_a_whole_chain_has_no_faults(entries: list[TimelineEntry]) -> None:
    assert verify_chain(entries) == []
    assert verify_chain(iter(entries), written=len(entries)) == []


def test_nothing_written_is_whole() -> None:
    assert verify_chain([], written=0) == []


@pytest.mark.parametrize(
    "change",
    [
        {"text": "nothing happened"},
        {"by": "mallory"},
        {"at": NOW - timedelta(days=1)},
        {"kind": "nothing"},
        {"subject": "MIT-9"},
        {"evidence": {}},
        {"incident": "INC-2"},
        {"number": 7},
        {"previous": GENESIS},
        {"hash": "f" * 64},
        {"chain": "f" * 64},
        {"id": 9},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_of_any_field_shows(change: dict[str, Any]) -> None:
    assert verify_chain([*STORY[:2], replace(STORY[2], **change), *STORY[3:]]) != []


def test_a_changed_entry_is_named() -> None:
    tampered = [*STORY[:2], replace(STORY[2], text="nothing happened"), *STORY[3:]]
    assert verify_chain(tampered) == ["entry 3: its content was changed after it was written"]


@given(CHAINS, st.data())
def test_a_missing_entry_shows_wherever_it_was(entries: list[TimelineEntry], data: st.DataObject) -> None:
    gone = data.draw(st.integers(0, len(entries) - 1))
    assert verify_chain(entries[:gone] + entries[gone + 1 :], written=len(entries)) != []


def test_a_whole_incident_cannot_vanish_even_when_the_rest_is_numbered_anew() -> None:
    kept = [e for e in STORY if e.incident != "INC-2"]
    renumbered = [replace(entry, id=n) for n, entry in enumerate(kept, start=1)]
    assert any("the chain over all incidents" in fault for fault in verify_chain(renumbered))


def test_exchanged_entries_show() -> None:
    assert verify_chain([STORY[1], STORY[0], *STORY[2:]]) != []


def test_an_end_that_was_cut_off_shows_against_the_count() -> None:
    assert verify_chain(STORY[:5]) == []
    assert verify_chain(STORY[:5], written=7) == [
        "the end is cut off: 7 entries were written, the last one found is entry 5"
    ]
