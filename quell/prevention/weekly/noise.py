"""Noise of a week: alerts for each incident, what was muted, what was dismissed, and the rules that make most of it."""

from collections.abc import Iterable
from dataclasses import dataclass

from quell.incidents.alert import Alert, AlertOutcome
from quell.incidents.incident import IncidentState
from quell.prevention.weekly.facts import Facts, behind_alert, behind_incident
from quell.prevention.weekly.figure import Behind, Unit, count_of, mean_of, share_of
from quell.prevention.weekly.section import SPREAD, Row, Section, slug, spread_row, unique

MOST_RULES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyRule:
    """A rule on whose alerts nobody acted, with the mildest change that would have spared most of them."""

    name: str
    service: str
    alerts: tuple[Alert, ...]
    cure: str


def noise_section(facts: Facts) -> Section:
    alerts, incidents = facts.alerts, facts.incidents
    muted, doubled = (
        [behind_alert(a) for a in alerts if a.outcome is outcome]
        for outcome in (AlertOutcome.MUTED, AlertOutcome.DUPLICATE)
    )
    counted = [behind_incident(i, float(i.tally.alerts)) for i in incidents if i.tally is not None]
    dismissed = [behind_incident(i) for i in incidents if i.state is IncidentState.DISMISSED]
    figures = (
        count_of("noise/alerts", "alerts", map(behind_alert, alerts), n=len(alerts)),
        mean_of("noise/alerts-per-incident", "alerts for each incident", Unit.PER_INCIDENT, counted),
        share_of("noise/muted", "alerts muted", muted, n=len(alerts)),
        share_of("noise/duplicates", "alerts that said again what was known", doubled, n=len(alerts)),
        share_of("noise/dismissed", "incidents dismissed as false", dismissed, n=len(incidents)),
    )
    return Section(
        key="noise",
        title="Noise",
        columns=SPREAD,
        rows=tuple(map(spread_row, figures)) if alerts or incidents else (),
        empty="No alert began in this week.",
        is_spread=True,
    )


def noisy_rules_section(rules: Iterable[NoisyRule]) -> Section:
    """The noisiest first, as they are given; over four weeks, because one says little about a rule."""
    return Section(
        key="noisy",
        title="Noisiest signals, with a proposed cure",
        columns=("alerts nobody acted on", "service", "cure"),
        rows=unique(_rule(rule) for rule in list(rules)[:MOST_RULES]),
        empty="No rule alerted three times or more in four weeks without anybody acting on it.",
        notes=("Over four weeks; `quell noise` looks further back.",),
    )


def _rule(rule: NoisyRule) -> Row:
    behind: list[Behind] = [behind_alert(alert) for alert in rule.alerts]
    name = f"alerts of {rule.name}{f' of {rule.service}' if rule.service else ''}"
    count = count_of(f"noisy/{slug(rule.name, rule.service)}", name, behind, n=len(behind))
    return Row(name=rule.name, cells=(count, rule.service, rule.cure))
