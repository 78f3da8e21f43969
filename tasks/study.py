"""A study: one signal's history, the limits it gives, and what old and new limits would have done."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from quell.incidents.chart import format_value, signal_chart, svg_data_url
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Signal
from quell.incidents.threshold import ThresholdState, ThresholdVersion
from quell.prevention.backtest import Backtest, Trouble, backtest_limits
from quell.prevention.history import mask_periods
from quell.prevention.threshold import Budget, Proposal, propose_limits
from tasks.artifacts import incident_link, table
from tasks.history import fetch_history, past_troubles
from tasks.maintenance import planned_periods
from tasks.resources import Resources

WAITING = (ThresholdState.PROPOSED, ThresholdState.SHADOW)
_HOLD_STEPS = 3  # an alarm needs three samples beyond the limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One signal's history with what was found in it."""

    signal: Signal
    matrix: SeriesMatrix
    proposal: Proposal
    old: ThresholdVersion | None
    old_backtest: Backtest | None
    new_backtest: Backtest

    @property
    def upper(self) -> float | None:
        return self.proposal.upper.value if self.proposal.upper else None

    @property
    def lower(self) -> float | None:
        return self.proposal.lower.value if self.proposal.lower else None


def study_of(res: Resources, signal: Signal) -> Study:
    """History without incidents, the limits it gives, and what old and new limits would have done."""
    now = res.clock()
    history = fetch_history(res, signal, now)
    matrix = mask_periods(history, planned_periods(res, signal, history.labels, now))
    troubles = past_troubles(res, signal, now)
    quiet = mask_periods(matrix, [t.period for t in troubles])
    budget = Budget(alarms_per_week=res.config.detection.false_alarms_per_week, hold=hold_of(signal))
    proposal = propose_limits(signal, quiet, budget)
    with res.store.reading() as tx:
        old = next(iter(tx.thresholds.find({"signal": signal.name, "state": ThresholdState.ACTIVE})), None)
    upper, lower = (limit.value if limit else None for limit in (proposal.upper, proposal.lower))
    return Study(
        signal=signal,
        matrix=matrix,
        proposal=proposal,
        old=old,
        old_backtest=_replay(matrix, old.upper, old.lower, proposal.steps, troubles) if old else None,
        new_backtest=_replay(matrix, upper, lower, proposal.steps, troubles),
    )


def hold_of(signal: Signal) -> timedelta:
    return (_HOLD_STEPS - 1) * signal.step


def report_of(res: Resources, studies: list[Study], incident: str | None = None) -> str:
    """Every proposal with its backtest and chart, then why other signals get none."""
    with res.store.reading() as tx:
        waiting = {v.signal: v.id for v in tx.thresholds.find({"state": WAITING})}
    proposed = [s for s in studies if s.proposal.upper or s.proposal.lower]
    rows = [
        (
            waiting.get(s.signal.name, "in force"),
            s.signal.name,
            _old_limit(s),
            limits_in_words(s.signal, s.upper, s.lower),
        )
        for s in proposed
    ]
    others = [(s.signal.name, "; ".join(s.proposal.reasons)) for s in studies if s not in proposed]
    after = f" after {incident_link(res.config, incident)}" if incident else ""
    parts = [
        f"# Limits from history{after}",
        "Nothing here is in force before a person approves it.",
        table(("proposal", "signal", "old limit", "new limit"), rows),
        *(_study_markdown(s, waiting.get(s.signal.name, "in force")) for s in proposed),
        *(["## No limit can be proposed", table(("signal", "why"), others)] if others else []),
    ]
    return "\n\n".join(parts) + "\n"


def _old_limit(study: Study) -> str:
    old = study.old
    return limits_in_words(study.signal, old.upper if old else None, old.lower if old else None)


def _study_markdown(study: Study, proposal: str) -> str:
    lines = [
        f"## {study.signal.name}: {limits_in_words(study.signal, study.upper, study.lower)} ({proposal})",
        f"- **New limit:** {study.new_backtest}",
        f"- **Old limit:** {study.old_backtest or 'there was none'}",
        *(f"- **Why:** {reason}" for reason in study.proposal.reasons),
    ]
    return f"{lines[0]}\n\n" + "\n".join(lines[1:]) + f"\n\n{_chart(study)}"


def _replay(
    matrix: SeriesMatrix, upper: float | None, lower: float | None, steps: int, troubles: tuple[Trouble, ...]
) -> Backtest:
    return backtest_limits(matrix, upper=upper, lower=lower, steps=steps, troubles=troubles)


def evidence_of(res: Resources, study: Study) -> dict[str, str]:
    caught = [
        f"{c.incident} after {c.after.total_seconds():.0f} s" if c.after is not None else f"{c.incident} not"
        for c in study.new_backtest.catches
    ]
    return {
        "budget": f"{res.config.detection.false_alarms_per_week:g} false alarms per week and series",
        "history": f"{study.proposal.weeks:.3g} series-weeks without incidents"
        + ("" if study.proposal.is_history_long_enough else f", needs {study.proposal.weeks_needed:.3g}"),
        "basis": "; ".join(study.proposal.reasons),
        "old limit": str(study.old_backtest) if study.old_backtest else "none",
        "new limit": str(study.new_backtest),
        "catches": ", ".join(caught) or "no incident in this history",
    }


def limits_in_words(signal: Signal, upper: float | None, lower: float | None) -> str:
    parts = [f"above {format_value(upper, signal.unit)}"] if upper is not None else []
    parts += [f"below {format_value(lower, signal.unit)}"] if lower is not None else []
    return " or ".join(parts) or "none"


def _chart(study: Study) -> str:
    matrix, signal = study.matrix, study.signal
    worst = _worst(matrix.values)
    pairs = [("new", study.upper, study.lower)]
    if study.old is not None:
        pairs.append(("old", study.old.upper, study.old.lower))
    images: list[str] = []
    for name, upper, lower in pairs:
        svg = signal_chart(
            title=f"{signal.name}, {name} limit: {limits_in_words(signal, upper, lower)}",
            unit=signal.unit,
            timestamps=matrix.timestamps,
            values=worst,
            lower=None if lower is None else np.full(len(worst), lower),
            upper=None if upper is None else np.full(len(worst), upper),
            events=[],
        )
        images.append(f"![{signal.name}, {name} limit]({svg_data_url(svg)})")
    return "\n\n".join(images)


def _worst(values: FloatArray) -> FloatArray:
    if values.shape[1] == 0:
        return np.full(len(values), np.nan)
    filled = np.where(np.isfinite(values), values, -np.inf).max(axis=1)
    return np.where(np.isfinite(filled), filled, np.nan)
