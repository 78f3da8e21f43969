"""The times of a week's incidents: to detection, acknowledgement, containment and resolution."""

from collections.abc import Callable
from datetime import timedelta

from quell.incidents.incident import Incident, IncidentTimes, incident_times
from quell.prevention.weekly.facts import Facts, behind_incident
from quell.prevention.weekly.figure import Figure, Unit, mean_of
from quell.prevention.weekly.section import SPREAD, Section, spread_row

_MILESTONES: tuple[tuple[str, str, Callable[[IncidentTimes], timedelta | None]], ...] = (
    ("mttd", "MTTD, onset to detection", lambda times: times.to_detect),
    ("mtta", "MTTA, opening to acknowledgement", lambda times: times.to_acknowledge),
    ("mttc", "MTTC, onset to containment", lambda times: times.to_contain),
    ("mttr", "MTTR, onset to resolution", lambda times: times.to_resolve),
)


def times_section(facts: Facts) -> Section:
    """Over the incidents opened in the week, without dismissed ones; what has not got that far yet is counted apart."""
    return Section(
        key="times",
        title="Times",
        columns=SPREAD,
        rows=tuple(spread_row(_time(facts, *milestone)) for milestone in _MILESTONES) if facts.real else (),
        empty="No incident was opened in this week, so there is nothing to measure (n = 0).",
        notes=("An incident that was resolved without a containment counts as contained when it was resolved.",)
        if facts.real
        else (),
        is_spread=True,
    )


def seconds_of(time: timedelta | None) -> float | None:
    return None if time is None else time.total_seconds()


def _time(facts: Facts, key: str, name: str, take: Callable[[IncidentTimes], timedelta | None]) -> Figure:
    def taken(incident: Incident) -> float | None:
        return seconds_of(take(incident_times(incident)))

    measured = [behind_incident(incident, taken(incident)) for incident in facts.real]
    waiting = sum(one.value is None for one in measured)
    return mean_of(f"times/{key}", name, Unit.SECONDS, measured, waiting=waiting)
