"""Limits in shadow: they only record what they would have alerted; limits in force are recorded on beside them."""

from datetime import datetime, timedelta

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.incidents.errors import NotFound, QuellError, Unavailable
from quell.incidents.signal import Signal
from quell.incidents.slo import windows_in_words
from quell.incidents.threshold import ThresholdState, ThresholdVersion, move_threshold
from quell.incidents.timeline import event_of
from quell.ports import Document, Transaction
from quell.prevention.burn_history import REACHED, share_reached
from quell.prevention.history import mask_periods
from quell.prevention.limits import Limits, limits_in_words, limits_of
from quell.prevention.refusals import SHADOW, Refusals
from quell.prevention.threshold import Budget
from quell.prevention.watch import WATCH, WatchRecord, compare_in_words, extend_watch, from_body, to_body, watch_id
from tasks.artifacts import publish, table
from tasks.burn_fetch import FINEST, fetch_burns
from tasks.history import past_troubles
from tasks.lease import hold
from tasks.limiter import SUBJECT
from tasks.maintenance import planned_periods
from tasks.refusals import keep_refusals, standing_seen
from tasks.resources import Resources, resources
from tasks.runs import log
from tasks.sensitivity import score_matrix, subject_signal
from tasks.standing_watch import refusals_markdown, watch_standing
from tasks.study import hold_of

BY = "quell"
WATCHED = (ThresholdState.PROPOSED, ThresholdState.SHADOW, ThresholdState.ACTIVE)
SCORED_EVERY = timedelta(hours=6)
BURN_OVERLAP = timedelta(minutes=10)  # so that a burn that goes on over the last watch is known for the old one
MOST_ROWS = 45_000  # asked at once; a longer absence is caught up with in several watches


def watch_of(tx: Transaction, threshold: str) -> WatchRecord | None:
    """What was recorded of a limit so far."""
    document = tx.documents.get(watch_id(threshold))
    return from_body(document.body) if document else None


def seen_in_words(tx: Transaction, version: ThresholdVersion) -> str:
    """What was predicted of a version, and what was seen of it."""
    if version.clients is not None:
        return standing_seen(tx, version)
    return compare_in_words(version.predicted, watch_of(tx, version.id))


def shadow_threshold(res: Resources, threshold_id: str, by: str, why: str) -> ThresholdVersion:
    """Let a proposal record what it would alert. Nothing reaches Prometheus, so that this needs no approval."""
    with res.store.reading() as tx:
        version = _get(tx, threshold_id)
    with hold(res, f"threshold {version.signal}"), res.store.writing() as tx:
        version = _get(tx, threshold_id)
        if version.state is ThresholdState.SHADOW:
            return version
        now = res.clock()
        moved, step = move_threshold(version, ThresholdState.SHADOW, now=now, by=by, why=why)
        tx.thresholds.put(moved)
        tx.timeline.append(event_of(step))
        if version.clients is not None:
            keep_refusals(tx, SHADOW, threshold_id, Refusals(since=now, until=now))
        else:
            _keep(tx, threshold_id, WatchRecord(since=now, until=now), now)
        return moved


def _get(tx: Transaction, threshold_id: str) -> ThresholdVersion:
    version = tx.thresholds.get(threshold_id)
    if version is None:
        raise NotFound(f"threshold {threshold_id} is not in the store")
    return version


def watch_all(res: Resources) -> list[tuple[ThresholdVersion, WatchRecord]]:
    """Bring every record up to now, of limits in shadow and in force; a proposal goes into shadow first.

    A signal that cannot be asked now is caught up with next time; one that is gone from the configuration is left.
    """
    with res.store.reading() as tx:
        found = [version for version in tx.thresholds.find({"state": WATCHED}) if version.clients is None]
    watched: list[tuple[ThresholdVersion, WatchRecord]] = []
    for version in found:
        signal = res.config.signals.get(subject_signal(version))
        if signal is None:
            continue
        try:
            if version.state is ThresholdState.PROPOSED:
                version = shadow_threshold(res, version.id, BY, "it only records until a person decides")
            watched.append((version, watch_threshold(res, version, signal)))
        except QuellError as error:
            log().warning("threshold %s could not be watched: %s", version.id, error)
    return watched


def watch_standing_limits(res: Resources) -> list[ThresholdVersion]:
    """The same for standing limits of clients; a proposal goes into shadow first."""
    with res.store.reading() as tx:
        proposed = tx.thresholds.find({"signal": SUBJECT, "state": ThresholdState.PROPOSED})
    for version in proposed:
        shadow_threshold(res, version.id, BY, "it only records until a person decides")
    return watch_standing(res)


