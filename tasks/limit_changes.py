"""Threshold changes in the record: when each version was in force, and what it raised in that time."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from quell.incidents.alert import Alert
from quell.incidents.threshold import ThresholdState, ThresholdVersion
from quell.incidents.timeline import NO_INCIDENT, TimelineEntry
from quell.ports import Transaction
from quell.prevention.rule import THRESHOLD_LABEL
from quell.prevention.weekly.limits import LimitChange
from quell.prevention.weekly.week import Week

YOUNG = timedelta(weeks=4)
_MOST_ENTRIES = 5000  # of a chain, its end
_MOST_VERSIONS = 200
_BEGAN = "threshold active"
_ENDED = ("threshold superseded", "threshold reverted")


def limit_changes(tx: Transaction, week: Week, now: datetime, alerts: Iterable[Alert]) -> tuple[LimitChange, ...]:
    """Versions that moved in the week, and those in force in it that are younger than four weeks.

    `alerts` are those of the four weeks up to the week's end; only that time of a version is looked at.
    """
    start, end = week.end - YOUNG, min(week.end, now)
    versions = tx.thresholds.find(
        after=("updated_at", start), order="updated_at", descending=True, limit=_MOST_VERSIONS
    )
    moves = _moves(tx, versions)
    raised = [alert for alert in alerts if THRESHOLD_LABEL in alert.labels]
    found: list[LimitChange] = []
    for version in versions:
        told = moves.get(version.id, [])
        began, until = _in_force(version, told, end)
        is_young = began is not None and start <= began < end and until > week.start
        if is_young or any(week.contains(entry.at) for entry in told):
            since = None if began is None else max(began, start)
            own = _own(version, raised, since, until)
            found.append(LimitChange(version=version, since=since, until=until, alerts=own))
    return tuple(found)


def _own(
    version: ThresholdVersion, raised: Iterable[Alert], since: datetime | None, until: datetime
) -> tuple[Alert, ...]:
    if since is None:
        return ()
    own = (alert for alert in raised if alert.labels[THRESHOLD_LABEL] == version.id)
    return tuple(alert for alert in own if since <= alert.starts_at < until)


def _moves(tx: Transaction, versions: Iterable[ThresholdVersion]) -> Mapping[str, list[TimelineEntry]]:
    """Version -> its entries, in their order."""
    chains = dict.fromkeys(version.incident or NO_INCIDENT for version in versions)
    moves: dict[str, list[TimelineEntry]] = defaultdict(list)
    for chain in chains:
        for entry in tx.timeline.of(chain, limit=_MOST_ENTRIES):
            moves[entry.subject or ""].append(entry)
    return moves


def _in_force(
    version: ThresholdVersion, told: Sequence[TimelineEntry], end: datetime
) -> tuple[datetime | None, datetime]:
    """From when to when, as the timeline tells; a version that is active and has no entry left began when it moved."""
    began = [entry.at for entry in told if entry.kind == _BEGAN and entry.at < end]
    since = began[-1] if began else None
    if since is None and version.state is ThresholdState.ACTIVE and version.updated_at < end:
        since = version.updated_at
    ended = [entry.at for entry in told if entry.kind in _ENDED and since is not None and entry.at > since]
    return since, min([*ended, end])
