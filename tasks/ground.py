"""The ground of one sitting: what triage has to know of the record, read by index and written once at the end.

A sitting reads what its alerts can be related to, found by footprints; never all that is open.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from quell.config.config import Config
from quell.incidents.alert import Alert, AlertId, AlertOutcome
from quell.incidents.footprint import footprint
from quell.incidents.incident import Incident, IncidentId
from quell.incidents.labels import Fingerprint
from quell.incidents.tally import Tally
from quell.ports import Transaction
from quell.triage.kinship import SERVICE_KEY, Kinship

MOST_EPISODES = 50  # of one label set: enough to see it flap
MOST_WAITING = 500
MOST_CHANGES = 500


@dataclass(kw_only=True)
class Case:
    """An incident while triage works on it: the alerts heard of in this sitting, and the keys it newly stepped on."""

    incident: Incident
    news: dict[AlertId, Alert] = field(default_factory=dict[AlertId, Alert])
    new_keys: set[str] = field(default_factory=set[str])
    has_grown: bool = False

    @property
    def tally(self) -> Tally:
        return self.incident.tally or Tally()

    @property
    def services(self) -> list[str]:
        """The incident's own service first, then those of its alerts."""
        return list(dict.fromkeys((self.incident.service, *self.tally.services)))


class Ground:
    def __init__(self, tx: Transaction, config: Config, now: datetime) -> None:
        self._tx = tx
        self.now = self._now = now
        since = now - max(config.grouping.after_change, config.grouping.change_window)
        recent = tx.changes.find(after=("at", since), order="at", descending=True, limit=MOST_CHANGES)
        self.kinship = Kinship(config.catalog, recent, after_change=config.grouping.after_change)
        self._cases: dict[str, Case | None] = {}
        self._owners: dict[str, dict[str, None]] = {}
        self._stepped: dict[str, tuple[str, str]] = {}
        self._episodes: dict[Fingerprint, dict[AlertId, Alert]] = {}
        self._waiting: dict[AlertId, Alert] | None = None
        self._dirty: dict[AlertId, Alert] = {}

    # ---- reading ------------------------------------------------------------------------------------------------

    def survey(self, alerts: Iterable[Alert], more: Callable[[Alert], Iterable[str]] = lambda _: ()) -> None:
        """Read at once what these alerts will ask for."""
        news = list(alerts)
        keys: set[str] = set()
        for alert in news:
            keys.update(self.kinship.sought_by(alert), (self.kinship.alike(alert),), more(alert))
        self.look_at(keys)
        self.load_cases(owner for key in keys for owner in self._owners[key])
        marks = {alert.fingerprint for alert in news} - self._episodes.keys()
        for mark in marks:
            self._episodes[mark] = {}
        if marks:
            found = self._tx.alerts.find(
                {"fingerprint": tuple(marks)},
                order="starts_at",
                descending=True,
                limit=MOST_EPISODES * max(1, len(marks)),
            )
            for alert in found:
                self._episodes[alert.fingerprint][alert.id] = self._dirty.get(alert.id, alert)

    def look_at(self, keys: Iterable[str]) -> None:
        unknown = [key for key in keys if key not in self._owners]
        for key in unknown:
            self._owners[key] = {}
        if unknown:
            for step in self._tx.footprints.find({"key": tuple(unknown)}):
                self._owners[step.key][step.owner] = None

    def load_cases(self, ids: Iterable[str]) -> None:
        unknown = sorted({id for id in ids if id.startswith("INC-") and id not in self._cases})
        if unknown:
            self._cases |= dict.fromkeys(unknown)
            for incident in self._tx.incidents.find({"id": tuple(unknown)}):
                self._cases[incident.id] = Case(incident=incident)

    def owners(self, key: str) -> list[str]:
        self.look_at([key])
        return list(self._owners[key])

    def case(self, id: str) -> Case | None:
        self.load_cases([id])
        return self._cases.get(id)

    def active_at(self, keys: Iterable[str]) -> list[Case]:
        """The active incidents that stepped on one of these keys, oldest first."""
        wanted = list(keys)
        self.look_at(wanted)
        ids = dict.fromkeys(owner for key in wanted for owner in self._owners[key])
        self.load_cases(ids)
        found = [case for id in ids if (case := self._cases.get(id)) is not None and case.incident.is_active]
        return sorted(found, key=lambda case: (case.incident.onset_at, case.incident.id))

    def episodes(self, alert: Alert) -> list[Alert]:
        """Other episodes of the same label set, the earliest first."""
        if alert.fingerprint not in self._episodes:
            self.survey([alert])
        others = [known for known in self._episodes[alert.fingerprint].values() if known.id != alert.id]
        return sorted(others, key=lambda known: (known.starts_at, known.id))

    def alert(self, id: str) -> Alert | None:
        return self._dirty.get(AlertId(id)) or self._tx.alerts.get(id)

    def alerts_of(self, incident: str) -> list[Alert]:
        """All alerts of an incident, as they are now: for merging and splitting only."""
        stored = [self._dirty.get(a.id, a) for a in self._tx.alerts.find({"incident": incident})]
        found = {alert.id: alert for alert in (*stored, *self._dirty.values()) if alert.incident == incident}
        return list(found.values())

    def waiting(self) -> list[Alert]:
        """The newest alerts that wait: they join what opens later, and count towards thresholds."""
        if self._waiting is None:
            found = self._tx.alerts.find(
                {"outcome": AlertOutcome.WAITING}, order="id", descending=True, limit=MOST_WAITING
            )
            self._waiting = {alert.id: alert for alert in found}
            for alert in self._dirty.values():
                self._note_waiting(alert)
        return sorted(self._waiting.values(), key=lambda alert: (alert.starts_at, alert.id))

    def held_by(self, hold: str, *, limit: int) -> list[Alert]:
        """What a hold keeps back; an alert that is over is held by nothing."""
        found = self._tx.alerts.find({"held_by": hold}, limit=limit)
        return [alert for alert in (self._dirty.get(a.id, a) for a in found) if alert.held_by == hold]

    # ---- writing ------------------------------------------------------------------------------------------------

    def put(self, alert: Alert) -> None:
        self._dirty[alert.id] = alert
        self._episodes.setdefault(alert.fingerprint, {})[alert.id] = alert
        self._note_waiting(alert)

    def _note_waiting(self, alert: Alert) -> None:
        if self._waiting is None:
            return
        self._waiting.pop(alert.id, None)
        if alert.outcome is AlertOutcome.WAITING:
            self._waiting[alert.id] = alert

    def add_case(self, case: Case) -> None:
        self._cases[case.incident.id] = case

    def step(self, case: Case, keys: Iterable[str]) -> None:
        """Leave the incident's footprints where they are new."""
        self.look_at(keys)
        for key in keys:
            if self._tread(key, case.incident.id):
                case.new_keys.add(key)
                case.has_grown = True

    def step_alert(self, alert: Alert, keys: Iterable[str]) -> None:
        for key in keys:
            self.look_at([key])
            self._tread(key, alert.id)

    def _tread(self, key: str, owner: str) -> bool:
        if owner in self._owners[key]:
            return False
        self._owners[key][owner] = None
        self._stepped[f"{owner} {key}"] = (key, owner)
        return True

    def lift(self, owner: str) -> list[str]:
        """Take an owner's footprints away; returns the keys."""
        self._write_footprints()
        found = self._tx.footprints.find({"owner": owner})
        for step in found:
            self._tx.footprints.delete(step.id)
        for owners in self._owners.values():
            owners.pop(owner, None)
        return [step.key for step in found]

    def move_footprints(self, from_: str, into: Case) -> None:
        self.step(into, self.lift(from_))

    def flush(self) -> None:
        """Write what was put; reading goes on from what is written."""
        self._tx.alerts.put_all(self._dirty.values())
        self._dirty.clear()
        self._write_footprints()

    def _write_footprints(self) -> None:
        self._tx.footprints.put_all(footprint(key, owner, self._now) for key, owner in self._stepped.values())
        self._stepped.clear()

    # ---- entering -----------------------------------------------------------------------------------------------

    def enter(self, case: Case, alert: Alert) -> None:
        """Count an alert in, whatever its outcome; what it measured is judged later."""
        tally = case.tally.entered(alert, self.kinship.service_of(alert))
        onset, back = min(case.incident.onset_at, alert.starts_at), case.incident.back_at
        if back and case.incident.calm_at and case.incident.calm_at < alert.starts_at < back:
            back = alert.starts_at
        case.incident = replace(case.incident, tally=tally, onset_at=onset, back_at=back)
        case.has_grown = True
        if alert.outcome is not AlertOutcome.DUPLICATE:
            case.news[alert.id] = alert
        self.step(case, self.kinship.keys_of(alert))

    def related_keys(self, case: Case) -> set[str]:
        """Where incidents that belong together with this one would have stepped."""
        keys = {key for key in case.new_keys if not key.startswith((SERVICE_KEY, "alike:"))}
        for service in case.services:
            keys.update(self.kinship.related(service))
        return keys


def new_id(tx: Transaction) -> IncidentId:
    return IncidentId(f"INC-{tx.next_number('INC')}")
