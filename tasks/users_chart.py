"""The users' signal for whoever decides: how it went until now, its limit, and where the trouble began.

It is a help and no condition: a question is never kept waiting for metrics, and without them it has no chart.
"""

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from quell.gateway.deps import ChartData
from quell.incidents.chart import format_value, signal_chart, svg_data_url
from quell.incidents.errors import QuellError
from quell.incidents.mitigation import Plan
from quell.incidents.signal import Signal
from quell.response.playbook import Playbook
from quell.response.recovery import worst_series
from tasks.peers import own_part
from tasks.recovery import fetch_signal, limit_of
from tasks.resources import Resources

PATIENCE = timedelta(seconds=1)  # how long a question waits for its chart
_SHORTEST, _LONGEST = timedelta(minutes=30), timedelta(hours=1)
_BEFORE_ONSET = timedelta(minutes=10)
_MOST_POINTS = 160
_WIDTH, _HEIGHT = 480, 140  # as wide as Prefect's dialog, and low: the form must stay above the fold


def users_signal(res: Resources, plan: Plan) -> ChartData | None:
    """What the incident's page draws beside its question; None where nothing is known."""
    return _data(res, plan, _onset(res, plan))


def draw_users(res: Resources, plan: Plan) -> str:
    """The same as a markdown image; empty when the metrics do not answer at once."""
    onset = _onset(res, plan)
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="users-chart")
    try:
        data = pool.submit(_data, res, plan, onset).result(PATIENCE.total_seconds())
    except (NotYet, QuellError):
        return ""
    finally:
        pool.shutdown(wait=False)
    if data is None:
        return ""
    svg = signal_chart(
        title=data.title,
        unit=data.unit,
        timestamps=data.timestamps,
        values=data.values,
        lower=data.lower,
        upper=data.upper,
        events=[(onset, "onset")] if onset else [],
        width=_WIDTH,
        height=_HEIGHT,
    )
    return f"![{data.title}]({svg_data_url(svg)})"


def _onset(res: Resources, plan: Plan) -> datetime | None:
    with res.store.reading() as tx:
        incident = tx.incidents.get(plan.incident) if plan.incident else None
    return incident.onset_at if incident else None


def _data(res: Resources, plan: Plan, onset: datetime | None) -> ChartData | None:
    playbook = res.config.playbooks.get(plan.playbook)
    signal = res.config.signals.get(playbook.recovery.signal) if playbook else None
    if playbook is None or signal is None:
        return None
    return _fetched(replace(res, metrics=res.hasty_metrics or res.metrics), plan, onset, playbook, signal)


def _fetched(
    res: Resources, plan: Plan, onset: datetime | None, playbook: Playbook, signal: Signal
) -> ChartData | None:
    """The worst of the service's own series, as it is judged by later."""
    now = res.clock()
    span = min(max(now - (onset or now) + _BEFORE_ONSET, _SHORTEST), _LONGEST)
    coarse = replace(signal, step=max(signal.step, span / _MOST_POINTS))
    matrix = own_part(res, plan.blast_radius.service, fetch_signal(res, coarse, now - span, now))
    values = worst_series(matrix)
    if not np.any(np.isfinite(values)):
        return None
    limit = limit_of(res, onset or now, playbook, signal, plan.blast_radius.service)
    return ChartData(
        title=f"users: {signal.name}" + (f", limit {format_value(limit, signal.unit)}" if limit is not None else ""),
        unit=signal.unit,
        timestamps=matrix.timestamps,
        values=values,
        upper=np.full(len(values), limit) if limit is not None else None,
    )
