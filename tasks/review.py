"""Review: write the post-mortem from the record, keep it, publish it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.incidents.alert import Alert
from quell.incidents.incident import Incident, IncidentState, move_incident
from quell.incidents.report import Report
from quell.incidents.review import Review
from quell.incidents.timeline import TimelineEntry, event_of
from quell.ports import Transaction
from quell.prevention.blameless import Cast
from quell.prevention.draft import Facts, FirstAlert, draft_sections
from quell.prevention.postmortem import compose
from quell.prevention.review_plan import (
    authors_of,
    involved_teams,
    plan_actions,
    plan_assignees,
    plan_sign_offs,
    teams_of_people,
)
from quell.prevention.rewrite import rewrite
from tasks.artifacts import incident_link, publish
from tasks.postmortem_chart import Picture, draw_signal
from tasks.record import QUELL, get_incident
from tasks.resources import Resources, resources
from tasks.review_record import ask_teams, keep_review
from tasks.runs import tag_run

_ALERTS_READ = 500  # the first ones tell how it was detected
_REPORTS_READ = 20
_TOOK_PART = ("incident acknowledged", "decision approve", "decision refuse")


def write_review_of(res: Resources, incident_id: str) -> Review:
    """The incident's post-mortem, stored; RESOLVED becomes REVIEWED, and the teams are asked to sign.

    What people did to an earlier version stays, also what they do while this one is being written.
    """
    begun_at = res.clock()  # what changes while it is being written is taken up by the next round
    with res.store.reading() as tx:
        incident = get_incident(tx, incident_id)
        entries = tuple(tx.timeline.of(incident_id))
    picture = draw_signal(res, incident, entries)
    with res.store.reading() as tx:
        facts = gather_facts(tx, res, incident, entries, picture)
    drafted = _draft(res, facts, begun_at)
    with res.store.writing() as tx:  # nobody else writes meanwhile: only what must be one is in here
        incident, earlier = get_incident(tx, incident_id), tx.reviews.get(incident_id)
        if incident.state is IncidentState.CLOSED and earlier is not None:
            return earlier  # signed and closed: it is not rewritten behind anybody's back
        review = keep_review(tx, rewrite(earlier, drafted))
        _let_incident_follow(tx, incident, review, res.clock())
        # one that is written while the trouble goes on is a draft: nobody can sign it yet
        return review if incident.is_active else ask_teams(tx, review, res.clock())


def _let_incident_follow(tx: Transaction, incident: Incident, review: Review, now: datetime) -> None:
    if incident.state is not IncidentState.RESOLVED:
        return
    left, teams = len(review.open_actions), len(review.sign_offs)
    why = f"post-mortem written; {left} action items, {teams} teams sign off"
    moved, step = move_incident(incident, IncidentState.REVIEWED, now=now, by=QUELL, why=why)
    tx.incidents.put(moved)
    tx.timeline.append(event_of(step))


def _draft(res: Resources, facts: Facts, at: datetime) -> Review:
    incident = facts.incident
    assignees = plan_assignees(incident, facts.fixes, res.config.catalog)
    sections = tuple(replace(section, assignee=assignees.get(section.id, "")) for section in draft_sections(facts))
    drafted = Review(
        id=incident.id,
        title=f"{incident.id}: {incident.title}",
        markdown="",
        written_at=at,
        sign_offs=facts.sign_offs,
        action_items=facts.action_items,
        sections=sections,
        reopened=incident.reopened,
    )
    return replace(drafted, markdown=compose(drafted))


def gather_facts(
    tx: Transaction, res: Resources, incident: Incident, entries: tuple[TimelineEntry, ...], picture: Picture
) -> Facts:
    """Everything that the record holds about the incident."""
    where = {"incident": incident.id}
    mitigations, fixes = tuple(tx.mitigations.find(where)), tuple(tx.fixes.find(where))
    changes = tuple(change for id in incident.changes if (change := tx.changes.get(id)) is not None)
    alerts = tx.alerts.find(where, order="starts_at", limit=_ALERTS_READ)
    reports = tx.reports.find(where, order="at", limit=_REPORTS_READ)
    catalog, today = res.config.catalog, res.clock().date()
    suspects = [i.service if (i := catalog.instance(s.node)) else s.node for s in incident.suspects[:1]]
    services = [incident.service, *suspects, *(m.service for m in mitigations), *(f.service for f in fixes)]
    took_part = [*_took_part(entries), *authors_of(c for c in changes if c.id == incident.accused_change)]
    teams = (*involved_teams(catalog, services), *teams_of_people(res.config.people, took_part))
    service = catalog.service(incident.service)
    owner = (service.owner or service.team) if service else "nobody yet"
    return Facts(
        incident=incident,
        entries=entries,
        mitigations=mitigations,
        fixes=fixes,
        changes=changes,
        alerts=tx.alerts.count(where),
        reports=tx.reports.count(where),
        sign_offs=plan_sign_offs(incident, tuple(dict.fromkeys(teams)), today),
        action_items=plan_actions(incident, fixes, owner, today),
        impact=picture.impact,
        chart=picture.chart,
        thresholds=tuple(tx.thresholds.find(where)),
        first_alerts=_first_alerts(alerts),
        first_report_at=reports[0].at if reports else None,
        quotes=_quotes(reports),
        cast=Cast(people=res.config.people, programs=frozenset(res.config.sources or ())),
    )


def _took_part(entries: Sequence[TimelineEntry]) -> list[str]:
    """Who looked after it or decided on it; whoever only wrote a comment is not asked to sign."""
    return [entry.by for entry in entries if entry.kind in _TOOK_PART]


def _first_alerts(alerts: Sequence[Alert]) -> tuple[FirstAlert, ...]:
    """The first of each name, in the order in which they came; users' reports are told elsewhere."""
    told = [alert for alert in alerts if alert.source != "report"]
    counts = Counter(alert.name for alert in told)
    first = {alert.name: alert for alert in reversed(told)}
    found = [FirstAlert(name=n, source=a.source, at=a.starts_at, count=counts[n]) for n, a in first.items()]
    return tuple(sorted(found, key=lambda alert: alert.at))


def _quotes(reports: Sequence[Report]) -> tuple[str, ...]:
    """What users wrote, without who they are; those that repeat another one are left out."""
    return tuple(report.text for report in reports if report.part_of is None and report.text.strip())


@task(name="write the post-mortem", task_run_name="write the post-mortem of {incident}", cache_policy=NO_CACHE)
def write_review(incident: str) -> None:
    """Write, store and publish the post-mortem."""
    res = resources()
    review = write_review_of(res, incident)
    with res.store.reading() as tx:
        record = get_incident(tx, incident)
    tag_run(record.id, record.service, record.severity, "prevention")
    link = incident_link(res.config, incident)
    publish(f"postmortem {incident}", f"{link}\n\n{review.markdown}", f"Post-mortem of {incident}")
