"""Noise in the record: what became of the incidents of every alert rule."""

from datetime import timedelta

from quell.incidents.anomaly import AnomalyLabel
from quell.incidents.incident import Incident, IncidentState
from quell.ports import Transaction
from quell.triage.noise import Followed, NoisyRule, rate_rules
from tasks.resources import Resources


def find_noise(res: Resources, period: timedelta) -> list[NoisyRule]:
    """Every rule that alerted in the period up to now, the noisiest first."""
    since = res.clock() - period
    with res.store.reading() as tx:
        alerts = tx.alerts.find(after=("starts_at", since))
        real = {a.fingerprint for a in tx.anomalies.find({"label": AnomalyLabel.REAL}, after=("last_at", since))}
        ids = {alert.incident for alert in alerts if alert.incident}
        labelled = {alert.incident for alert in alerts if alert.fingerprint in real}
        followed = {
            id: _followed(tx, incident, is_real=id in labelled)
            for id in ids
            if (incident := tx.incidents.get(id)) is not None
        }
    return rate_rules(alerts, followed)


def _followed(tx: Transaction, incident: Incident, *, is_real: bool) -> Followed:
    mitigations = tx.mitigations.find({"incident": incident.id})
    fixes = tx.fixes.find({"incident": incident.id})
    subjects = (*(m.id for m in mitigations), *(f.id for f in fixes))
    acts = {
        "acknowledged": incident.acknowledged_at is not None,
        "mitigated": any(m.applied_at is not None for m in mitigations),
        "fix": bool(fixes),
        "decision": bool(subjects) and tx.decisions.count({"subject": subjects}) > 0,
        "labelled real": is_real,
    }
    is_dismissed = incident.state is IncidentState.DISMISSED
    return Followed(acts=frozenset(name for name, done in acts.items() if done), is_dismissed=is_dismissed)
