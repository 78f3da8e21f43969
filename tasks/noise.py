"""Noise in the record: what became of the incidents of every alert rule."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from quell.incidents.alert import Alert
from quell.incidents.anomaly import AnomalyLabel
from quell.incidents.incident import Incident, IncidentState
from quell.ports import Transaction
from quell.triage.noise import Followed, NoisyRule, rate_rules
from tasks.lookup import find_all
from tasks.resources import Resources


def find_noise(res: Resources, period: timedelta) -> list[NoisyRule]:
    """Every rule that alerted in the period up to now, the noisiest first."""
    since = res.clock() - period
    with res.store.reading() as tx:
        alerts = tx.alerts.find(after=("starts_at", since))
        return rate_rules(alerts, what_followed(tx, alerts, since))


def what_followed(tx: Transaction, alerts: Sequence[Alert], since: datetime) -> Mapping[str, Followed]:
    """Incident -> what anybody did about it, for the incidents of these alerts."""
    real = {a.fingerprint for a in tx.anomalies.find({"label": AnomalyLabel.REAL}, after=("last_at", since))}
    ids = {alert.incident for alert in alerts if alert.incident}
    labelled = {alert.incident for alert in alerts if alert.fingerprint in real}
    acts: dict[str, set[str]] = defaultdict(set)
    owners: dict[str, str] = {}
    for mitigation in find_all(tx.mitigations, "incident", ids):
        owners[mitigation.id] = mitigation.incident or ""
        if mitigation.applied_at is not None:
            acts[mitigation.incident or ""].add("mitigated")
    for fix in find_all(tx.fixes, "incident", ids):
        owners[fix.id] = fix.incident
        acts[fix.incident].add("fix")
    for decision in find_all(tx.decisions, "subject", owners):
        acts[owners[decision.subject]].add("decision")
    incidents = find_all(tx.incidents, "id", ids)
    return {i.id: _followed(i, acts.get(i.id, set()), is_real=i.id in labelled) for i in incidents}


def _followed(incident: Incident, done: set[str], *, is_real: bool) -> Followed:
    acknowledged = {"acknowledged"} if incident.acknowledged_at is not None else set[str]()
    acts = frozenset(done | acknowledged | ({"labelled real"} if is_real else set()))
    return Followed(acts=acts, is_dismissed=incident.state is IncidentState.DISMISSED)
