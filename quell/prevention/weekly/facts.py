"""The facts of a week: the records that its report is computed from, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from quell.incidents.alert import Alert
from quell.incidents.change import Change
from quell.incidents.decision import Decision
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.mitigation import Mitigation
from quell.incidents.service import Catalog
from quell.incidents.threshold import ThresholdVersion
from quell.prevention.weekly.figure import Behind, BehindKind
from quell.prevention.weekly.week import Week

_RUN_ID_LENGTH = 36  # a flow run's id; "in process" and the like are none


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`incidents` were opened, `alerts` began and `mitigations` were planned in the week; what was merged into another
    incident is left out.

    `changes` are those that an incident's first suspect is accused of, `fixes` those of the incidents, `proposals`
    limits proposed in the week, `decisions` those on the mitigations, fixes and limits, `wrongly_refused` requests by
    safeguard.
    """

    week: Week
    now: datetime
    incidents: tuple[Incident, ...] = ()
    alerts: tuple[Alert, ...] = ()
    mitigations: tuple[Mitigation, ...] = ()
    decisions: tuple[Decision, ...] = ()
    proposals: tuple[ThresholdVersion, ...] = ()
    changes: Mapping[str, Change] = field(default_factory=dict[str, Change])
    fixes: tuple[Fix, ...] = ()
    wrongly_refused: Mapping[str, int] = field(default_factory=dict[str, int])
    catalog: Catalog = field(default_factory=Catalog)

    @property
    def fixed(self) -> frozenset[str]:
        """The incidents that a promoted fix ended."""
        return frozenset(fix.incident for fix in self.fixes if fix.state is FixState.PROMOTED)

    @property
    def real(self) -> tuple[Incident, ...]:
        """Those that nobody dismissed as a false alarm."""
        return tuple(i for i in self.incidents if i.state is not IncidentState.DISMISSED)


def behind_incident(incident: Incident, value: float | None = None) -> Behind:
    runs = runs_of(*incident.flow_runs.values())
    return Behind(kind=BehindKind.INCIDENT, id=incident.id, value=value, incident=incident.id, runs=runs)


def behind_mitigation(mitigation: Mitigation, value: float | None = None) -> Behind:
    runs = runs_of(mitigation.flow_run)
    return Behind(kind=BehindKind.MITIGATION, id=mitigation.id, value=value, incident=mitigation.incident, runs=runs)


def behind_alert(alert: Alert, value: float | None = None) -> Behind:
    return Behind(kind=BehindKind.ALERT, id=alert.id, value=value, incident=alert.incident)


def runs_of(*ids: str | None) -> tuple[str, ...]:
    """Those that are ids of flow runs, each once."""
    return tuple(dict.fromkeys(id for id in ids if id and len(id) == _RUN_ID_LENGTH and " " not in id))
