"""Quiet: when an incident is over by itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.incidents.incident import Incident, IncidentState
from quell.incidents.mitigation import PENDING_STATES, Mitigation
from quell.incidents.tally import Tally

QUIET_TIME = timedelta(minutes=2)
_MAY_END = frozenset({IncidentState.OPEN, IncidentState.TRIAGED, IncidentState.CONTAINED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    is_over: bool
    reason: str


def judge_quiet(
    incident: Incident, mitigations: Iterable[Mitigation], *, now: datetime, quiet: timedelta = QUIET_TIME
) -> Ending:
    """Whether the incident may be resolved because nothing speaks of it any more.

    Not while a mitigation holds or waits (isolation silences the very alert that led to it), and not where the first
    suspect is accused of a change: then the cause is still there and the resolve flow has to remove it.
    """
    if incident.state not in _MAY_END:
        return Ending(is_over=False, reason=f"it is {incident.state}: somebody works on it")
    holding = next((m for m in mitigations if m.is_holding or m.state in PENDING_STATES), None)
    if holding:
        return Ending(is_over=False, reason=f"{holding.id} is {holding.state}: silence proves nothing")
    if incident.accused_change:
        return Ending(
            is_over=False, reason=f"change {incident.accused_change} is accused: the cause may still be there"
        )
    tally = incident.tally or Tally()
    if tally.firing:
        return Ending(is_over=False, reason=f"{tally.firing} of its {tally.alerts} alerts still fire")
    last = tally.last_end_at or incident.updated_at
    if now - last < quiet:
        return Ending(is_over=False, reason=f"the last alert ended {(now - last).total_seconds():.0f} s ago")
    return Ending(is_over=True, reason=f"all {tally.alerts} alerts have been resolved for {_span(quiet)}")


def _span(time: timedelta) -> str:
    seconds = time.total_seconds()
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:g} min"
