"""Causes: what the incidents of a week are put down to, by the record alone."""

from collections import defaultdict

from quell.incidents.change import ChangeKind
from quell.incidents.incident import Incident, incident_times
from quell.prevention.weekly.facts import Facts, behind_incident
from quell.prevention.weekly.figure import Unit, count_of, mean_of
from quell.prevention.weekly.section import Row, Section, slug, unique
from quell.prevention.weekly.times import seconds_of

NOT_KNOWN = "not known"
CONFIGURATION = "a change of configuration"
_OF_CHANGE = {
    ChangeKind.CONFIG: CONFIGURATION,
    ChangeKind.DEPLOY: "a deploy",
    ChangeKind.FLAG: "a feature flag",
    ChangeKind.OTHER: "another change",
}


def cause_of(incident: Incident, facts: Facts) -> str:
    """A fix that ended it says most, then the change that the first suspect is accused of, then what the suspect is."""
    change = facts.changes.get(incident.accused_change or "")
    if change is not None:
        return _OF_CHANGE[change.kind]
    if incident.id in facts.fixed:
        return CONFIGURATION
    if not incident.suspects:
        return NOT_KNOWN
    node = incident.suspects[0].node
    if facts.catalog.instance(node) is not None:
        return "one instance, no change known"
    if facts.catalog.service(node) is not None:
        return "the service, no change known" if node == incident.service else "a dependency, no change known"
    return "a client or its traffic"


def cause_section(facts: Facts) -> Section:
    groups: dict[str, list[Incident]] = defaultdict(list)
    for incident in facts.real:
        groups[cause_of(incident, facts)].append(incident)
    largest = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return Section(
        key="causes",
        title="Incidents by cause",
        columns=("incidents", "onset to resolution"),
        rows=unique(_row(cause, incidents, len(facts.real)) for cause, incidents in largest),
        empty="No incident was opened in this week.",
    )


def _row(cause: str, incidents: list[Incident], n: int) -> Row:
    key = f"causes/{slug(cause)}"
    resolved = [behind_incident(i, seconds_of(incident_times(i).to_resolve)) for i in incidents]
    waiting = sum(one.value is None for one in resolved)
    return Row(
        name=cause,
        cells=(
            count_of(key, f"incidents caused by {cause}", map(behind_incident, incidents), n=n),
            mean_of(f"{key}.mttr", f"onset to resolution, {cause}", Unit.SECONDS, resolved, waiting=waiting),
        ),
    )
