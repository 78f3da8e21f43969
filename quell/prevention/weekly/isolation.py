"""Isolations and safeguards of a week: how many hit something healthy, and what that cost."""

from collections.abc import Iterable

from quell.incidents.mitigation import Mitigation
from quell.incidents.outcome import capacity_taken, is_false_isolation
from quell.prevention.weekly.facts import Facts, behind_mitigation
from quell.prevention.weekly.figure import Behind, Unit, share_of, sum_of
from quell.prevention.weekly.section import SPREAD, Section, spread_row


def isolation_section(facts: Facts) -> Section:
    """False isolations are those that recovery judged so; their cost is capacity, as time of the whole service."""
    took = [m for m in facts.mitigations if m.applied_at is not None and m.plan.blast_radius.capacity_share > 0]
    false = [m for m in took if is_false_isolation(m)]
    measured = [m for m in facts.mitigations if m.id in facts.wrongly_refused]
    refused = [behind_mitigation(m, float(facts.wrongly_refused[m.id])) for m in measured]
    figures = (
        share_of("isolations/false", "false isolations", map(behind_mitigation, false), n=len(took)),
        sum_of("isolations/false-cost", "capacity lost to them", Unit.CAPACITY, _taken(false, facts), n=len(took)),
        sum_of("isolations/cost", "capacity taken by all", Unit.CAPACITY, _taken(took, facts), n=len(took)),
        sum_of("isolations/refused", "requests wrongly refused", Unit.COUNT, refused, n=len(measured)),
    )
    return Section(
        key="isolations",
        title="False isolations and their cost",
        columns=SPREAD,
        rows=tuple(map(spread_row, figures)) if took or measured else (),
        empty="Nothing was isolated and no safeguard was on in this week.",
        notes=("Capacity is time of the whole service: a third of it for 30 s is 10 s.",) if took else (),
        is_spread=True,
    )


def _taken(mitigations: Iterable[Mitigation], facts: Facts) -> list[Behind]:
    return [behind_mitigation(m, capacity_taken(m, facts.now).total_seconds()) for m in mitigations]
