"""What a review asks for: which teams sign, who looks after which section, and what is left to do."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta

from quell.incidents.change import Change
from quell.incidents.decision import Person
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import Incident, Severity, incident_times
from quell.incidents.review import ActionItem, SignOff
from quell.incidents.service import Catalog
from quell.prevention.span import format_span

REVIEW_DAYS: Mapping[Severity, int] = {Severity.CRITICAL: 3, Severity.MAJOR: 5, Severity.MINOR: 10}
_ACTION_DAYS = 14
_SLOW_TO_DETECT = timedelta(minutes=2)


def involved_teams(catalog: Catalog, facts_services: Sequence[str]) -> tuple[str, ...]:
    """The teams of the services involved, each once, in order."""
    services = [catalog.service(name) for name in facts_services]
    return tuple(dict.fromkeys(service.team for service in services if service))


def teams_of_people(people: Mapping[str, Person], names: Iterable[str]) -> tuple[str, ...]:
    """The teams of those who took part: by login, full name or e-mail address, as changes and the timeline name them.

    >>> bob = Person(name="bob", full_name="Bob Tanaka", team="platform", roles=(), email="bob@shop.example")
    >>> teams_of_people({"bob": bob}, ["quell", "Bob Tanaka <bob@shop.example>", "bob"])
    ('platform',)
    """
    known = {key.lower(): p for p in people.values() for key in (p.name, p.full_name, p.email) if key}
    found: list[str] = []
    for name in names:
        written, _, address = name.lower().partition("<")
        person = known.get(name.lower()) or known.get(address.rstrip("> ")) or known.get(written.strip())
        if person is not None:
            found.append(person.team)
    return tuple(dict.fromkeys(found))


def authors_of(changes: Iterable[Change]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(change.author for change in changes if change.author))


def plan_sign_offs(incident: Incident, teams: Sequence[str], today: date) -> tuple[SignOff, ...]:
    """One sign-off per team; the worse the incident, the sooner."""
    worst = min(incident.severity, incident.worst_severity or incident.severity, key=lambda severity: severity.rank)
    return tuple(SignOff(team=team, due=today + timedelta(days=REVIEW_DAYS[worst])) for team in teams)


def plan_assignees(incident: Incident, fixes: Sequence[Fix], catalog: Catalog) -> Mapping[str, str]:
    """Section -> the team that knows most of it: the cause belongs to whoever runs what was mended or suspected."""
    own = _team(catalog, incident.service)
    suspects = [instance.service if (instance := catalog.instance(s.node)) else s.node for s in incident.suspects[:1]]
    cause = next((team for name in [*(f.service for f in fixes), *suspects] if (team := _team(catalog, name))), own)
    return {"impact": own, "detection": own, "helped": own, "cause": cause, "guards": cause, "lessons": own}


def _team(catalog: Catalog, service: str) -> str:
    known = catalog.service(service)
    return known.team if known else ""


def plan_actions(incident: Incident, fixes: Sequence[Fix], owner: str, today: date) -> tuple[ActionItem, ...]:
    """What is left to do, from what the record shows to be missing."""
    promoted = [fix for fix in fixes if fix.state is FixState.PROMOTED]
    texts: list[str] = []
    for fix in promoted:
        if fix.guard:
            texts.append(f"Run `quell guard` with {fix.guard} in the pipeline that deploys {fix.file}")
        else:
            texts.append(f"Write a guard for {fix.file}: none could be derived from the change")
    if not promoted:
        texts.append("Find and mend the cause: no fix has been promoted")
    texts.append("Review the limits that were recomputed after this incident, and promote or decline them")
    times = incident_times(incident)
    if times.to_detect > _SLOW_TO_DETECT:
        texts.append(f"Detect it earlier: it went unnoticed for {format_span(times.to_detect)}")
    due = today + timedelta(days=_ACTION_DAYS)
    return tuple(
        ActionItem(id=f"{incident.id}/A{number}", text=text, owner=owner, due=due, planned=text)
        for number, text in enumerate(texts, start=1)
    )
