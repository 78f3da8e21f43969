"""`quell check --live`: each part of the world is asked whether it has what the configuration names."""

import socket
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

from deployments.cli.check_haproxy import check_haproxy
from deployments.cli.check_repository import check_remotes, check_repositories, check_running
from deployments.cli.check_secrets import check_secrets
from deployments.cli.finding import Finding
from quell.adapters.metrics.prometheus import PrometheusSource
from quell.adapters.store.sql import SqlStore
from quell.adapters.tracker import look_at
from quell.config.config import Config
from quell.config.problem import did_you_mean
from quell.config.query import metrics_of
from quell.incidents.errors import InvalidInput, QuellError
from quell.incidents.signal import Signal


def check_live(config: Config) -> Iterator[Finding]:
    """Look at everything that the configuration names. A part that does not answer is one finding, not many."""
    parts: tuple[tuple[str, Callable[[Config], Iterable[Finding]]], ...] = (
        ("store", check_store),
        ("prometheus", check_signals),
        ("dask", check_dask),
        ("haproxy", check_haproxy),
        ("repository", check_repositories),
        ("remote", check_remotes),
        ("running", check_running),
        ("secrets", check_secrets),
        ("tracker", check_tracker),
    )
    for part, look in parts:
        yield from _guarded(part, look, config)


def _guarded(part: str, look: Callable[[Config], Iterable[Finding]], config: Config) -> Iterator[Finding]:
    try:
        yield from look(config)
    except QuellError as error:
        yield Finding(part=part, subject=part, is_ok=False, text=str(error))


def check_store(config: Config) -> Iterator[Finding]:
    store = SqlStore(config.connections.store)
    try:
        with store.reading() as tx:
            count = tx.incidents.count()
    finally:
        store.close()
    yield Finding(part="store", subject="store", is_ok=True, text=f"opens, holds {count} incidents")


def check_signals(config: Config) -> Iterator[Finding]:
    """Whether Prometheus accepts every signal's query and has series for it."""
    source = PrometheusSource(config.connections.prometheus, timeout=config.connections.timeout)
    try:
        known = source.metric_names()
        for signal in config.signals.values():
            yield _check_signal(signal, source, known)
    finally:
        source.close()


def _check_signal(signal: Signal, source: PrometheusSource, known: frozenset[str]) -> Finding:
    def finding(is_ok: bool, text: str) -> Finding:
        return Finding(part="prometheus", subject=signal.name, is_ok=is_ok, text=text)

    try:
        series = len(source.instant(signal.query).labels)
    except InvalidInput as error:
        return finding(False, str(error))
    missing = [
        f'metric "{name}" does not exist{did_you_mean(name, known)}'
        for name in metrics_of(signal.query)
        if name not in known
    ]
    if missing:
        return finding(False, "; ".join(missing))
    if series == 0:
        return finding(False, "returns no series now: its metrics exist, so a label in the query matches nothing")
    return finding(True, f"{series} series")


def check_dask(config: Config) -> Iterator[Finding]:
    """Whether something listens where the configuration has its Dask scheduler."""
    address = config.detection.dask_scheduler
    if address is None:
        return
    parts = urlsplit(address)
    try:
        with socket.create_connection(
            (str(parts.hostname), parts.port or 0), config.connections.timeout.total_seconds()
        ):
            yield Finding(part="dask", subject="scheduler", is_ok=True, text=f"{address} answers")
    except OSError as error:
        text = f"{address} cannot be reached ({error}): sweeps run in threads until it can"
        yield Finding(part="dask", subject="scheduler", is_ok=False, text=text)


def check_tracker(config: Config) -> Iterator[Finding]:
    """Whether the token may list the issues of every project; nothing is made, so a webhook cannot be tried."""
    tracker = config.tracker
    for project in sorted({tracker.project, *tracker.projects.values()}) if tracker else ():
        if tracker and tracker.kind != "webhook":
            look_at(tracker, project)
            yield Finding(part="tracker", subject=project, is_ok=True, text=f"{tracker.kind} lists its issues")
