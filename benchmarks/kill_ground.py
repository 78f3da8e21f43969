"""What a mitigation is killed on: real store, HAProxy and command, with a boundary around everything that changes.

The plan has three steps: two servers are isolated side by side, then a command notes its idempotency key in a log, so
that an effect which is carried out twice is seen. Only the users' signal is made up.
"""

import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from quell.actuator import Actuator
from quell.adapters.actuators.command import make_command
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.incidents.matcher import parse_matchers
from quell.incidents.mitigation import Step
from quell.incidents.series import SeriesMatrix
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.ports import Store, Transaction
from quell.response.autonomy import Autonomy
from quell.response.playbook import ApprovalPolicy, FleetLimits, Limits, Playbook, RecoveryRule, StepTemplate
from quell.response.release import ReleaseRule
from tasks.resources import Resources

SERVERS = tuple(f"be_checkout/checkout-{n}" for n in (1, 2, 3))
ZONE = "a"  # checkout-1 and checkout-2
_LONGEST_SECONDS = 120
_LOG = """
import sys
verb, key, log = sys.argv[1:]
lines = open(log).read().split("\\n")
state = next((line.split()[0] for line in reversed(lines) if line), "undo")
if verb == "state":
    print(f"noted={'yes' if state == 'apply' else 'no'}")
elif verb == "is":
    sys.exit(int(state != "apply"))
else:
    open(log, "a").write(f"{verb} {key}\\n")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where everything is, and from when on users are well."""

    store: str
    folder: Path
    socket: str
    well_from: float = 0.0
    later: float = 0.0  # seconds by which the clock is ahead
    api: str = ""  # of the Prefect server, where work is a flow

    @property
    def log(self) -> Path:
        return self.folder / "effects.log"


@dataclass(slots=True, kw_only=True)
class Boundaries:
    """Counts the boundaries, and stops for good at one of them."""

    stop_at: int = 0
    stop_on: str = ""  # or at the first boundary of this name
    disturb: Callable[[], None] | None = None  # what happens there instead of stopping
    jump: float = 0.0  # seconds by which the process's clock is wrong from then on
    names: list[str] = field(default_factory=list[str])
    tell: Callable[[str], None] = print
    wait: Callable[[], object] = lambda: time.sleep(_LONGEST_SECONDS)  # to be killed
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reach(self, name: str) -> None:
        with self._lock:
            self.names.append(name)
            is_here = len(self.names) == self.stop_at or (name == self.stop_on and self.names.count(name) == 1)
        if is_here and self.disturb is not None:
            self.disturb()
        elif is_here:
            self.tell(name)
            self.wait()


