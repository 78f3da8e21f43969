"""Holds: what keeps an alert back now (silences, maintenance, inhibition), and what lets go of others again."""

from collections.abc import Iterable
from datetime import datetime

from quell.config.config import Config
from quell.incidents.alert import Alert, AlertOutcome, AlertStatus
from quell.ports import Transaction
from quell.triage.muting import Mute, find_mute, inhibition_hold
from tasks.ground import Ground


class Holds:
    """The holds of one sitting; `freed` are those whose reason has ended."""

    def __init__(self, tx: Transaction, config: Config, ground: Ground, now: datetime) -> None:
        self._maintenance = config.maintenance
        self._inhibit = config.rules.inhibit
        self._ground = ground
        self._now = now
        self._silences = [s for s in tx.silences.find(after=("ends_at", now)) if s.starts_at <= now < s.ends_at]
        self._batch: dict[str, Alert] = {}
        self.freed: dict[str, None] = {}

    def notice(self, news: Iterable[Alert]) -> None:
        """Alerts that may inhibit others count from here on, so that the order inside a batch does not matter."""
        batch = {alert.id: alert for alert in news}
        self._batch |= batch
        self._ground.survey(batch.values(), self.keys)
        for alert in batch.values():
            if alert.status is AlertStatus.FIRING and self.mute(alert) is None:
                self._ground.step_alert(alert, self._source_keys(alert))

    def mute(self, alert: Alert) -> Mute | None:
        return find_mute(
            alert,
            self._ground.kinship.labels_of(alert),
            silences=self._silences,
            maintenance=self._maintenance,
            inhibit=self._inhibit,
            sources=self._sources,
            now=self._now,
        )

    def keys(self, alert: Alert) -> list[str]:
        """Where an alert that inhibits this one would have stepped."""
        labels = self._ground.kinship.labels_of(alert)
        return [rule.key(labels) for rule in self._inhibit]

    def watch(self, alert: Alert) -> None:
        """After a decision: the alert inhibits others from now on, or no longer."""
        keys = self._source_keys(alert)
        if keys and alert.status is AlertStatus.FIRING and alert.outcome is not AlertOutcome.MUTED:
            self._ground.step_alert(alert, keys)
        elif keys:
            self._let_go(alert)

    def end(self, alert: Alert) -> None:
        """The alert is over."""
        if self._source_keys(alert):
            self._let_go(alert)

    def _let_go(self, alert: Alert) -> None:
        self._ground.lift(alert.id)
        self.freed[inhibition_hold(alert.id)] = None

    def _source_keys(self, alert: Alert) -> list[str]:
        labels = self._ground.kinship.labels_of(alert)
        return [rule.key(labels) for rule in self._inhibit if rule.is_source(labels)]

    def _sources(self, key: str) -> list[Alert]:
        found = (self._ground.alert(owner) or self._batch.get(owner) for owner in self._ground.owners(key))
        firing = [a for a in found if a is not None and a.status is AlertStatus.FIRING]
        return [alert for alert in firing if alert.outcome is not AlertOutcome.MUTED]
