"""A real Prefect server with the deployments and schedules that `quell up` registers, and sweepers to start on it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.prefect_server import register, server_environment, server_program
from deployments.sandbox.ports import free_port
from deployments.supervisor import Supervisor
from quell.config.load import load_config
from tasks.resources import CONFIG_VARIABLE, DATA_VARIABLE
from tests.slow_metrics import SlowMetrics, slow_metrics
from tests.waiting import wait_until

EVERY = 3
T = TypeVar("T")
SIGNALS = "signals:\n  errors: {kind: error_ratio, unit: ratio, step: 1s, query: up}\n"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Ground:
    """Prefect's server with Quell's deployments, and a metric server that decides how long a sweep takes."""

    client: SyncPrefectClient
    env: dict[str, str]
    folder: Path
    metrics: SlowMetrics

    def wait_for(self, what: str, ask: Callable[[], T | None], within: float = 120) -> T:
        log = self.folder / "sweeper.log"
        return wait_until(what, ask, within=within, every=0.1, tell=lambda: log.read_text()[-4000:])

    def sweeps(self, *states: str, since: datetime) -> list[FlowRun]:
        """Scheduled for `since` or later, oldest first."""
        named = DeploymentFilter(name=DeploymentFilterName(any_=["detection-sweep"]))
        wanted = FlowRunFilter.model_validate(
            {"expected_start_time": {"after_": since}, "state": {"type": {"any_": list(states)}}}
        )
        found = self.client.read_flow_runs(deployment_filter=named, flow_run_filter=wanted, limit=200)
        return sorted(found, key=lambda run: run.expected_start_time or since)

    def one_sweep(self, *states: str, since: datetime, within: float = 120) -> FlowRun:
        def found() -> FlowRun | None:
            return next(iter(self.sweeps(*states, since=since)), None)

        return self.wait_for(f"a sweep that is {' or '.join(states)}", found, within)

    def state(self, run: UUID) -> State[Any]:
        state = self.client.read_flow_run(run).state
        assert state is not None
        return state

    def final(self, run: UUID, within: float = 120) -> State[Any]:
        return self.wait_for("the run's end", lambda: ((s := self.state(run)).is_final() and s) or None, within)

    @contextmanager
    def sweeper(self, *command: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A sweeper process as the supervisor would start it; ended by its id."""
        with (self.folder / "sweeper.log").open("ab") as log:
            process = subprocess.Popen(
                command or (sys.executable, "-m", "deployments.sweeper"),
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def started_ground(folder: Path) -> Iterator[Ground]:
    """Prefect's server is up and Quell registered with it, until the end."""
    with slow_metrics() as metrics:
        port = free_port()
        env = server_environment(port, folder / "prefect")
        env |= {CONFIG_VARIABLE: str(folder / "config"), DATA_VARIABLE: str(folder / "data")}
        _write_config(folder, metrics.url)
        supervisor = Supervisor(folder / "logs", print)
        changed: dict[Any, Any] = {PREFECT_API_URL: env["PREFECT_API_URL"]}
        try:
            supervisor.start(server_program(port, env))
            register(load_config(folder / "config"), env)
            with temporary_settings(changed), get_client(sync_client=True) as client:
                yield Ground(client, env, folder, metrics)
        finally:
            supervisor.stop()


def _write_config(folder: Path, metrics: str) -> None:
    config = folder / "config"
    config.mkdir()
    lines = f'[connections]\nstore = "sqlite:///{folder}/record.db"\nprometheus = "{metrics}"\n'
    (config / "quell.toml").write_text(f'{lines}[intervals]\nsweep = "{EVERY}s"\n')
    (config / "services.yaml").write_text("services:\n  shop: {team: t}\n")
    (config / "signals.yaml").write_text(SIGNALS)