class StoppingStore:
    """A store with a boundary before and after each commit."""

    def __init__(self, store: Store, boundaries: Boundaries) -> None:
        self._store = store
        self._boundaries = boundaries
        self._commits = 0

    @contextmanager
    def writing(self) -> Generator[Transaction]:
        with self._store.writing() as tx:
            yield tx
            self._commits += 1
            number = self._commits
            self._boundaries.reach(f"before commit {number}")
        self._boundaries.reach(f"after commit {number}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class StoppingActuator:
    """An actuator with a boundary before and after each call that changes something."""

    def __init__(self, actuator: Actuator, boundaries: Boundaries) -> None:
        self._actuator = actuator
        self._boundaries = boundaries

    def apply(self, step: Step) -> None:
        self._around(f"{step.action}", lambda: self._actuator.apply(step))

    def undo(self, step: Step, state_before: Mapping[str, str]) -> None:
        self._around(f"undo of {step.action}", lambda: self._actuator.undo(step, state_before))

    def ease(self, step: Step, state_before: Mapping[str, str], share: float) -> None:
        self._around(f"{share:.0%} of {step.action}", lambda: self._actuator.ease(step, state_before, share))  # type: ignore[attr-defined]

    def can_ease(self, step: Step) -> bool:
        return bool(getattr(self._actuator, "can_ease", lambda _step: False)(step))

    def _around(self, what: str, call: Callable[[], None]) -> None:
        self._boundaries.reach(f"before {what}")
        call()
        self._boundaries.reach(f"after {what}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._actuator, name)


class UsersSignal:
    """The users' error ratio: bad until some moment, then well."""

    def __init__(self, well_from: float) -> None:
        self._well_from = well_from

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:  # noqa: ARG002
        times = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        values = np.where(times < self._well_from, 0.3, 0.0).reshape(-1, 1)
        return SeriesMatrix(timestamps=times, values=values, labels=({},))


def resources(ground: Ground, boundaries: Boundaries | None = None) -> Resources:
    """What a process works with; with `boundaries` it can be stopped at one of them."""
    proxy = HAProxyActuator(
        socket=ground.socket, maps=ground.folder / "maps", state_file=ground.folder / "server-state"
    )
    note = make_command("log", _log_settings(ground), Config(folder=ground.folder, connections=_connections(ground)))
    actuators: dict[str, Any] = {"haproxy": proxy, "log": note}
    store: Any = SqlStore(ground.store)
    if boundaries is not None:
        store = StoppingStore(store, boundaries)
        actuators = {name: StoppingActuator(actuator, boundaries) for name, actuator in actuators.items()}
    return Resources(
        config=_config(ground),
        store=store,
        metrics=UsersSignal(ground.well_from),  # type: ignore[arg-type] - it answers what is asked here
        actuators=actuators,
        clock=lambda: datetime.now(UTC) + timedelta(seconds=ground.later + (boundaries.jump if boundaries else 0.0)),
    )


def _connections(ground: Ground) -> Connections:
    return Connections(store=ground.store, prometheus="")


def _log_settings(ground: Ground) -> dict[str, Any]:
    (ground.folder / "log.py").write_text(_LOG)
    ground.log.touch()
    run = [sys.executable, "-S", str(ground.folder / "log.py")]
    action = {
        "description": "Notes the step.",
        "target": "[a-z]+",
        "state": [*run, "state", "x", str(ground.log)],
        "apply": [*run, "apply", "{target}", str(ground.log)],
        "verify": [*run, "is", "x", str(ground.log)],
        "undo": [*run, "undo", "{target}", str(ground.log)],
    }
    return {"folder": str(ground.folder), "actions": {"note": action}}


def _config(ground: Ground) -> Config:
    """A shop whose playbook isolates a zone without asking, and releases it in steps of a moment."""
    instances = tuple(
        Instance(name=f"checkout-{n}", service="checkout", server=SERVERS[n - 1], zone=ZONE if n < 3 else "b")
        for n in (1, 2, 3)
    )
    service = Service(name="checkout", team="shop", is_user_facing=True, instances=instances)
    signal = Signal(
        name="errors",
        query="q",
        kind=SignalKind.ERROR_RATIO,
        direction=Direction.HIGH,
        unit="ratio",
        step=timedelta(seconds=1),
        is_user_facing=True,
    )
    book = Playbook(
        name="drain-zone",
        description="Drain a zone and note it.",
        owner="platform",
        matchers=parse_matchers('{service=~".+"}'),
        target_kind="zone",
        steps=(
            StepTemplate(actuator="haproxy", action="isolate", target="{server}", backoff=timedelta(milliseconds=10)),
            StepTemplate(actuator="log", action="note", target="{service}"),
        ),
        recovery=RecoveryRule(
            signal="errors", below=0.02, hold=timedelta(milliseconds=1), deadline=timedelta(seconds=30)
        ),
        approval=ApprovalPolicy(above_capacity_share=1.0),
        limits=Limits(capacity_floor=0.3, cooldown=timedelta(0), per_hour=100_000),
        autonomy=Autonomy(successes=0),
        release=ReleaseRule(shares=(0.1, 0.5), hold=timedelta(milliseconds=50)),
    )
    return Config(
        folder=ground.folder,
        connections=_connections(ground),
        catalog=Catalog(services={"checkout": service}),
        signals={"errors": signal},
        playbooks={book.name: book},
        fleet_limits=FleetLimits(most_active=1000, per_hour=1_000_000, evidence_kinds=0),
    )
