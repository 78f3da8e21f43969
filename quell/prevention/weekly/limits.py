"""Threshold changes, and whether what their backtest predicted came true."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.incidents.alert import Alert
from quell.incidents.threshold import ThresholdState, ThresholdVersion
from quell.prevention.history import WEEK, alarm_rate
from quell.prevention.limits import limits_in_words, limits_of
from quell.prevention.weekly.facts import behind_alert
from quell.prevention.weekly.figure import Behind, BehindKind, Figure, Unit
from quell.prevention.weekly.section import Row, Section, slug, unique

WITHIN = 0.25  # a prediction holds when what came is within this share of it
LEAST_OBSERVED = timedelta(days=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """A version that moved, or is in force and young. It was in force from `since` to `until`, if it ever was.

    `alerts` are those that it raised in that time.
    """

    version: ThresholdVersion
    since: datetime | None
    until: datetime
    alerts: tuple[Alert, ...] = ()

    @property
    def observed(self) -> timedelta:
        return timedelta(0) if self.since is None else max(self.until - self.since, timedelta(0))


def predicted_per_week(version: ThresholdVersion) -> float | None:
    """How many alerts a week, true and false, its backtest promised; None where history was too short to tell."""
    return version.predicted.get("per_week") if version.predicted.get("is_told", 1.0) else None


def verdict_of(predicted: float | None, count: int, observed: timedelta) -> str:
    """Held: within 25 %, or not to be told apart from it by chance (95 % Poisson interval of what came)."""
    if not observed:
        return "was never in force"
    if predicted is None:
        return "nothing was predicted"
    if observed < LEAST_OBSERVED:
        return (
            f"too early to say: {observed / timedelta(hours=1):.0f} h in force, {LEAST_OBSERVED.days} days are needed"
        )
    rate = alarm_rate(count, observed / WEEK)
    if abs(rate.per_week - predicted) <= WITHIN * predicted:
        return "held: within 25 %"
    if rate.low <= predicted <= rate.high:
        return f"held, as far as {count} alerts can tell ({rate.low:.2g} to {rate.high:.2g} per week)"
    return "did not hold: more alerts than predicted" if rate.per_week > predicted else "did not hold: fewer alerts"


def limits_section(changes: Iterable[LimitChange]) -> Section:
    return Section(
        key="thresholds",
        title="Threshold changes and their predictions",
        columns=("state", "limit", "predicted", "came", "prediction"),
        rows=unique(_row(change) for change in changes),
        empty="No threshold changed in this week, and none that is in force is younger than four weeks.",
    )


def _row(change: LimitChange) -> Row:
    version, key = change.version, f"thresholds/{slug(change.version.id)}"
    predicted, weeks = predicted_per_week(version), change.observed / WEEK
    counted = bool(change.observed)
    return Row(
        name=f"{version.id} {version.signal}",
        cells=(
            version.state if version.state is not ThresholdState.SHADOW else "shadow: it only records",
            _limit(version),
            Figure(
                key=f"{key}.predicted",
                name=f"alerts per week that {version.id} was expected to raise",
                unit=Unit.PER_WEEK,
                value=predicted,
                n=0 if predicted is None else 1,
                behind=(Behind(kind=BehindKind.THRESHOLD, id=version.id, value=predicted, incident=version.incident),),
            ),
            Figure(
                key=f"{key}.came",
                name=f"alerts per week that {version.id} raised (n is days in force)",
                unit=Unit.PER_WEEK,
                value=len(change.alerts) / weeks if counted else None,
                n=math.floor(weeks * 7),
                behind=tuple(map(behind_alert, change.alerts)),
            ),
            verdict_of(predicted, len(change.alerts), change.observed),
        ),
    )


def _limit(version: ThresholdVersion) -> str:
    if version.clients is not None:
        return f"standing, of {len(version.clients)} lines"
    if version.burn:
        return f"{len(version.burn)} pairs of windows"
    return limits_in_words("", limits_of(version))
