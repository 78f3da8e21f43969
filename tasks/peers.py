"""Peers: the users' signals of services that nobody touches and that have nothing to do with the mitigated one."""

from collections.abc import Callable, Mapping

import numpy as np

from quell.incidents.labels import SERVICE
from quell.incidents.mitigation import HOLDING_STATES, Mitigation
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Signal
from quell.response.recovery import worst_series
from tasks.resources import Resources

_MOST_SIGNALS = 5


def own_part(res: Resources, service: str, matrix: SeriesMatrix) -> SeriesMatrix:
    """The series that can show what a mitigation of the service does: all but those of services unrelated to it."""
    keep = [n for n, labels in enumerate(matrix.labels) if _may_show(res, service, labels.get(SERVICE))]
    if not keep or len(keep) == len(matrix.labels):
        return matrix
    labels = tuple(matrix.labels[n] for n in keep)
    return SeriesMatrix(timestamps=matrix.timestamps, values=matrix.values[:, keep], labels=labels)


def peer_series(
    res: Resources,
    mitigation: Mitigation,
    signal: Signal,
    matrix: SeriesMatrix,
    fetch: Callable[[Signal], SeriesMatrix],
) -> Mapping[str, FloatArray]:
    """Service -> its worst series on the matrix's grid, from the same signal and from others of its kind."""
    catalog, touched = res.config.catalog, _touched(res, mitigation)
    found: dict[str, list[FloatArray]] = {}

    def take(one: SeriesMatrix, service: str | None) -> None:
        if service is None or service not in catalog.services or _may_show(res, mitigation.service, service):
            return
        if not any(catalog.are_related(service, other) for other in touched):
            found.setdefault(service, []).append(_on_grid(matrix.timestamps, one))

    for n, labels in enumerate(matrix.labels):
        column = SeriesMatrix(timestamps=matrix.timestamps, values=matrix.values[:, [n]], labels=(labels,))
        take(column, labels.get(SERVICE))
    for other in _other_signals(res, mitigation, signal):
        take(fetch(other), other.service)
    return {name: _worst(columns) for name, columns in found.items()}


def _may_show(res: Resources, own: str, service: str | None) -> bool:
    return not service or res.config.catalog.are_related(service, own)


def _touched(res: Resources, mitigation: Mitigation) -> set[str]:
    with res.store.reading() as tx:
        holding = tx.mitigations.find({"state": tuple(HOLDING_STATES)})
    return {one.service for one in holding if one.id != mitigation.id}


def _other_signals(res: Resources, mitigation: Mitigation, signal: Signal) -> list[Signal]:
    """User-facing signals of the same kind and unit, for services that have nothing to do with it."""
    alike = [
        one
        for one in res.config.signals.values()
        if one.is_user_facing and one.name != signal.name and (one.kind, one.unit) == (signal.kind, signal.unit)
    ]
    return [one for one in alike if one.service and not _may_show(res, mitigation.service, one.service)][:_MOST_SIGNALS]


def _on_grid(times: FloatArray, matrix: SeriesMatrix) -> FloatArray:
    """The worst series at exactly these times; NaN where it has no sample."""
    known = dict(zip(matrix.timestamps.tolist(), worst_series(matrix).tolist(), strict=True))
    return np.array([known.get(at, np.nan) for at in times.tolist()], dtype=np.float64)


def _worst(columns: list[FloatArray]) -> FloatArray:
    filled = np.where(np.isfinite(columns), columns, -np.inf).max(axis=0)
    return np.where(np.isfinite(filled), filled, np.nan)
