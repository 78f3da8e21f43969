"""A tally: what is counted of an incident's alerts, so that nobody has to read them all."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from quell.incidents.alert import REPORTS_ALERT, Alert, AlertStatus

Counts = Mapping[str, int]


def _none() -> Counts:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """`firing` and `last_end_at` leave out what users reported: reports do not end by themselves.

    `services` counts alerts by service, `severities` the firing ones by severity label. `gathered` counts what is not
    yet told on the timeline, by what happened; `sample` is the first of it in words.
    """

    alerts: int = 0
    firing: int = 0
    last_end_at: datetime | None = None
    services: Counts = field(default_factory=_none)
    severities: Counts = field(default_factory=_none)
    gathered: Counts = field(default_factory=_none)
    sample: str = ""
    told_at: datetime | None = None

    def entered(self, alert: Alert, service: str) -> "Tally":
        """With one more alert."""
        return replace(self, alerts=self.alerts + 1, services=_counted(self.services, service, 1))._state(alert, 1)

    def left(self, alert: Alert, service: str) -> "Tally":
        """Without an alert that moved to another incident."""
        counted = replace(self, alerts=self.alerts - 1, services=_counted(self.services, service, -1))
        return counted._state(alert, -1)

    def changed(self, before: Alert, after: Alert) -> "Tally":
        """An alert of it was heard of again."""
        return self._state(before, -1)._state(after, 1)

    def _state(self, alert: Alert, by: int) -> "Tally":
        if alert.name == REPORTS_ALERT:
            return replace(self, severities=_counted(self.severities, _label(alert), by)) if _fires(alert) else self
        if _fires(alert):
            severities = _counted(self.severities, _label(alert), by)
            return replace(self, firing=self.firing + by, severities=severities)
        ended = alert.ends_at or alert.updated_at
        if by < 0:
            return self
        return replace(self, last_end_at=max(ended, self.last_end_at or ended))


def _fires(alert: Alert) -> bool:
    return alert.status is AlertStatus.FIRING


def _label(alert: Alert) -> str:
    return (alert.severity_label or "").lower()


def _counted(counts: Counts, name: str, by: int) -> Counts:
    """
    >>> _counted({"a": 1}, "b", 1), _counted({"a": 1}, "a", -1)
    ({'a': 1, 'b': 1}, {})
    """
    left = counts.get(name, 0) + by
    return {**counts, name: left} if left > 0 else {key: count for key, count in counts.items() if key != name}
