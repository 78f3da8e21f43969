"""An incident: its states, what moves it, and the times that are measured on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from quell.incidents.labels import Labels
from quell.incidents.lifecycle import Move, check_transition
from quell.incidents.search import searchable
from quell.incidents.suspect import Suspect
from quell.incidents.tally import Tally

IncidentId = NewType("IncidentId", str)
MOST_KEYWORDS = 60
LONGEST_KEYWORD = 80


class IncidentState(StrEnum):
    OPEN = "open"
    TRIAGED = "triaged"
    MITIGATING = "mitigating"
    CONTAINED = "contained"
    RESOLVING = "resolving"
    RESOLVED = "resolved"
    REVIEWED = "reviewed"
    CLOSED = "closed"
    DISMISSED = "dismissed"
    MERGED = "merged"  # into another incident, which `merged_into` names


class Severity(StrEnum):
    CRITICAL = "critical"
    MAJOR = "major"
    MINOR = "minor"

    @property
    def rank(self) -> int:
        """0 is the worst."""
        return list(Severity).index(self)


_S = IncidentState
INCIDENT_TRANSITIONS: Mapping[IncidentState, frozenset[IncidentState]] = {
    _S.OPEN: frozenset({_S.TRIAGED, _S.RESOLVED, _S.DISMISSED, _S.MERGED}),
    _S.TRIAGED: frozenset({_S.MITIGATING, _S.CONTAINED, _S.RESOLVING, _S.RESOLVED, _S.DISMISSED, _S.MERGED}),
    # back to triaged: the mitigation was refused, expired, undone or did not help
    _S.MITIGATING: frozenset({_S.TRIAGED, _S.CONTAINED, _S.RESOLVED}),
    # back to triaged: the containment was released before the cause was mended, and the trouble is back
    _S.CONTAINED: frozenset({_S.TRIAGED, _S.MITIGATING, _S.RESOLVING, _S.RESOLVED, _S.DISMISSED, _S.MERGED}),
    _S.RESOLVING: frozenset({_S.CONTAINED, _S.TRIAGED, _S.RESOLVED}),
    _S.RESOLVED: frozenset({_S.OPEN, _S.REVIEWED}),  # open: the trouble came back inside the reopen window
    _S.REVIEWED: frozenset({_S.CLOSED, _S.OPEN}),
    _S.CLOSED: frozenset(),
    _S.DISMISSED: frozenset({_S.OPEN}),
    _S.MERGED: frozenset(),  # its alerts live on in the other; a person may split them off again
}
ACTIVE_STATES = frozenset({_S.OPEN, _S.TRIAGED, _S.MITIGATING, _S.CONTAINED, _S.RESOLVING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One trouble, however many alerts tell of it. `onset_at` is the earliest evidence, not when we heard of it."""

    id: IncidentId
    state: IncidentState
    severity: Severity
    title: str
    service: str
    onset_at: datetime
    opened_at: datetime
    updated_at: datetime
    opened_because: str
    opened_by: str  # the source of the first alert: sweep, alertmanager, report, api
    suspects: tuple[Suspect, ...] = ()
    changes: tuple[str, ...] = ()
    acknowledged_at: datetime | None = None
    contained_at: datetime | None = None
    resolved_at: datetime | None = None
    reopened: int = 0
    calm_at: datetime | None = None  # when it was over, of one that came back; None while the first trouble lasts
    back_at: datetime | None = None  # the earliest evidence of the trouble that came back
    flow_runs: Mapping[str, str] = field(default_factory=dict[str, str])  # "mitigate MIT-1" -> Prefect flow run id
    impact: str = ""  # who is affected, in users' terms, and why the severity is what it is
    worst_severity: Severity | None = None  # the worst it ever was; None where that is the present one
    eases_since: datetime | None = None  # since when less trouble is seen than the severity says
    merged_into: str | None = None
    kept_apart: tuple[str, ...] = ()  # incidents that a person split from this one: Quell does not merge them again
    tally: Tally | None = None  # None until triage has counted
    due_at: datetime | None = None  # the next moment at which the clock decides on it
    keywords: tuple[str, ...] = ()  # values of its alerts' labels, by which people find it

    @property
    def accused_change(self) -> str | None:
        """The change that the first suspect is accused of; a change that is merely near in time is not the cause."""
        return self.suspects[0].change if self.suspects else None

    @property
    def trouble_at(self) -> datetime:
        """Since when the present trouble lasts: from here on it is measured, and changes and suspects are sought."""
        return self.back_at or self.onset_at

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE_STATES

    @property
    def search(self) -> str:
        """What people find it by: id, title, service, suspects, and the labels of its alerts."""
        return searchable(self.id, self.title, self.service, *(s.node for s in self.suspects), *self.keywords)


def remember_keywords(incident: Incident, labels: Labels) -> Incident:
    """The incident with the values of an alert's labels among its keywords, as long as there is room."""
    known = dict.fromkeys(incident.keywords)
    if len(known) >= MOST_KEYWORDS or known.keys() >= set(labels.values()):
        return incident
    known.update(dict.fromkeys(value[:LONGEST_KEYWORD] for _, value in sorted(labels.items())))
    return replace(incident, keywords=tuple(known)[:MOST_KEYWORDS])


def move_incident(
    incident: Incident,
    to: IncidentState,
    *,
    now: datetime,
    by: str,
    why: str,
    evidence: Mapping[str, str] | None = None,
) -> tuple[Incident, Move]:
    """The incident in its new state, and the entry for its timeline. Raises InvalidTransition."""
    check_transition(f"incident {incident.id}", INCIDENT_TRANSITIONS, incident.state, to)
    move = Move(
        subject=incident.id,
        incident=incident.id,
        at=now,
        by=by,
        why=why,
        from_state=incident.state,
        to_state=to,
        evidence=evidence or {},
    )
    changed = replace(incident, state=to, updated_at=now, due_at=now)  # triage looks whether the clock has to act
    if to is IncidentState.CONTAINED and incident.contained_at is None:
        changed = replace(changed, contained_at=now)
    if to is IncidentState.RESOLVED:
        changed = replace(changed, resolved_at=now, contained_at=incident.contained_at or now)
    if to is IncidentState.OPEN:
        changed = replace(changed, resolved_at=None, contained_at=None, reopened=incident.reopened + 1)
    return changed, move


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentTimes:
    """The four times that analysts ask for; None while the milestone is not reached.

    MTTD onset to opened, MTTA opened to acknowledged, MTTC onset to contained, MTTR onset to resolved.
    """

    to_detect: timedelta
    to_acknowledge: timedelta | None
    to_contain: timedelta | None
    to_resolve: timedelta | None


def incident_times(incident: Incident) -> IncidentTimes:
    """Measure one incident; every time starts at the onset except acknowledgement, which starts at opening."""

    def since(start: datetime, end: datetime | None) -> timedelta | None:
        return None if end is None else max(end - start, timedelta(0))

    return IncidentTimes(
        to_detect=max(incident.opened_at - incident.onset_at, timedelta(0)),
        to_acknowledge=since(incident.opened_at, incident.acknowledged_at),
        to_contain=since(incident.onset_at, incident.contained_at),
        to_resolve=since(incident.onset_at, incident.resolved_at),
    )
