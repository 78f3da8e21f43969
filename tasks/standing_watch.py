"""Standing limits under watch: in shadow they only record whom they would have refused; in force, whom they do."""

from quell.incidents.errors import NotFound, QuellError
from quell.incidents.signal import Signal
from quell.incidents.threshold import ThresholdState, ThresholdVersion
from quell.prevention.refusals import IN_FORCE, SHADOW, Refusals, extend_shadow
from quell.prevention.standing_limit import StandingPolicy
from tasks.artifacts import table
from tasks.history import past_troubles
from tasks.limiter import SUBJECT
from tasks.maintenance import planned_periods
from tasks.refusals import keep_refusals, policy_of, refusals_of, standing_seen
from tasks.resources import Resources
from tasks.runs import log

MOST_ROWS = 45_000  # asked at once; a longer absence is caught up with in several pieces
_MOST_PIECES = 20  # of one watch
_SHOWN = 15  # clients of one version in an artifact


def watch_shadow(res: Resources, version: ThresholdVersion) -> Refusals:
    """Replay the limits over what was measured since the last watch, and store whom they would have refused."""
    policy, now = policy_of(res), res.clock()
    signal = measured_signal(res, policy)
    with res.store.reading() as tx:
        record = refusals_of(tx, SHADOW, version.id) or Refusals(since=now, until=now)
    for _ in range(_MOST_PIECES):
        if now - record.until < signal.step:
            break
        longer = _extend(res, version, policy, signal, record)
        if longer.until == record.until:
            break
        record = longer
    with res.store.writing() as tx:
        keep_refusals(tx, SHADOW, version.id, record)
    return record


def _extend(
    res: Resources, version: ThresholdVersion, policy: StandingPolicy, signal: Signal, record: Refusals
) -> Refusals:
    now = res.clock()
    end = min(now, record.until + MOST_ROWS * signal.step)
    matrix = res.metrics.range(signal.query, start=record.until, end=end, step=signal.step)
    return extend_shadow(
        record,
        matrix,
        version.clients or {},
        window=version.window or policy.window,
        unnamed=policy.unnamed,
        excluded=planned_periods(res, signal, matrix.labels, now),
        troubles=past_troubles(res, signal, now),
    )


def measured_signal(res: Resources, policy: StandingPolicy) -> Signal:
    signal = res.config.signals.get(policy.signal)
    if signal is None:
        raise NotFound(f"signal {policy.signal} of standing_limits is not in signals.yaml")
    return signal


def watch_standing(res: Resources) -> list[ThresholdVersion]:
    """Bring the record of limits in shadow up to now; those that are proposed must be in shadow by then.

    What cannot be measured now is caught up with next time.
    """
    with res.store.reading() as tx:
        found = tx.thresholds.find({"signal": SUBJECT, "state": (ThresholdState.SHADOW, ThresholdState.ACTIVE)})
    for version in found:
        if version.state is ThresholdState.SHADOW:
            try:
                watch_shadow(res, version)
            except QuellError as error:
                log().warning("standing limits %s could not be watched: %s", version.id, error)
    return found


def refusals_markdown(res: Resources, versions: list[ThresholdVersion]) -> str:
    """What a person reads of a watch: per client what was refused, its share and its worst minute."""
    parts: list[str] = []
    with res.store.reading() as tx:
        for version in versions:
            in_force = version.state is ThresholdState.ACTIVE
            record = refusals_of(tx, IN_FORCE if in_force else SHADOW, version.id)
            what = "refuses" if in_force else "would refuse"
            rows = [
                (
                    name, f"{one.refused:,.0f}", f"{one.in_incidents:,.0f}", f"{one.share * 100:.2g} %",
                    f"{one.worst:,.0f} at {one.worst_at:%Y-%m-%d %H:%M}" if one.worst_at else "",
                )
                for name, one in (record.worst_first() if record else [])[:_SHOWN]
            ]  # fmt: skip
            header = ("client", what, "in incidents", "of its requests", "worst minute")
            parts.append(f"# {version.id}: {standing_seen(tx, version)}\n\n{table(header, rows)}\n")
    return "\n".join(parts)
