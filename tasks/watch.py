"""The watch over the sweeps: raises Quell's own alert when they stop or lag, and ends it when they are back."""

from datetime import datetime

from quell.detection.health import LAST_SWEEP, STOPPED, LastSweep, judge_sweeps, read_last_sweep
from quell.ports import Transaction
from tasks.episodes import open_episodes, record_condition
from tasks.resources import Resources


def last_sweep(tx: Transaction) -> LastSweep | None:
    """The latest sweep's figures, None before the first."""
    found = tx.documents.get(LAST_SWEEP)
    return read_last_sweep(found.body, found.updated_at) if found else None


def watch_sweeps(res: Resources, *, since: datetime) -> str | None:
    """Look once; returns what is wrong. `since` is when this watcher began.

    It must not run where the sweeps run: what stops the worker would stop the watch as well.
    """
    now = res.clock()
    with res.store.reading() as tx:
        trouble = judge_sweeps(last_sweep(tx), now=now, interval=res.config.intervals.sweep, watching_since=since)
        is_open = bool(open_episodes(tx, STOPPED))
    if trouble is not None or is_open:
        record_condition(res, STOPPED, trouble, at=now, confirm=1)
    return trouble.annotations["reason"] if trouble else None
