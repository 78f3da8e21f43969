"""The alerts of an incident: counted by service and name, read a page at a time; ten thousand cost little."""

import json
from dataclasses import dataclass
from datetime import datetime

from quell.gateway.listing import read_mark
from quell.incidents.alert import Alert
from quell.incidents.errors import InvalidInput, NotFound
from quell.incidents.incident import Incident
from quell.ports import Store, Transaction

PAGE = 50
GROUPS_SHOWN = 40
SHOWN_AT_ONCE = 20  # so few stand on the page at once


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertGroup:
    name: str
    service: str | None
    firing: int
    total: int
    latest: datetime

    @property
    def key(self) -> str:
        """How a form names it."""
        return json.dumps([self.service, self.name])


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertGroups:
    """`alerts` are all of them where they are few, and none where they are many."""

    groups: tuple[AlertGroup, ...]
    alerts: tuple[Alert, ...]

    @property
    def total(self) -> int:
        return sum(group.total for group in self.groups)

    @property
    def firing(self) -> int:
        return sum(group.firing for group in self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPage:
    alerts: tuple[Alert, ...]
    count: int
    older: str


def read_groups(tx: Transaction, incident: str) -> AlertGroups:
    """What fires first, then the newest."""
    tallies = tx.alerts.tally({"incident": incident}, by=("service", "name", "status"), latest="starts_at")
    found: dict[tuple[str | None, str | None], AlertGroup] = {}
    for tally in tallies:
        service, name, status = tally.values
        known = found.get((service, name))
        found[service, name] = AlertGroup(
            name=name or "",
            service=service,
            firing=(known.firing if known else 0) + (tally.count if status == "firing" else 0),
            total=(known.total if known else 0) + tally.count,
            latest=max(known.latest, tally.latest) if known else tally.latest,
        )
    groups = sorted(found.values(), key=lambda group: (group.firing > 0, group.latest), reverse=True)
    total = sum(group.total for group in groups)
    alerts = tx.alerts.find({"incident": incident}, order="starts_at") if total <= SHOWN_AT_ONCE else []
    return AlertGroups(groups=tuple(groups), alerts=tuple(alerts))


def find_incident(tx: Transaction, id: str) -> Incident:
    """Raises NotFound."""
    found = tx.incidents.get(id)
    if found is None:
        raise NotFound(f"incident {id[:80]} does not exist: see / for those that do")
    return found


def read_alerts(
    store: Store, incident: str, *, service: str | None = None, name: str | None = None, q: str = "", after: str = ""
) -> AlertPage:
    """One page of an incident's alerts, the newest first. Raises InvalidInput or NotFound."""
    where: dict[str, object] = {"incident": incident}
    where |= {} if service is None else {"service": service or None}
    where |= {} if name is None else {"name": name}
    past = read_mark("after", after)
    with store.reading() as tx:
        find_incident(tx, incident)
        found = tx.alerts.find(where, containing=q[:200], past=past, order="starts_at", descending=True, limit=PAGE + 1)
        count = tx.alerts.count(where, containing=q[:200], at_most=10_001)
    shown = found[:PAGE]
    older = f"{shown[-1].starts_at.isoformat()}~{shown[-1].id}" if len(found) > PAGE else ""
    return AlertPage(alerts=tuple(shown), count=count, older=older)


def read_group(key: str) -> tuple[str | None, str]:
    """Service and name from `AlertGroup.key`. Raises InvalidInput."""
    try:
        service, name = json.loads(key)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"group is {key[:80]!r}: choose one on the page") from error
    if not isinstance(name, str) or not isinstance(service, str | None):
        raise InvalidInput(f"group is {key[:80]!r}: choose one on the page")
    return service, name
