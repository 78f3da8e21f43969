"""Kinship: the keys under which an alert is found, and those under which it looks for what it belongs to."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from quell.incidents.alert import Alert
from quell.incidents.change import Change
from quell.incidents.labels import SERVICE, SIGNAL, Labels
from quell.incidents.service import Catalog
from quell.triage.linking import ONSET_SLACK
from quell.triage.relation import UNKNOWN_SERVICE, Relation, relate, service_of

SERVICE_KEY = "service:"
CHANGE_KEY = "change:"


class Kinship:
    """Who is related to whom, remembered for one sitting. Relations are symmetric, and more knowledge only adds some.

    That is what makes the grouping independent of the order in which alerts arrive.
    """

    def __init__(self, catalog: Catalog, changes: Iterable[Change] = (), *, after_change: timedelta) -> None:
        self.catalog = catalog
        self._after_change = after_change
        self._related: dict[str, Mapping[str, Relation]] = {}
        self._changes: dict[str, list[Change]] = {}
        self._touching: dict[str, list[tuple[str, Change]]] = {}  # service -> the changes that may show in it
        for change in changes:
            self.learn(change)

    def learn(self, change: Change) -> frozenset[str]:
        """Take a change into account; returns the services in which it may show."""
        key = CHANGE_KEY + (change.commit or change.id)
        self._changes.setdefault(key, []).append(change)
        reach = frozenset({change.service, *self.catalog.dependents(change.service)})
        for service in reach:
            self._touching.setdefault(service, []).append((key, change))
        return reach

    def service_of(self, alert: Alert) -> str:
        return service_of(alert, self.catalog)

    def labels_of(self, alert: Alert) -> Labels:
        """Its labels as selections see them: the instance tells the service where no label does."""
        service = self.service_of(alert)
        return alert.labels if service == UNKNOWN_SERVICE else {SERVICE: service} | dict(alert.labels)

    def keys_of(self, alert: Alert) -> tuple[str, ...]:
        """Where the alert leaves its footprints."""
        service = self.service_of(alert)
        keys = [f"alert:{alert.fingerprint}"]
        if alert.instance:
            keys.append(f"instance:{alert.instance}")
        keys.append(_nameless(alert) if service == UNKNOWN_SERVICE else SERVICE_KEY + service)
        return (*keys, *self._changes_before(alert, service), self.alike(alert))

    def alike(self, alert: Alert) -> str:
        """The same trouble: same service and same alert, and the same signal (all of the sweep's have one name)."""
        return f"alike:{self.service_of(alert)}|{alert.name}|{alert.labels.get(SIGNAL, '')}"

    def sought_by(self, alert: Alert) -> Mapping[str, Relation]:
        """The keys at which relatives are found, with what that makes them; nearest first."""
        service = self.service_of(alert)
        found = {f"alert:{alert.fingerprint}": Relation(hops=-2, words="the same alert fires again", rule="same alert")}
        if alert.instance:
            words = f"same instance {alert.instance}"
            found[f"instance:{alert.instance}"] = Relation(hops=-1, words=words, rule="same instance")
        if service == UNKNOWN_SERVICE:
            words = f"neither names a service, and the alert name is the same: {alert.name}"
            found[_nameless(alert)] = Relation(hops=9, words=words, rule="same alert name")
        found |= self.related(service)
        for key in self._changes_before(alert, service):
            found[key] = self._by_change(key)
        return found

    def related(self, service: str) -> Mapping[str, Relation]:
        """The services that reach this one by calls or are reached by it, itself included, by key."""
        if service not in self._related:
            reach = {service} | self.catalog.dependencies(service) | self.catalog.dependents(service)
            found = {SERVICE_KEY + other: relate(service, other, self.catalog) for other in sorted(reach)}
            self._related[service] = {key: link for key, link in found.items() if link is not None}
        return self._related[service]

    def relation(self, one: Alert, other: Alert) -> Relation | None:
        """How two alerts are related, whatever their times."""
        sought = self.sought_by(one)
        links = [sought[key] for key in self.keys_of(other) if key in sought]
        return min(links, key=lambda link: link.hops, default=None)

    def began_after(self, change: Change, alert: Alert) -> bool:
        return change.at - ONSET_SLACK <= alert.starts_at <= change.at + self._after_change

    def _changes_before(self, alert: Alert, service: str) -> list[str]:
        found = (key for key, change in self._touching.get(service, ()) if self.began_after(change, alert))
        return list(dict.fromkeys(found))

    def _by_change(self, key: str) -> Relation:
        changes = self._changes[key]
        name = changes[0].commit[:7] if changes[0].commit else changes[0].id
        where = " and ".join(sorted({change.service for change in changes})[:3])
        return Relation(hops=8, words=f"both began right after change {name} of {where}", rule="shared change")


def _nameless(alert: Alert) -> str:
    return f"nameless:{alert.name}|{alert.labels.get(SIGNAL, '')}"
