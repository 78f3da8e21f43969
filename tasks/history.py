"""History of a signal, as far back as there is any, and the incidents in it."""

from datetime import UTC, datetime, timedelta

import numpy as np

from quell.incidents.errors import QuellError
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Signal
from quell.prevention.backtest import Trouble
from tasks.anomalies import real_anomalies
from tasks.resources import Resources

_COARSE_POINTS = 2000
_MOST_POINTS = 45_000  # a month at one minute
_MOST_CELLS = 4_000_000  # of all series together: 32 MB
# An incident is seen a little before its onset is dated, and its last samples linger in the queries' windows.
_MARGIN = timedelta(seconds=30)


def fetch_history(res: Resources, signal: Signal, now: datetime) -> SeriesMatrix:
    """The signal over its configured history, on its own step where that is not too many points.

    A first coarse look finds where the history begins: a young Prometheus is then read at full resolution. Empty when
    the source does not answer.
    """
    empty = SeriesMatrix(timestamps=np.empty(0), values=np.empty((0, 0)), labels=())
    coarse = max(signal.step, signal.history / _COARSE_POINTS)
    try:
        first = res.metrics.range(signal.query, start=now - signal.history, end=now, step=coarse)
        known = np.isfinite(first.values).any(axis=1)
        if not known.any():
            return empty
        began = datetime.fromtimestamp(float(first.timestamps[known][0]), UTC) - coarse
        points = min(_MOST_POINTS, max(_MOST_CELLS // first.values.shape[1], _COARSE_POINTS))
        step = max(signal.step, timedelta(seconds=np.ceil((now - began).total_seconds() / points)))
        return res.metrics.range(signal.query, start=now - ((now - began) // step) * step, end=now, step=step)
    except QuellError:
        return empty


def past_troubles(res: Resources, signal: Signal, now: datetime) -> tuple[Trouble, ...]:
    """The incidents that could show in the signal, and anomalies outside of them that a person labelled real.

    Dismissed incidents are left out: those were false alarms.
    """
    with res.store.reading() as tx:
        incidents = tx.incidents.find()
        confirmed = real_anomalies(tx, signal.name)
    troubles = tuple(
        Trouble(incident=i.id, start=i.onset_at, end=i.resolved_at or now, margin=_MARGIN)
        for i in incidents
        if i.state is not IncidentState.DISMISSED and _concerns(res, signal, i)
    )
    return troubles + tuple(
        Trouble(incident=a.id, start=a.started_at, end=a.last_at, margin=_MARGIN)
        for a in confirmed
        if not any(t.period[0] <= a.last_at and a.started_at <= t.period[1] for t in troubles)
    )


def _concerns(res: Resources, signal: Signal, incident: Incident) -> bool:
    return signal.service is None or res.config.catalog.are_related(signal.service, incident.service)
