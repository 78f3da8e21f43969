"""The weekly report at work: reads what it is computed from, a few weeks at most, and publishes it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.incidents.alert import Alert, AlertOutcome
from quell.incidents.anomaly import AnomalyLabel
from quell.incidents.change import Change
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.mitigation import Mitigation
from quell.ports import Transaction
from quell.prevention.care import QUARTER
from quell.prevention.weekly.facts import Facts
from quell.prevention.weekly.figure import Figure
from quell.prevention.weekly.markdown import write_markdown
from quell.prevention.weekly.noise import NoisyRule
from quell.prevention.weekly.overdue import Overdue, find_overdue
from quell.prevention.weekly.report import Background, make_report
from quell.prevention.weekly.section import WeeklyReport
from quell.prevention.weekly.signals import Evidence
from quell.prevention.weekly.week import Week, parse_week, week_of
from quell.response.cost import read_cost
from quell.triage.noise import rate_rules
from tasks.artifacts import publish
from tasks.drill import find_drills
from tasks.guard_standing import standings_of
from tasks.limit_changes import limit_changes
from tasks.lookup import find_all
from tasks.noise import what_followed
from tasks.playbook_care import care_for, note_playbooks
from tasks.resources import Resources, resources
from tasks.run_health import keep_run_health, run_health
from tasks.safeguards import COST

FOUR_WEEKS = timedelta(weeks=4)
TREND_WEEKS = 8
_MOST_REVIEWS = 500
_HEARD = frozenset({AlertOutcome.OPENED, AlertOutcome.JOINED, AlertOutcome.WAITING})


def chosen_week(res: Resources, text: str | None = None) -> Week:
    """The named week; without a name the last that is over, or the present one where nothing is on record before it."""
    if text:
        return parse_week(text)
    this = week_of(res.clock())
    with res.store.reading() as tx:
        is_older = tx.incidents.count(before=("opened_at", this.before.last), at_most=1)
    return this.before if is_older else this


def weekly_report(res: Resources, week: Week, *, live: bool = False) -> WeeklyReport:
    """The report of a week as the record has it now; `live` asks the levers whether playbooks still work."""
    now, runs, before = res.clock(), run_health(res, week), run_health(res, week.before)
    cares = tuple(care_for(res, live=live))
    with res.store.reading() as tx:
        incidents = _incidents(tx, week)
        alerts = tx.alerts.find(after=("starts_at", week.end - FOUR_WEEKS), before=("starts_at", week.last))
        mitigations = tx.mitigations.find(
            after=("created_at", week.end - QUARTER),
            before=("created_at", week.last),
            order="created_at",
            descending=True,
        )
        refused = _wrongly_refused(tx, week)
        background = Background(
            noisy=_noisy(tx, alerts, week.end - FOUR_WEEKS),
            limits=limit_changes(tx, week, now, alerts),
            evidence=_evidence(res, tx, week, [i for i in incidents if i.opened_at >= week.end - FOUR_WEEKS], alerts),
            weeks=_weeks(week, now, incidents),
            mitigations=tuple(mitigations),
            wrongly_refused=refused,
            cares=cares,
            drills=tuple(drill for drill in find_drills(tx) if week.contains(drill.began_at)),
            overdue=_overdue(tx, now),
            runs=runs,
            runs_before=before,
            record_since=_record_since(tx),
        )
        facts, then = (
            _facts(res, tx, one, now, incidents, alerts, mitigations, refused) for one in (week, week.before)
        )
    return make_report(facts, then, background)


def report_on(res: Resources, week: str) -> WeeklyReport:
    """The report of the named week, for the page; without a name, of the week that it would choose."""
    return weekly_report(res, chosen_week(res, week))


def _incidents(tx: Transaction, week: Week) -> list[Incident]:
    """Those of all weeks that the trend shows."""
    since = week.end - timedelta(weeks=TREND_WEEKS)
    found = tx.incidents.find(after=("opened_at", since), before=("opened_at", week.last), order="opened_at")
    return [incident for incident in found if incident.state is not IncidentState.MERGED]


def _facts(
    res: Resources,
    tx: Transaction,
    week: Week,
    now: datetime,
    incidents: Iterable[Incident],
    alerts: Iterable[Alert],
    mitigations: Iterable[Mitigation],
    refused: Mapping[str, int],
) -> Facts:
    own = tuple(i for i in incidents if week.contains(i.opened_at))
    planned = tuple(m for m in mitigations if week.contains(m.created_at))
    proposed = tx.thresholds.find(after=("updated_at", week.start))  # what was created later moved later
    proposals = tuple(version for version in proposed if week.contains(version.created_at))
    fixes = tuple(find_all(tx.fixes, "incident", (i.id for i in own)))
    asked = [record.id for record in (*planned, *fixes, *proposals)]
    return Facts(
        week=week,
        now=now,
        incidents=own,
        alerts=tuple(a for a in alerts if week.contains(a.starts_at)),
        mitigations=planned,
        proposals=proposals,
        decisions=tuple(find_all(tx.decisions, "subject", asked)),
        changes=_changes(tx, own),
        fixes=fixes,
        wrongly_refused={m.id: refused[m.id] for m in planned if m.id in refused},
        catalog=res.config.catalog,
    )


def _weeks(week: Week, now: datetime, incidents: Iterable[Incident]) -> tuple[Facts, ...]:
    """The incidents of the last weeks, the oldest first."""
    weeks = [Week(week.start - timedelta(weeks=back)) for back in reversed(range(TREND_WEEKS))]
    known = list(incidents)
    return tuple(
        Facts(week=one, now=now, incidents=tuple(i for i in known if one.contains(i.opened_at))) for one in weeks
    )


def _changes(tx: Transaction, incidents: Iterable[Incident]) -> Mapping[str, Change]:
    accused = [change for i in incidents if (change := i.accused_change)]
    return {change.id: change for change in find_all(tx.changes, "id", accused)}


def _wrongly_refused(tx: Transaction, week: Week) -> Mapping[str, int]:
    """Of the safeguards that were measured since the quarter began."""
    costs = tx.documents.find({"kind": COST}, after=("updated_at", week.end - QUARTER))
    return {cost.id.removeprefix(f"{COST} "): read_cost(cost.body).wrong for cost in costs}


def _noisy(tx: Transaction, alerts: list[Alert], since: datetime) -> tuple[NoisyRule, ...]:
    """The rules that `quell noise` would name for these weeks, with their alerts."""
    by_rule: dict[tuple[str, str], list[Alert]] = defaultdict(list)
    for alert in alerts:
        if alert.outcome in _HEARD:
            by_rule[alert.name, alert.service or ""].append(alert)
    return tuple(
        NoisyRule(
            name=rule.alertname,
            service=rule.service,
            alerts=tuple(by_rule[rule.alertname, rule.service]),
            cure=rule.cure,
        )
        for rule in rate_rules(alerts, what_followed(tx, alerts, since))
        if rule.is_noise
    )


def _evidence(
    res: Resources, tx: Transaction, week: Week, incidents: Iterable[Incident], alerts: Iterable[Alert]
) -> Evidence:
    labelled = tx.anomalies.find(
        {"label": tuple(AnomalyLabel)}, after=("last_at", week.end - FOUR_WEEKS), before=("last_at", week.last)
    )
    signals = {signal.name: signal.service for signal in res.config.signals.values()}
    return Evidence(incidents=tuple(incidents), alerts=tuple(alerts), anomalies=tuple(labelled), signals=signals)


def _overdue(tx: Transaction, now: datetime) -> tuple[Overdue, ...]:
    """Of post-mortems that wait for signatures, the oldest first, and of incidents closed within the quarter."""
    unsigned = tx.incidents.find({"state": IncidentState.REVIEWED}, order="updated_at", limit=_MOST_REVIEWS)
    closed = tx.incidents.find(
        {"state": IncidentState.CLOSED},
        after=("updated_at", now - QUARTER),
        order="updated_at",
        descending=True,
        limit=_MOST_REVIEWS,
    )
    reviews = find_all(tx.reviews, "id", (i.id for i in (*unsigned, *closed)))
    return find_overdue(reviews, now.date(), standings_of(tx, [i.id for i in unsigned]))


def _record_since(tx: Transaction) -> datetime | None:
    first = tx.incidents.find(order="opened_at", limit=1)
    return first[0].opened_at if first else None


def link_of(res: Resources, week: Week) -> Callable[[Figure], str]:
    """Where a figure's incidents and flow runs are listed."""
    page = f"{res.config.gateway_url}/weekly/{week.name}"
    return lambda figure: f"{page}/{figure.key}" if figure.behind else ""


@task(name="report on the week", task_run_name="report on {week}", cache_policy=NO_CACHE)
def publish_weekly(week: str | None) -> str:
    """Compute, keep what Prefect will forget, and publish. Returns the sentence with which the flow ends."""
    res = resources()
    chosen = chosen_week(res, week)
    note_playbooks(res)
    for one in (chosen.before, chosen):
        keep_run_health(res, one)
    report = weekly_report(res, chosen, live=True)
    link = link_of(res, chosen)
    head = f"[This week on its page]({res.config.gateway_url}/weekly/{chosen.name})"
    publish("weekly-report", f"{head}\n\n{write_markdown(report, link)}", f"Week {chosen.name}: {chosen.days}")
    return f"{chosen.name}: {len(report.sections)} sections, {sum(1 for _ in report.figures)} figures"
