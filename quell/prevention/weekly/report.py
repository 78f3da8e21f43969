"""The weekly report, put together from its sections."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from quell.incidents.drill import Drill
from quell.incidents.mitigation import Mitigation
from quell.prevention.care import Care
from quell.prevention.weekly.approvals import approvals_section
from quell.prevention.weekly.cause import cause_section
from quell.prevention.weekly.drills import drills_section
from quell.prevention.weekly.facts import Facts
from quell.prevention.weekly.isolation import isolation_section
from quell.prevention.weekly.lessons import lessons_section
from quell.prevention.weekly.limits import LimitChange, limits_section
from quell.prevention.weekly.noise import NoisyRule, noise_section, noisy_rules_section
from quell.prevention.weekly.overdue import Overdue, overdue_section
from quell.prevention.weekly.runs import RunHealth, runs_section
from quell.prevention.weekly.section import WeeklyReport, beside
from quell.prevention.weekly.signals import Evidence, signals_section
from quell.prevention.weekly.times import times_section
from quell.prevention.weekly.trend import trend_section
from quell.prevention.weekly.upkeep import upkeep_section
from quell.prevention.weekly.week import Week

NOT_OVER = "The week is not over: the report says how it stands now."


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What is looked at beyond the week: eight for the trend, four for signals and rules, a quarter for playbooks."""

    weeks: tuple[Facts, ...] = ()  # the incidents of the last weeks, the oldest first
    noisy: tuple[NoisyRule, ...] = ()
    limits: tuple[LimitChange, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)
    mitigations: tuple[Mitigation, ...] = ()  # of the last quarter, the newest first
    wrongly_refused: Mapping[str, int] = field(default_factory=dict[str, int])
    cares: tuple[Care, ...] = ()
    drills: tuple[Drill, ...] = ()  # of the week
    overdue: tuple[Overdue, ...] = ()
    runs: RunHealth = field(default_factory=RunHealth)
    runs_before: RunHealth = field(default_factory=RunHealth)
    record_since: datetime | None = None  # when the first incident was opened; None: there is none


def make_report(facts: Facts, before: Facts, background: Background) -> WeeklyReport:
    """Sections of the week stand beside the week before; a number without data is None, in both."""
    given = background
    compared = [
        beside(section(facts), section(before))
        for section in (times_section, cause_section, noise_section, isolation_section, approvals_section)
    ]
    times, causes, noise, isolations, approvals = compared
    sections = (
        times,
        trend_section(given.weeks),
        causes,
        noise,
        noisy_rules_section(given.noisy),
        signals_section(given.evidence),
        isolations,
        approvals,
        lessons_section(given.mitigations, facts.now, given.wrongly_refused),
        upkeep_section(given.cares),
        drills_section(given.drills),
        limits_section(given.limits),
        overdue_section(given.overdue, facts.now.date()),
        beside(runs_section(given.runs), runs_section(given.runs_before)),
    )
    return WeeklyReport(
        week=facts.week, made_at=facts.now, sections=sections, notes=_notes(facts.week, facts.now, given.record_since)
    )


def _notes(week: Week, now: datetime, since: datetime | None) -> tuple[str, ...]:
    notes = [] if week.is_over(now) else [NOT_OVER]
    if since is None:
        notes.append("No incident is on record yet: what is missing below was not measured.")
    elif since > week.start:
        notes.append(f"The record begins on {since:%Y-%m-%d}: of the time before nothing is known.")
    return tuple(notes)
