"""Planned maintenance at work: which times of a signal teach nothing."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from quell.detection.baseline import Period
from quell.incidents.labels import SERVICE, SIGNAL, Labels
from quell.incidents.maintenance import maintenance_periods
from quell.incidents.signal import Signal
from tasks.resources import Resources


def planned_periods(res: Resources, signal: Signal, series: Iterable[Labels], now: datetime) -> tuple[Period, ...]:
    """The planned times in the signal's history that may show in it: of its series, and of what its service needs."""
    planned = res.config.maintenance
    if not planned:
        return ()
    return maintenance_periods(planned, _concerned(res, signal, series), since=now - signal.history, until=now)


def _concerned(res: Resources, signal: Signal, series: Iterable[Labels]) -> Iterator[Labels]:
    own = {SIGNAL: signal.name} | ({SERVICE: signal.service} if signal.service else {})
    services = {signal.service} if signal.service else set[str]()
    for labels in series:
        yield own | dict(labels)
        services |= {labels[SERVICE]} if SERVICE in labels else set()
    needed = {name for service in services for name in (service, *res.config.catalog.dependencies(service))}
    for name in sorted(needed):
        yield {SERVICE: name}
        known = res.config.catalog.service(name)
        yield from ({SERVICE: name, "instance": i.name} for i in (known.instances if known else ()))
