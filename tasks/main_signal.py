"""The main signal of an incident: which series shows its trouble best, and its values around it."""

from datetime import timedelta

import numpy as np

from quell.gateway.deps import ChartData
from quell.incidents.alert import Alert
from quell.incidents.incident import Incident
from quell.incidents.labels import SIGNAL, Labels
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Signal
from quell.incidents.suspect import CLIENT_PREFIX
from quell.triage.effect import CLIENT, number
from tasks.resources import Resources

BEFORE, AFTER = timedelta(minutes=5), timedelta(minutes=2)
MOST_POINTS = 400


def series_for(res: Resources, incident: Incident) -> ChartData | None:
    """The first suspect's signal from shortly before the onset until shortly after the end; None without a signal.

    The band is the one against which the alert was raised. Raises Unavailable when the metrics cannot be reached.
    """
    alert = telling_alert(res, incident)
    signal = res.config.signals.get(alert.labels[SIGNAL]) if alert else None
    if alert is None or signal is None:
        return None
    start = incident.onset_at - BEFORE
    end = min(res.clock(), (incident.resolved_at or res.clock()) + AFTER)
    step = max(signal.step, (end - start) / MOST_POINTS)
    matrix = res.metrics.range(signal.query, start=start, end=end, step=step)
    column = _column(matrix, alert.labels)
    if column is None:
        return None
    return _chart(signal, alert, matrix.timestamps, matrix.values[:, column])


def telling_alert(res: Resources, incident: Incident) -> Alert | None:
    """The first alert of a configured signal about the first suspect, else about anything; now comes before then."""
    with res.store.reading() as tx:
        alerts = tx.alerts.find({"incident": incident.id}, order="starts_at")
    known = [alert for alert in alerts if alert.labels.get(SIGNAL) in res.config.signals]
    known.sort(key=lambda alert: alert.ends_at is not None and alert.ends_at < incident.trouble_at)
    suspect = incident.suspects[0].node if incident.suspects else incident.service
    for alert in known:
        if suspect in (alert.instance, f"{CLIENT_PREFIX}{alert.labels.get(CLIENT)}"):
            return alert
    return next((alert for alert in known if alert.service == incident.service), known[0] if known else None)


def _column(matrix: SeriesMatrix, labels: Labels) -> int | None:
    """The series whose labels the alert carries; the most specific one, and the only one where none has labels."""
    fitting = [
        (len(series), -index)
        for index, series in enumerate(matrix.labels)
        if all(labels.get(name) == text for name, text in series.items())
    ]
    return -max(fitting)[1] if fitting else None


def _chart(signal: Signal, alert: Alert, timestamps: FloatArray, values: FloatArray) -> ChartData:
    about = alert.instance or alert.labels.get(CLIENT) or alert.service or ""
    return ChartData(
        title=f"{signal.name} {about}".strip(),
        unit=signal.unit,
        timestamps=timestamps,
        values=values,
        lower=_level(alert, "lower", timestamps),
        upper=_level(alert, "upper", timestamps),
    )


def _level(alert: Alert, name: str, timestamps: FloatArray) -> FloatArray | None:
    level = number(alert.annotations.get(name))
    return None if level is None else np.full(timestamps.shape, level)
