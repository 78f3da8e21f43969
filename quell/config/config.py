"""What a configuration folder says, as types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from quell.config.source import Source
from quell.incidents.decision import Person
from quell.incidents.event_source import EventSource, ReportLimits
from quell.incidents.maintenance import Maintenance
from quell.incidents.service import Catalog
from quell.incidents.signal import Signal
from quell.prevention.standing_limit import StandingPolicy
from quell.resolution.policy import CanaryPolicy
from quell.response.fix_approval import FixPolicy
from quell.response.playbook import FleetLimits, Playbook
from quell.triage.notification_route import Notifying
from quell.triage.rules import Rules

PagesAccess = Literal["open", "signed-in"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """Where things are. Times are limits of one call."""

    store: str = field(repr=False)  # sqlite:///PATH or postgresql+psycopg://..., which may hold a password
    prometheus: str
    prometheus_rules: Path | None = None  # where accepted rule files go
    prometheus_rules_branch: str = ""  # each is a commit on this branch, which is checked out there; empty: no commits
    prometheus_rules_remote: str = ""  # whose branch counts then
    alertmanager: str | None = None
    haproxy_socket: str | None = None  # path of the runtime API's unix socket, or host:port
    haproxy_maps: Path | None = None  # folder with limits.map, knobs.map, standing.map, ...
    haproxy_state: Path | None = None  # server-state file
    gateway_host: str = "127.0.0.1"
    gateway_port: int = 8800
    public_url: str | None = None  # how people reach the gateway, if not by host and port
    prefect_ui: str | None = None
    drill_ground: str | None = None  # the control API of a sandbox, where drills break things
    timeout: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    sweep: timedelta = timedelta(seconds=30)
    refresh_baselines: timedelta = timedelta(hours=1)
    reconcile: timedelta = timedelta(seconds=15)
    drift: timedelta = timedelta(minutes=3)
    responder_poll: timedelta = timedelta(milliseconds=100)
    stale_after: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """`false_alarms_per_week` is the budget per series from which the band's width follows."""

    false_alarms_per_week: float = 0.5
    shard_size: int = 2000
    minimum_samples: int = 30
    confirm_sweeps: int = 1  # anomalous this many sweeps in a row before an alert
    dask_scheduler: str | None = None  # tcp://host:port; shards run there instead of in threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Alerts of related services within `window` belong to one incident; a resolved one reopens within `reopen`."""

    window: timedelta = timedelta(minutes=10)
    reopen: timedelta = timedelta(minutes=5)
    change_window: timedelta = timedelta(hours=1)
    after_change: timedelta = timedelta(minutes=10)  # alerts that began so soon after one change belong together
    quiet: timedelta = timedelta(minutes=2)  # nothing has fired for so long, and nothing of Quell holds: it is over


@dataclass(frozen=True, slots=True, kw_only=True)
class ActuatorSettings:
    """One actuator as actuators.yaml names it; `settings` is what its kind reads, `source` where it is written."""

    name: str
    kind: str  # an entry point in the group quell.actuators
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    source: Source = field(default=Source(file=""), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """Where action items become issues. `projects` names another project for the items of some teams; the token is
    read for each call, by reference."""

    kind: Literal["github", "gitlab", "webhook"]
    url: str
    project: str = ""
    projects: Mapping[str, str] = field(default_factory=dict[str, str])
    token: str = ""
    labels: tuple[str, ...] = ()
    timeout: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True)
class Config:
    folder: Path
    connections: Connections
    catalog: Catalog = field(default_factory=Catalog)
    signals: Mapping[str, Signal] = field(default_factory=dict[str, Signal])
    playbooks: Mapping[str, Playbook] = field(default_factory=dict[str, Playbook])
    people: Mapping[str, Person] = field(default_factory=dict[str, Person])
    actuators: Mapping[str, ActuatorSettings] = field(default_factory=dict[str, ActuatorSettings])
    intervals: Intervals = field(default_factory=Intervals)
    detection: Detection = field(default_factory=Detection)
    grouping: Grouping = field(default_factory=Grouping)
    maintenance: tuple[Maintenance, ...] = ()
    rules: Rules = field(default_factory=Rules)
    sources: Mapping[str, EventSource] | None = None  # None: no sources.yaml, so only this machine may send events
    report_limits: ReportLimits = field(default_factory=ReportLimits)
    notifying: Notifying = field(default_factory=Notifying)
    freezes: tuple[Maintenance, ...] = ()  # windows in which Quell does nothing by itself
    fleet_limits: FleetLimits = field(default_factory=FleetLimits)
    canary: CanaryPolicy = field(default_factory=CanaryPolicy)
    fixes: FixPolicy = field(default_factory=FixPolicy)
    environment: str = ""  # production, staging, ...: playbooks may do less in some
    tracker: Tracker | None = None
    standing: StandingPolicy | None = None  # None: no standing limits for clients are learned
    pages: PagesAccess | None = None  # who may read the pages; None: see `reading_needs_sign_in`

    @property
    def has_passwords(self) -> bool:
        """Whether anybody can sign in; where nobody can, people act with their name and a one-time code."""
        return any(person.password_hash for person in self.people.values())

    @property
    def reading_needs_sign_in(self) -> bool:
        return self.pages == "signed-in" or (self.pages is None and self.has_passwords)

    @property
    def gateway_url(self) -> str:
        c = self.connections
        return c.public_url or f"http://{c.gateway_host}:{c.gateway_port}"