def watch_threshold(res: Resources, version: ThresholdVersion, signal: Signal) -> WatchRecord:
    """Replay the limit over what came since the last watch, and store what it would have alerted."""
    now, step = res.clock(), signal.step
    with res.store.reading() as tx:
        record = watch_of(tx, version.id) or WatchRecord(since=now, until=now)
    if version.score is not None:
        record = _extend_by_score(res, version, version.score, signal, record)
    elif version.burn:
        record = _extend_by_burn(res, version, signal, record)
    elif now - record.until >= step:
        steps = Budget(alarms_per_week=1.0, hold=hold_of(signal)).steps(step.total_seconds())
        start = record.until - steps * step
        matrix = res.metrics.range(signal.query, start=start, end=min(now, start + MOST_ROWS * step), step=step)
        matrix = mask_periods(matrix, planned_periods(res, signal, matrix.labels, now))
        limits = limits_of(version)
        record = extend_watch(record, matrix, limits, steps=steps, troubles=past_troubles(res, signal, now))
    with res.store.writing() as tx:
        _keep(tx, version.id, record, now)
    return record


def _extend_by_score(
    res: Resources, version: ThresholdVersion, limit: float, signal: Signal, record: WatchRecord
) -> WatchRecord:
    """A row's score depends on all before it: the whole history is scored again, and so not every hour."""
    now = res.clock()
    if now - record.until < SCORED_EVERY:
        return record
    matrix = score_matrix(res, signal)
    if matrix is None:
        raise Unavailable(f"signal {signal.name} has no history to score for {version.id}")
    limits = Limits(upper=float(np.nextafter(limit, 0.0)))  # a score that reaches the limit alerts
    return extend_watch(record, matrix, limits, steps=1, troubles=past_troubles(res, signal, now))


def _extend_by_burn(res: Resources, version: ThresholdVersion, signal: Signal, record: WatchRecord) -> WatchRecord:
    """The error ratios of the windows are asked from a little before the last watch on."""
    now = res.clock()
    if signal.slo is None:
        raise NotFound(f"signal {signal.name} has no slo any more: revert {version.id}")
    if now - record.until < FINEST:
        return record
    since = record.until - BURN_OVERLAP
    history = fetch_burns(res, signal, signal.slo, version.burn, now, since=since)
    if history is None:
        raise Unavailable(f"signal {signal.name} has no error ratios since {since:%Y-%m-%d %H:%M} for {version.id}")
    matrix = mask_periods(share_reached(history, version.burn), history.excluded)
    return extend_watch(record, matrix, REACHED, steps=1, troubles=past_troubles(res, signal, now))


def _keep(tx: Transaction, threshold: str, record: WatchRecord, now: datetime) -> None:
    tx.documents.put(Document(id=watch_id(threshold), kind=WATCH, updated_at=now, body=to_body(record)))


def watch_markdown(res: Resources, watched: list[tuple[ThresholdVersion, WatchRecord]]) -> str:
    """What a person reads of a watch."""
    if not watched:
        return "# Limits that are watched\n\nNo limit is in shadow or in force: `recompute-thresholds` proposes some.\n"
    rows = [
        (
            version.id, version.state, version.signal,
            _limit_in_words(res, version),
            compare_in_words(version.predicted, record), record.false,
        )
        for version, record in watched
    ]  # fmt: skip
    header = ("version", "state", "signal", "limit", "predicted and seen", "of these false")
    return f"# Limits that are watched\n\n{table(header, rows)}\n"


def _limit_in_words(res: Resources, version: ThresholdVersion) -> str:
    if version.score is not None:
        return f"score {version.score:.3f}"
    slo = res.config.signals[subject_signal(version)].slo
    if version.burn and slo is not None:
        return windows_in_words(version.burn, slo)
    return limits_in_words(res.config.signals[version.signal].unit, limits_of(version))


@task(name="watch-limits", cache_policy=NO_CACHE)
def watch_limits() -> int:
    """Brings the record of every limit in shadow or in force up to now. How many are watched."""
    res = resources()
    watched = watch_all(res)
    publish("watched-limits", watch_markdown(res, watched), "What limits would have alerted, beside what was predicted")
    standing = watch_standing_limits(res)
    if standing:
        publish("watched-clients", refusals_markdown(res, standing), "Whom standing limits refuse, or would refuse")
    return len(watched) + len(standing)
