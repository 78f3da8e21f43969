"""Surroundings: what the signals say of an incident's services and of those around them, before and during it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zlib import crc32

import numpy as np

from quell.incidents.labels import Labels
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.service import Catalog
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.triage.effect import CLIENT
from quell.triage.rootcause.calls import Edge
from quell.triage.rootcause.vocabulary import Kind, read_metric
from quell.triage.rootcause.window import Column, Floats, Window

MOST_NODES = 100
SLACK = timedelta(minutes=1)  # an onset may be known this late: what lies in between belongs to neither window
LEAST_BEFORE, LEAST_DURING = 10, 3  # rows
Period = tuple[datetime, datetime]

_KINDS = {
    SignalKind.ERROR_RATIO: (frozenset({Kind.ERRORS, Kind.SUCCESS}), "errors"),
    SignalKind.LATENCY: (frozenset({Kind.LATENCY}), "latency"),
    SignalKind.TRAFFIC: (frozenset({Kind.REQUESTS}), "requests"),
    SignalKind.SATURATION: (
        frozenset({Kind.CPU, Kind.MEMORY, Kind.DISK, Kind.NETWORK, Kind.SATURATION}),
        "saturation",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """`signals` gives back the signal's name for each metric; `lacking` says what is missing for a judgement."""

    normal: Window
    abnormal: Window
    signals: Mapping[str, str]
    lacking: str = ""
    is_early: bool = False  # what is lacking are rows of the incident, and they come by themselves


def services_around(services: Iterable[str], catalog: Catalog, *, most: int = MOST_NODES) -> tuple[str, ...]:
    """The services, then who calls them and whom they call, then what those need; at most so many nodes in all."""
    found: dict[str, None] = {}
    first = list(dict.fromkeys(services))
    ring, room = first, most
    while ring:
        callees: list[str] = []
        callers: list[str] = []
        for name in ring:
            service = catalog.service(name)
            size = 1 + (len(service.instances) if service else 0)
            if name in found or size > room:
                continue
            found[name] = None
            room -= size
            callees += service.depends_on if service else ()
            callers += catalog.callers.get(name, ()) if ring is first else ()
        ring = callees + callers
    return tuple(found)


def calls_between(services: Iterable[str], catalog: Catalog) -> tuple[Edge, ...]:
    """Service to service, instances to what their service calls, and a service to its own instances."""
    edges: dict[Edge, None] = {}
    for name in services:
        service = catalog.service(name)
        if service is None:
            continue
        edges.update(((name, instance.name), None) for instance in service.instances)
        for needed in service.depends_on:
            edges.update(((caller, needed), None) for caller in (name, *(i.name for i in service.instances)))
    return tuple(edges)


def metric_of(signal: Signal) -> str:
    """The signal's name, in words that say its kind: a name may say something else, or nothing.

    The unit goes with a latency, and a share is called one.
    """
    kinds, word = _KINDS.get(signal.kind, (frozenset[Kind](), ""))
    name = signal.name
    if kinds and read_metric(name).kind not in kinds:
        name = f"{word} {crc32(name.encode())}"
    if signal.kind is SignalKind.ERROR_RATIO:
        if signal.direction is Direction.LOW and read_metric(name).kind is Kind.ERRORS:
            name = f"success {crc32(signal.name.encode())}"
        return name if read_metric(name).is_share else f"{name} ratio"
    if signal.kind is SignalKind.LATENCY and read_metric(name).unit_seconds is None and signal.unit:
        return f"{name} {signal.unit}"
    return name


def node_of(labels: Labels, signal: Signal, catalog: Catalog, services: frozenset[str]) -> str | None:
    """The instance or service that a series measures; None for a client, and for what is not around."""
    if labels.get(CLIENT):
        return None
    instance = catalog.instance(labels.get("instance", ""))
    service = instance.service if instance else labels.get("service") or signal.service
    if service not in services:
        return None
    return labels.get("instance") or service


def survey(
    answers: Sequence[tuple[Signal, SeriesMatrix]],
    *,
    services: Iterable[str],
    catalog: Catalog,
    onset: datetime,
    earlier: Iterable[Period] = (),
    most: int = MOST_NODES,
) -> Surroundings:
    """The answers of one grid as two windows; `earlier` are troubles that must not count as normal."""
    around = frozenset(services)
    columns: dict[Column, FloatArray] = {}
    names: dict[str, str] = {}
    nodes: set[str] = set()
    for signal, matrix in answers:
        metric = metric_of(signal)
        for place, labels in enumerate(matrix.labels):
            node = node_of(labels, signal, catalog, around)
            if node is None or (node not in nodes and len(nodes) >= most):
                continue
            nodes.add(node)
            names[metric] = signal.name
            values = np.where(np.isfinite(matrix.values[:, place]), matrix.values[:, place], np.nan)
            column = (node, metric)
            columns[column] = _united(columns[column], values, signal) if column in columns else values
    times = answers[0][1].timestamps if answers else np.empty(0)
    return _split(columns, names, times, onset, tuple(earlier))


def _united(one: FloatArray, other: FloatArray, signal: Signal) -> FloatArray:
    """Several series of one node: traffic adds up, of everything else the worst counts."""
    if signal.kind is SignalKind.TRAFFIC:
        both = np.nan_to_num(one) + np.nan_to_num(other)
        return np.where(np.isnan(one) & np.isnan(other), np.nan, both)
    return np.fmin(one, other) if signal.direction is Direction.LOW else np.fmax(one, other)


def _split(
    columns: Mapping[Column, FloatArray],
    names: Mapping[str, str],
    times: FloatArray,
    onset: datetime,
    earlier: tuple[Period, ...],
) -> Surroundings:
    keys = tuple(columns)
    values: Floats = np.column_stack(list(columns.values())) if keys else np.empty((len(times), 0))
    before = times < (onset - SLACK).timestamp()
    for start, end in earlier:
        before &= ~((times >= start.timestamp()) & (times <= end.timestamp()))
    during = times >= onset.timestamp()
    known = np.isfinite(values).any(axis=1)
    rows = int((before & known).sum()), int((during & known).sum())
    return Surroundings(
        normal=Window(columns=keys, values=values[before]),
        abnormal=Window(columns=keys, values=values[during]),
        signals=names,
        lacking=_lacking(bool(keys), *rows),
        is_early=bool(keys) and rows[0] >= LEAST_BEFORE and rows[1] < LEAST_DURING,
    )


def _lacking(has_series: bool, before: int, during: int) -> str:
    if not has_series:
        return "no signal measures these services"
    if before < LEAST_BEFORE:
        return f"{before} rows of metrics lie before the onset, {LEAST_BEFORE} are needed"
    if during < LEAST_DURING:
        return f"{during} rows of metrics lie after the onset, {LEAST_DURING} are needed"
    return ""
