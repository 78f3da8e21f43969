"""Approvals of a week: what was asked of people, what they answered, and how long that took."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from quell.incidents.decision import Answer, Decision
from quell.incidents.fix import FixState
from quell.incidents.mitigation import Mitigation, MitigationState
from quell.incidents.threshold import ThresholdState
from quell.prevention.weekly.facts import Facts, runs_of
from quell.prevention.weekly.figure import Behind, BehindKind, Unit, count_of, mean_of, share_of
from quell.prevention.weekly.section import SPREAD, Section, spread_row

_OPEN_LIMITS = (ThresholdState.PROPOSED, ThresholdState.SHADOW)
APPROVED, REFUSED, EXPIRED, WAITING = "approved", "refused", "expired", "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One plan that needed a person. `answered_at` is when enough had agreed, or the first refused."""

    id: str
    incident: str | None
    run: str | None
    asked_at: datetime
    answer: str
    answered_at: datetime | None = None
    channel: str = ""  # of the last word: prefect, page, cli, api

    @property
    def delay_seconds(self) -> float | None:
        return None if self.answered_at is None else max((self.answered_at - self.asked_at).total_seconds(), 0.0)

    def behind(self, value: float | None = None) -> Behind:
        runs = runs_of(self.run)
        return Behind(kind=BehindKind.MITIGATION, id=self.id, value=value, incident=self.incident, runs=runs)


def questions_of(mitigations: Iterable[Mitigation], decisions: Iterable[Decision]) -> tuple[Question, ...]:
    """Those of the mitigations that waited for a person."""
    said: dict[str, list[Decision]] = {}
    for decision in sorted(decisions, key=lambda decision: decision.at):
        said.setdefault(decision.subject, []).append(decision)
    return tuple(_question(m, said.get(m.id, ())) for m in mitigations if m.approval_deadline is not None)


def _question(mitigation: Mitigation, said: Sequence[Decision]) -> Question:
    refusal = next((decision for decision in said if decision.answer is Answer.REFUSE), None)
    answer, at, channel = WAITING, None, ""
    if mitigation.state is MitigationState.EXPIRED:
        answer = EXPIRED
    elif mitigation.state is MitigationState.REFUSED:
        answer, at = REFUSED, refusal.at if refusal else mitigation.ended_at
        channel = refusal.channel if refusal else ""
    elif mitigation.approved_at is not None:
        answer, at = APPROVED, mitigation.approved_at
        channel = said[-1].channel if said else ""
    return Question(
        id=mitigation.id,
        incident=mitigation.incident,
        run=mitigation.flow_run,
        asked_at=mitigation.created_at,
        answer=answer,
        answered_at=at,
        channel=channel,
    )


def fix_answers(facts: Facts) -> tuple[list[Behind], int]:
    """How long each fix of the week's incidents waited for its owner's answer, and how many still wait."""
    said = {decision.subject: decision.at for decision in sorted(facts.decisions, key=lambda d: d.at, reverse=True)}
    asked = [fix for fix in facts.fixes if fix.approval_deadline is not None]
    answered = [
        Behind(
            kind=BehindKind.FIX,
            id=fix.id,
            value=max((said[fix.id] - fix.created_at).total_seconds(), 0.0),
            incident=fix.incident,
            runs=runs_of(fix.flow_run),
        )
        for fix in asked
        if fix.id in said
    ]
    return answered, sum(fix.state is FixState.VALIDATED and fix.id not in said for fix in asked)


def limit_answers(facts: Facts) -> tuple[list[Behind], int]:
    """How long each limit proposed in the week waited for its answer, and how many still wait.

    One that gave way to a newer proposal was never answered, and asks nobody any more.
    """
    said = {decision.subject: decision.at for decision in sorted(facts.decisions, key=lambda d: d.at, reverse=True)}
    answered = [
        Behind(
            kind=BehindKind.THRESHOLD,
            id=version.id,
            value=max((said[version.id] - version.created_at).total_seconds(), 0.0),
            incident=version.incident,
        )
        for version in facts.proposals
        if version.id in said
    ]
    waiting = sum(version.state in _OPEN_LIMITS and version.id not in said for version in facts.proposals)
    return answered, waiting


def approvals_section(facts: Facts) -> Section:
    asked = questions_of(facts.mitigations, facts.decisions)
    delays = [q.behind(q.delay_seconds) for q in asked]
    limits, open_limits = limit_answers(facts)
    fixes, open_fixes = fix_answers(facts)
    every = [q.behind() for q in asked]
    waiting = [q for q in asked if q.answer in (WAITING, EXPIRED)]

    def answered(answer: str) -> list[Behind]:
        return [q.behind() for q in asked if q.answer == answer]

    figures = (
        count_of("approvals/asked", "plans that needed a person", every, n=len(facts.mitigations)),
        mean_of("approvals/delay", "from question to answer", Unit.SECONDS, delays, waiting=len(waiting)),
        share_of("approvals/approved", "approved", answered(APPROVED), n=len(asked)),
        share_of("approvals/refused", "refused", answered(REFUSED), n=len(asked)),
        share_of("approvals/expired", "nobody answered in time", answered(EXPIRED), n=len(asked)),
        share_of("approvals/waiting", "still waiting", answered(WAITING), n=len(asked)),
        mean_of("approvals/fixes", "from proposed fix to answer", Unit.SECONDS, fixes, waiting=open_fixes),
        mean_of("approvals/limits", "from proposed limit to answer", Unit.SECONDS, limits, waiting=open_limits),
    )
    channels = Counter(q.channel for q in asked if q.channel)
    told = ", ".join(
        f"{count} by {name}" for name, count in sorted(channels.items(), key=lambda one: (-one[1], one[0]))
    )
    return Section(
        key="approvals",
        title="Approvals and their delays",
        columns=SPREAD,
        rows=tuple(map(spread_row, figures)) if asked or facts.proposals or fixes or open_fixes else (),
        empty="No plan, no fix and no limit needed a person in this week.",
        notes=(f"Answered {told}.",) if told else (),
        is_spread=True,
    )
