"""Symptoms: what each node's slowness and failures cost, in units that can be compared between nodes.

A z-score of one node says nothing beside that of another. Extra request-seconds do: calls per row times how much longer
each took than before. So do failed calls. Whoever caused the target's extra seconds has about as many of its own, and
those who call it have the same ones again (`share` uses that).
"""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quell.triage.rootcause.shift import NULL_Z, measure_shifts, null_bars
from quell.triage.rootcause.vocabulary import Kind, Side
from quell.triage.rootcause.window import Floats, Observation

WEIGHT_OF_UNKNOWN_VOLUME = {Kind.LATENCY: 1.0, Kind.ERRORS: 100.0}


@dataclass(frozen=True, kw_only=True)
class Symptoms:
    """One family for all nodes that measure it; arrays are per node, `excess` is rows x nodes (NaN: unknown).

    `z` says how far outside normal a node is, `growth` is the natural logarithm of now by before.
    """

    kind: Kind  # LATENCY or ERRORS
    nodes: tuple[str, ...]
    metrics: tuple[str, ...]
    excess: Floats
    z: Floats
    growth: Floats
    base: Floats
    now: Floats
    volume: Floats  # mean calls per row now, NaN where unknown

    def place(self, node: str) -> int | None:
        return self.nodes.index(node) if node in self.nodes else None


@dataclass(frozen=True, kw_only=True)
class _Raw:
    nodes: tuple[str, ...]
    metrics: tuple[str, ...]
    before: Floats
    now: Floats
    requests_before: Floats
    requests: Floats
    is_count: npt.NDArray[np.bool_]


