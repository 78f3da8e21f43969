"""What a person reads of the studies: proposals with their evidence, one chart of old and new limit over the signal."""

from collections.abc import Sequence

from quell.incidents.chart import signal_chart, svg_data_url
from quell.incidents.hours import HourBand, hours_of_week, limit_by_hour
from quell.incidents.series import FloatArray
from quell.incidents.threshold import ThresholdState, ThresholdVersion
from quell.prevention.catches import catches_in_words
from quell.prevention.limits import Limits, budget_in_words, limits_in_words, limits_of
from quell.prevention.rule_file import rule_diff
from tasks.artifacts import incident_link, table
from tasks.resources import Resources
from tasks.study import Study

WAITING = (ThresholdState.PROPOSED, ThresholdState.SHADOW)
MOST_CHARTS = 25  # an artifact is one document, and a person reads no more


def report_of(res: Resources, studies: list[Study], incident: str | None = None, note: str = "") -> str:
    """Every proposal with its backtest and chart, then why other signals get none."""
    with res.store.reading() as tx:
        waiting = {v.signal: v for v in tx.thresholds.find({"state": WAITING})}
    proposed = [s for s in studies if s.proposal.upper or s.proposal.lower]
    shown = sorted(proposed, key=lambda s: s.signal.name not in waiting)[:MOST_CHARTS]
    rows = [
        (
            waiting[s.signal.name].id if s.signal.name in waiting else "in force",
            s.signal.name,
            _old_limit(s),
            limits_in_words(s.signal.unit, s.found.limits),
            str(s.found.prediction),
        )
        for s in proposed
    ]
    others = [(s.signal.name, "; ".join(s.proposal.reasons)) for s in studies if s not in proposed]
    after = f" after {incident_link(res.config, incident)}" if incident else ""
    parts = [
        f"# Limits from history{after}",
        *([f"**{note}**"] if note else []),
        "Nothing here is in force before a person approves it.",
        table(("proposal", "signal", "old limit", "new limit", "predicted"), rows),
        *(_study_markdown(s, waiting.get(s.signal.name)) for s in shown),
        *([f"_{len(proposed) - len(shown)} more are in the table only._"] if len(shown) < len(proposed) else []),
        *(["## No limit can be proposed", table(("signal", "why"), others)] if others else []),
    ]
    return "\n\n".join(parts) + "\n"


def evidence_of(res: Resources, study: Study) -> dict[str, str]:
    """What the version, its rule and its page say for it."""
    return {
        "budget": budget_in_words(res.config.detection.false_alarms_per_week),
        "history": f"{study.proposal.weeks:.3g} series-weeks without incidents"
        + ("" if study.proposal.is_history_long_enough else f", needs {study.proposal.weeks_needed:.3g}"),
        "basis": "; ".join(study.proposal.reasons),
        "old limit": str(study.old_backtest) if study.old_backtest else "none",
        "new limit": str(study.new_backtest),
        "prediction": str(study.found.prediction),
        "catches": catches_in_words(study.new_backtest, study.old_backtest),
    }


def _old_limit(study: Study) -> str:
    old = study.old
    return limits_in_words(study.signal.unit, limits_of(old) if old else Limits())


def _study_markdown(study: Study, version: ThresholdVersion | None) -> str:
    proposal = version.id if version else "in force"
    lines = [
        f"## {study.signal.name}: {limits_in_words(study.signal.unit, study.found.limits)} ({proposal})",
        f"- **New limit:** {study.new_backtest}",
        f"- **Old limit:** {study.old_backtest or 'there was none'}",
        f"- **Predicted:** {study.found.prediction}",
        f"- **Incidents:** {catches_in_words(study.new_backtest, study.old_backtest)}",
        *(f"- **Why:** {reason}" for reason in study.proposal.reasons),
    ]
    diff = f"```diff\n{rule_diff(study.old, version)}```\n\n" if version else ""
    return f"{lines[0]}\n\n" + "\n".join(lines[1:]) + f"\n\n{diff}{_chart(study)}"


def _chart(study: Study) -> str:
    return f"![{study.signal.name}, old and new limit]({svg_data_url(draw_study(study))})"


def draw_study(study: Study) -> str:
    """The signal with the old and the new limit, as SVG."""
    signal, old, new = study.signal, limits_of(study.old) if study.old else Limits(), study.found.limits
    marks = [("old", old.upper), ("old", old.lower)]
    marks += [("new", new.upper)] if not new.upper_by_hour else []
    marks += [("new", new.lower)] if not new.lower_by_hour else []
    return signal_chart(
        title=f"{signal.name}, new limit: {limits_in_words(signal.unit, study.found.limits)}",
        unit=signal.unit,
        timestamps=study.shown_at,
        values=study.shown,
        lower=_by_hour(study, new.lower_by_hour),
        upper=_by_hour(study, new.upper_by_hour),
        limits=[(name, value) for name, value in marks if value is not None],
        events=[],
    )


def _by_hour(study: Study, bands: Sequence[HourBand]) -> FloatArray | None:
    """A limit by hour of week at the chart's times: it is drawn as the edge of a band."""
    return limit_by_hour(bands)[hours_of_week(study.shown_at)] if bands else None
