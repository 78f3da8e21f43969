"""Bridging: incidents that news connected become one, so that the order of arrival does not decide the grouping."""

from collections.abc import Iterable
from dataclasses import replace

from quell.config.config import Config
from quell.incidents.incident import Incident
from quell.ports import Transaction
from quell.triage.placement import hull
from quell.triage.regroup import unite
from tasks.assessment import BY, Assessment
from tasks.ground import Case, Ground
from tasks.merging import absorb


def join_related(
    tx: Transaction, ground: Ground, assessment: Assessment, touched: Iterable[Case], config: Config
) -> list[Case]:
    """Merge what belongs together now with each incident that has grown; returns those that took others up."""
    grown: list[Case] = []
    todo = [case for case in touched if case.has_grown]
    while todo:
        case = todo.pop()
        while case.incident.is_active and (found := _find(tx, ground, case, config)) is not None:
            into, other, words = found
            why = f"they turned out to be one: {words}"
            absorb(tx, ground, assessment, into, other, by=BY, why=why, now=assessment.now)
            case = into
            grown.append(into)
        case.has_grown = False
    return grown


def _find(tx: Transaction, ground: Ground, case: Case, config: Config) -> tuple[Case, Case, str] | None:
    keys = ground.related_keys(case)
    window, now = config.grouping.window, ground.now
    start, end = hull(case.incident, now)
    for other in ground.active_at(keys):
        first, last = hull(other.incident, now)
        if other.incident.id == case.incident.id or first - window > end or start > last + window:
            continue
        union = unite(case.incident, other.incident, worked_on=_worked_on(tx, case.incident, other.incident))
        if union is None:
            continue
        into, gone = (case, other) if union.into.id == case.incident.id else (other, case)
        return into, gone, _words(ground, case, other)
    return None


def _worked_on(tx: Transaction, *incidents: Incident) -> set[str]:
    """Those with a mitigation of their own, or that a person looks after."""
    return {i.id for i in incidents if i.acknowledged_at is not None or tx.mitigations.count({"incident": i.id})}


def _words(ground: Ground, one: Case, other: Case) -> str:
    links = [
        link
        for service in one.services
        for name in other.services
        if (link := ground.kinship.related(service).get(f"service:{name}")) is not None
    ]
    return min(links, key=lambda link: link.hops).words if links else "they share an alert, an instance or a change"


def note_split(one: Case, other: Case) -> None:
    """Remember that a person set them apart."""
    one.incident = replace(one.incident, kept_apart=(*one.incident.kept_apart, other.incident.id))
    other.incident = replace(other.incident, kept_apart=(*other.incident.kept_apart, one.incident.id))