def read_latency(seen: Observation) -> Symptoms:
    """Extra request-seconds of every node that measures its own latency."""
    raw = _collect(seen, Kind.LATENCY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        shifts = measure_shifts(raw.before, raw.now, [Kind.LATENCY] * len(raw.nodes))
        base = np.where(np.isfinite(shifts.base), shifts.base, np.nanmin(raw.now, axis=0))
        weight = _weights(raw.requests, Kind.LATENCY)
        excess = weight * (raw.now - base)
        excess = np.where(~np.isfinite(raw.now) & (raw.requests == 0), 0.0, excess)
        volume = np.nanmean(raw.requests, axis=0)
    return Symptoms(
        kind=Kind.LATENCY, nodes=raw.nodes, metrics=raw.metrics, excess=excess, z=np.maximum(shifts.z, 0.0),
        growth=np.maximum(shifts.ratio, 0.0), base=base, now=shifts.now, volume=volume,
    )  # fmt: skip


def read_errors(seen: Observation) -> Symptoms:
    """Failed calls of every node that measures errors or availability; z as for counts (Poisson)."""
    raw = _collect(seen, Kind.ERRORS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        base = np.nan_to_num(np.nanmedian(raw.before, axis=0))
        weight = np.where(raw.is_count, 1.0, _weights(raw.requests, Kind.ERRORS))
        failed = weight * raw.now
        excess = failed - weight * base
        excess = np.where(~np.isfinite(raw.now) & (raw.requests == 0), 0.0, excess)
        usual = _usual_failures(raw)
        failed_rows = failed * seen.block
        expected = seen.block * np.nansum(np.where(np.isfinite(failed), weight * usual, np.nan), axis=0)
        got = np.nansum(failed_rows, axis=0)
        z: Floats = (got - expected) / np.sqrt(expected + 1)
        bar, _ = null_bars(
            _weights(raw.requests_before, Kind.ERRORS) * raw.before * seen.block, raw.now.shape[0], of_sums=True
        )
        bar = bar - expected
        z = np.where(bar > 0, np.fmin(z, NULL_Z * (got - expected) / bar), z)
        shifts = measure_shifts(raw.before, raw.now, [Kind.ERRORS] * len(raw.nodes))
        steady = np.nanmedian(raw.before, axis=0) > 0  # failing is part of its normal: its own noise counts as well
        z = np.where(steady, np.fmin(z, shifts.z), z)
        now = np.nanmean(raw.now, axis=0)
        growth = np.log((now + 0.01) / (usual + 0.01))
        volume = np.nanmean(raw.requests, axis=0)
    return Symptoms(
        kind=Kind.ERRORS, nodes=raw.nodes, metrics=raw.metrics, excess=excess, z=np.maximum(np.nan_to_num(z), 0.0),
        growth=np.maximum(np.nan_to_num(growth), 0.0), base=usual, now=now, volume=volume,
    )  # fmt: skip


def _usual_failures(raw: _Raw) -> Floats:
    """Mean failures before, with the worst tenth cut to its edge: rare bursts belong to normal, one outage does not."""
    edge = np.nanquantile(raw.before, 0.95, axis=0) if raw.before.shape[0] else np.zeros(len(raw.nodes))
    return np.nan_to_num(np.nanmean(np.minimum(raw.before, edge), axis=0))


def _weights(requests: Floats, kind: Kind) -> Floats:
    """Calls per row; a gap takes the node's mean, a node without counts takes the constant."""
    mean = np.nanmean(requests, axis=0)
    filled = np.where(np.isfinite(requests), requests, mean)
    known = np.isfinite(mean)
    if known.any() and not known.all():
        typical = float(np.nanmedian(mean[known]))
        return np.where(np.isfinite(filled), filled, typical)
    return np.where(np.isfinite(filled), filled, WEIGHT_OF_UNKNOWN_VOLUME[kind])


def _collect(seen: Observation, kind: Kind) -> _Raw:
    nodes: list[str] = []
    metrics: list[str] = []
    counts: list[bool] = []
    parts: list[tuple[Floats, Floats, Floats, Floats]] = []
    for node, places in seen.columns_of.items():
        chosen = _latency_columns(seen, places) if kind is Kind.LATENCY else _error_columns(seen, places)
        if not chosen:
            continue
        before, now, is_count = _latency(seen, chosen) if kind is Kind.LATENCY else _loss(seen, chosen)
        requests = _requests(seen, places)
        if is_count and _can_be_share(before, now, requests):
            before, now, is_count = before / np.maximum(requests[0], 1e-9), now / np.maximum(requests[1], 1e-9), False
        nodes.append(node)
        metrics.append(seen.columns[chosen[0]][1])
        counts.append(is_count)
        parts.append((before, now, *requests))
    stacked = [np.column_stack(part) for part in zip(*parts, strict=True)] if parts else []
    rows_before, rows_now = seen.normal.shape[0], seen.abnormal.shape[0]
    if not stacked:
        stacked = [np.empty((rows, 0)) for rows in (rows_before, rows_now, rows_before, rows_now)]
    return _Raw(
        nodes=tuple(nodes), metrics=tuple(metrics), before=stacked[0], now=stacked[1], requests_before=stacked[2],
        requests=stacked[3], is_count=np.array(counts, bool),
    )  # fmt: skip


def _latency_columns(seen: Observation, places: list[int]) -> list[int]:
    """The average if there is one, else all percentiles, else the first latency; of calls answered, not made."""
    of_kind = [p for p in places if seen.meanings[p].kind is Kind.LATENCY and seen.meanings[p].side is Side.ANSWERS]
    if average := [p for p in of_kind if seen.meanings[p].is_average]:
        return average[:1]
    if percentiles := [p for p in of_kind if seen.meanings[p].quantile is not None]:
        return sorted(percentiles, key=lambda p: seen.meanings[p].quantile or 0.0)
    return of_kind[:1]


def _latency(seen: Observation, chosen: list[int]) -> tuple[Floats, Floats, bool]:
    """Mean latency in seconds: as given, or as the area under the known percentiles (trapezoids, flat ends)."""
    scale = np.array([seen.meanings[p].unit_seconds or 1.0 for p in chosen])
    weights: Floats = quantile_weights([seen.meanings[p].quantile or 0.5 for p in chosen]) * scale
    return _weighted(seen.normal[:, chosen], weights), _weighted(seen.abnormal[:, chosen], weights), False


def _weighted(values: Floats, weights: Floats) -> Floats:
    return np.einsum("ij,j->i", values, weights)


def quantile_weights(quantiles: list[float]) -> Floats:
    """Weights of ascending quantiles in the mean of their distribution; they sum to 1.

    >>> quantile_weights([0.5, 0.9]).round(3).tolist()
    [0.7, 0.3]
    """
    inner = (np.array(quantiles[1:]) + np.array(quantiles[:-1])) / 2
    edges = np.concatenate(([0.0], inner, [1.0]))
    return np.diff(edges)


def _error_columns(seen: Observation, places: list[int]) -> list[int]:
    for kind in (Kind.SUCCESS, Kind.ERRORS):
        if found := [p for p in places if seen.meanings[p].kind is kind and seen.meanings[p].side is Side.ANSWERS]:
            return found[:1]
    return []


def _loss(seen: Observation, chosen: list[int]) -> tuple[Floats, Floats, bool]:
    """Failures as a share in 0..1, or as a count when the values cannot be a share."""
    place = chosen[0]
    before, now = seen.normal[:, place], seen.abnormal[:, place]
    largest = float(np.nanmax(np.concatenate((before, now))))
    meaning = seen.meanings[place]
    if meaning.kind is Kind.SUCCESS:
        full = 1.0 if largest <= 1.0 else 100.0
        return 1 - before / full, 1 - now / full, False
    if meaning.is_share:
        full = 1.0 if largest <= 1.0 else 100.0
        return before / full, now / full, False
    return before, now, True


def _can_be_share(before: Floats, now: Floats, requests: tuple[Floats, Floats]) -> bool:
    """Failures per request make sense when there are requests, and hardly ever more failures than requests."""
    failures, calls = np.concatenate((before, now)), np.concatenate(requests)
    known = np.isfinite(failures) & np.isfinite(calls)
    return bool(
        known.any() and (calls[known] > 0).mean() > 0.5 and (failures[known] <= 1.05 * calls[known]).mean() > 0.9
    )


def _requests(seen: Observation, places: list[int]) -> tuple[Floats, Floats]:
    of_kind = [p for p in places if seen.meanings[p].kind is Kind.REQUESTS]
    of_kind.sort(key=lambda p: seen.meanings[p].side is Side.WAITS)
    if not of_kind:
        return np.full_like(seen.normal[:, 0], np.nan), np.full_like(seen.abnormal[:, 0], np.nan)
    return seen.normal[:, of_kind[0]], seen.abnormal[:, of_kind[0]]
