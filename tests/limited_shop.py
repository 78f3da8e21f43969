"""A shop whose clients are measured, with a real HAProxy and a real store, for tests of standing limits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import numpy as np

from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.actuators.haproxy_files import read_map
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.incidents.decision import Answer, Decision
from quell.incidents.errors import Unavailable
from quell.incidents.series import SeriesMatrix
from quell.incidents.service import Catalog, Service
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.threshold import ThresholdVersion
from quell.ports import MetricSource
from quell.prevention.refusals import Refusals
from quell.prevention.standing_limit import StandingPolicy
from tasks.question import text_hash
from tasks.refusals import refusals_of
from tasks.resources import Resources
from tasks.shadow import watch_standing_limits
from tasks.standing import propose_of, study_standing

STEP = timedelta(seconds=10)
BEGUN = datetime(2026, 11, 1, tzinfo=UTC)
NOW = BEGUN + timedelta(days=10)
TRAFFIC = Signal(
    name="client-traffic",
    query="sum by (client) (rate(requests_total[10s]))",
    kind=SignalKind.TRAFFIC,
    direction=Direction.HIGH,
    unit="req/s",
    step=STEP,
    service="shop",
    history=timedelta(days=10),
)
POLICY = StandingPolicy(signal=TRAFFIC.name, unnamed=("unknown",))


class Clients:
    """`web` sends 4 a second and 8 in the first minutes of each hour, `batch` 6 for ten minutes a day; `scraper` comes
    at NOW and sends 30 a second for ten minutes of each hour. `flood_at`: an hour in which `web` sends 100."""

    is_away = False
    flood_at: datetime | None = None

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        if self.is_away:
            raise Unavailable("http://metrics cannot be reached: connection refused")
        grid = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        web = np.where(grid % 3600 < 300, 8.0, 4.0)
        if self.flood_at is not None:
            since = grid - self.flood_at.timestamp()
            web[(since >= 0) & (since < 3600)] = 100.0
        batch = np.where(grid % 86_400 < 600, 6.0, 0.0)
        scraper = np.where((grid > NOW.timestamp()) & (grid % 3600 < 600), 30.0, np.nan)
        values = np.column_stack([web, batch, scraper, np.full(len(grid), 1.0)])
        values[grid < BEGUN.timestamp()] = np.nan
        labels = tuple({"client": name} for name in ("Web", "batch", "scraper", "unknown"))
        return SeriesMatrix(timestamps=grid, values=values, labels=labels)


@dataclass
class World:
    res: Resources
    proxy: TrialProxy
    metrics: Clients

    def later(self, **after: float) -> Resources:
        now = NOW + timedelta(**after)
        return replace(self.res, clock=lambda: now)

    def version(self, id: str = "THR-1") -> ThresholdVersion:
        with self.res.store.reading() as tx:
            found = tx.thresholds.get(id)
        assert found is not None
        return found

    def record(self, kind: str, id: str = "THR-1") -> Refusals:
        with self.res.store.reading() as tx:
            found = refusals_of(tx, kind, id)
        assert found is not None
        return found

    def told(self, id: str = "THR-1") -> list[tuple[str, str]]:
        with self.res.store.reading() as tx:
            return [(entry.kind, entry.text) for entry in tx.timeline.entries() if entry.subject == id]

    def propose(self, **policy: object) -> ThresholdVersion:
        if policy:
            self.res = with_policy(self.res, **policy)
        id = propose_of(self.res, study_standing(self.res))
        assert id is not None
        return self.version(id)

    def approve(self, id: str = "THR-1") -> None:
        rule = self.version(id).rule
        answer = Decision(
            id=f"DEC-{id}", subject=id, plan_hash=text_hash(rule), person="carol", answer=Answer.APPROVE,
            channel="page", at=NOW,
        )  # fmt: skip
        with self.res.store.writing() as tx:
            tx.decisions.add(answer)

    def shadowed(self, **policy: object) -> Resources:
        """Proposed, two days in shadow, approved."""
        proposed = self.propose(**policy)
        watch_standing_limits(self.res)
        watch_standing_limits(self.later(days=2))
        self.approve(proposed.id)
        return self.later(days=2)

    def in_force(self) -> dict[str, str]:
        actuator = self.res.actuators["haproxy"]
        assert isinstance(actuator, HAProxyActuator)
        return dict(actuator.standing.entries())

    def on_disk(self) -> dict[str, str]:
        return dict(read_map(self.proxy.maps / "standing.map"))

    def send(self, client: str | None, count: int) -> list[int]:
        return [self.proxy.get(client)[0] for _ in range(count)]


def with_policy(res: Resources, **policy: object) -> Resources:
    return replace(res, config=replace(res.config, standing=replace(POLICY, **policy)))  # type: ignore[arg-type]


@contextmanager
def limited_shop(folder: Path) -> Iterator[World]:
    """Ten days of history lie behind NOW."""
    with TrialProxy(folder) as proxy:
        res = resources_of(folder, proxy)
        yield World(res, proxy, cast(Clients, res.metrics))
        res.store.close()


def resources_of(folder: Path, proxy: TrialProxy) -> Resources:
    """The same shop, opened by one process."""
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus="http://metrics"),
        catalog=Catalog(services={"shop": Service(name="shop", team="shop", instances=())}),
        signals={TRAFFIC.name: TRAFFIC},
        standing=POLICY,
    )
    return Resources(
        config=config,
        store=SqlStore(f"sqlite:///{folder}/record.db"),
        metrics=cast(MetricSource, Clients()),
        actuators={"haproxy": HAProxyActuator(socket=proxy.socket, maps=proxy.maps, state_file=None)},
        clock=lambda: NOW,
    )
