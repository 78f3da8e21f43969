"""A threshold version: the limit of one signal, with the evidence for it; versions supersede each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from quell.incidents.hours import HourBand, limit_at
from quell.incidents.lifecycle import Move, check_transition
from quell.incidents.slo import BurnWindow


class ThresholdState(StrEnum):
    PROPOSED = "proposed"
    SHADOW = "shadow"
    ACTIVE = "active"
    SUPERSEDED = "superseded"
    REVERTED = "reverted"


_S = ThresholdState
THRESHOLD_TRANSITIONS: Mapping[ThresholdState, frozenset[ThresholdState]] = {
    _S.PROPOSED: frozenset({_S.SHADOW, _S.ACTIVE, _S.REVERTED}),
    _S.SHADOW: frozenset({_S.ACTIVE, _S.REVERTED}),
    _S.ACTIVE: frozenset({_S.SUPERSEDED, _S.REVERTED}),
    _S.SUPERSEDED: frozenset({_S.ACTIVE}),
    _S.REVERTED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdVersion:
    """`upper`/`lower` are in the signal's unit; `evidence` is the backtest in words and numbers.

    Where a side has bands its limit depends on the hour of the week, and the plain one is the widest of them.
    """

    id: str
    signal: str
    state: ThresholdState
    upper: float | None
    lower: float | None
    created_at: datetime
    updated_at: datetime
    incident: str | None = None
    replaces: str | None = None
    evidence: Mapping[str, str] = field(default_factory=dict[str, str])
    score: float | None = None  # a limit on the detector's score instead; then there is no rule for Prometheus
    rule: str = ""  # the Prometheus rule group as YAML
    predicted: Mapping[str, float] = field(default_factory=dict[str, float])  # alerts per week, low, high, is_told
    rule_tests: str = ""  # for promtool, on the limits alone
    clients: Mapping[str, int] | None = (
        None  # standing limits of clients instead: requests in `window`; `rule` is the map
    )
    window: timedelta | None = None
    changed_by: str = ""  # who moved it last, and why; the timeline has all of it
    changed_why: str = ""
    burn: tuple[BurnWindow, ...] = ()  # the windows of a burn-rate alert instead, in place of the standard ones
    upper_by_hour: tuple[HourBand, ...] = ()
    lower_by_hour: tuple[HourBand, ...] = ()

    def upper_at(self, at: datetime) -> float | None:
        """The upper limit at this moment."""
        by_hour = limit_at(self.upper_by_hour, at)
        return self.upper if by_hour is None else by_hour


def chart_id(threshold: str) -> str:
    """Where the chart of old and new limit is stored, as it was when the limit was proposed."""
    return f"threshold-chart:{threshold}"


def move_threshold(
    version: ThresholdVersion,
    to: ThresholdState,
    *,
    now: datetime,
    by: str,
    why: str,
    evidence: Mapping[str, str] | None = None,
) -> tuple[ThresholdVersion, Move]:
    """The version in its new state, and the entry for its timeline. Raises InvalidTransition."""
    check_transition(f"threshold {version.id}", THRESHOLD_TRANSITIONS, version.state, to)
    move = Move(
        subject=version.id,
        incident=version.incident,
        at=now,
        by=by,
        why=why,
        from_state=version.state,
        to_state=to,
        evidence=evidence or {},
    )
    return replace(version, state=to, updated_at=now, changed_by=by, changed_why=why), move
