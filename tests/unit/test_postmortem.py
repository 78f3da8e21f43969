"""The post-mortem: written from the record, with every milestone, as markdown that renders."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.suspect import Suspect
from quell.incidents.timeline import Event, TimelineEntry, chain_entry
from quell.prevention.blameless import find_blame
from quell.prevention.draft import Facts
from quell.prevention.postmortem import write_postmortem
from quell.prevention.review_plan import plan_actions, plan_sign_offs

pytestmark = pytest.mark.unit

ONSET = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return ONSET + timedelta(seconds=seconds)


INCIDENT = Incident(
    id=IncidentId("INC-7"),
    state=IncidentState.RESOLVED,
    severity=Severity.CRITICAL,
    title="checkout fails | half of it",
    service="checkout",
    onset_at=ONSET,
    opened_at=at(12),
    acknowledged_at=at(40),
    contained_at=at(95),
    resolved_at=at(310),
    updated_at=at(310),
    opened_because="",
    opened_by="sweep",
    suspects=(Suspect(node="checkout-2", metric="errors", score=0.9, reason="fails <alone>"),),
)
FIX = Fix(
    id="FIX-1",
    state=FixState.PROMOTED,
    incident="INC-7",
    service="checkout",
    instance="checkout-2",
    repository="/r",
    file="services/checkout-2.yaml",
    bad_commit="3f2a1bc09d77",
    diff="-a: 5\n+a: 800\n",
    created_at=at(100),
    updated_at=at(300),
    guard="guards/checkout-a.yaml",
    guard_proof="fails on the bad file",
)


def timeline() -> tuple[TimelineEntry, ...]:
    kinds = [
        (12, "incident triaged", "why; with: punctuation | and\nlines"),
        (40, "decision approve", "ok"),
        (41, "mitigation applied", "drained"),
        (95, "incident contained", "users are well"),
        (200, "fix applied", "in force"),
        (310, "incident resolved", "cause removed"),
    ]
    entries: list[TimelineEntry] = []
    for seconds, kind, text in kinds:
        event = Event(incident="INC-7", at=at(seconds), kind=kind, by="alice", text=text, subject="INC-7")
        last = entries[-1] if entries else None
        entries.append(chain_entry(event, last=last, last_of_incident=last))
    return tuple(entries)


def facts(**changes: object) -> Facts:
    today = date(2026, 11, 23)
    base = Facts(
        incident=INCIDENT,
        entries=timeline(),
        mitigations=(),
        fixes=(FIX,),
        changes=(),
        alerts=5,
        reports=2,
        sign_offs=plan_sign_offs(INCIDENT, ["shop", "platform"], today),
        action_items=plan_actions(INCIDENT, [FIX], "alice", today),
        impact="Up to 33 % of users' requests failed",
        chart="![chart](data:image/svg+xml;base64,AAAA)",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def tables(markdown: str) -> list[list[str]]:
    """Every table as its lines."""
    return [block.splitlines() for block in re.findall(r"(?:^\|.*\|$\n?)+", markdown, re.MULTILINE)]


def test_all_times_and_milestones_are_told() -> None:
    text = write_postmortem(facts())
    for told in (
        "MTTD (onset to opened) | 12 s",
        "MTTA (opened to acknowledged) | 28 s",
        "MTTC (onset to contained) | 1 min 35 s",
        "MTTR (onset to resolved) | 5 min 10 s",
        "Up to 33 % of users' requests failed",
        "5 alerts and 2 reports",
        "3f2a1bc09d77",
        "guards/checkout-a.yaml",
        "INC-7/A1",
        "| platform | 2026-11-26 | not yet |",
        "data:image/svg+xml",
    ):
        assert told in text, told
    for entry in timeline():
        assert entry.kind in text


def test_every_table_has_as_many_cells_in_each_row_as_in_its_head() -> None:
    found = tables(write_postmortem(facts()))
    assert len(found) >= 5
    for lines in found:
        cells = [len(re.split(r"(?<!\\)\|", line)) for line in lines]
        assert set(cells) == {cells[0]}, lines
        assert re.fullmatch(r"\|( --- \|)+", lines[1])


def test_the_drawn_milestones_keep_to_mermaids_syntax() -> None:
    text = write_postmortem(facts())
    (block,) = re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL)
    lines = block.splitlines()
    assert lines[1] == "gantt"
    for line in lines[6:]:
        milestone = r"        [^:;#,]+ :(crit, )?milestone, [0-9T:-]+, 0s"
        assert re.fullmatch(rf"    section \w+|{milestone}", line), line
    assert [line.split()[1] for line in lines[6:] if "section" in line] == ["Detect", "Respond", "Resolve"]


def test_markup_from_outside_stays_text() -> None:
    text = write_postmortem(facts())
    assert "<alone>" not in text and "&lt;alone&gt;" in text


def test_what_users_wrote_loads_nothing_from_elsewhere() -> None:
    """A report comes from anybody; Prefect's page would fetch a picture that stands in it."""
    text = write_postmortem(facts(quotes=("down ![x](https://elsewhere.example/p.png) <img src=x>",)))
    assert "Users wrote:" in text and "![x]" not in text and "<img" not in text


def test_nobody_is_blamed() -> None:
    text = write_postmortem(facts())
    assert find_blame(text) == ()
    assert not re.search(r"\b(fault|blame|mistake|careless|should have)\b", text)


def test_an_incident_without_a_fix_leaves_the_cause_as_an_action() -> None:
    actions = plan_actions(INCIDENT, [], "alice", date(2026, 11, 23))
    assert "Find and mend the cause" in actions[0].text and actions[0].due == date(2026, 12, 7)


def test_what_was_not_reached_is_said() -> None:
    unresolved = replace(INCIDENT, acknowledged_at=None, contained_at=None, resolved_at=None)
    text = write_postmortem(facts(incident=unresolved))
    assert text.count("not reached") == 3
