"""What a scheduled sweep costs beside its own work: a process worker and the sweeper, one after the other.

`python -m benchmarks.warm_sweeps [--seconds N] [--every N] [--json]`

A real Prefect server (SQLite) plans the deployments of prefect.yaml as `quell up` registers them; the metric server
answers at once and knows nothing, so a sweep is nearly nothing but its way to run. Seconds are from a run's scheduled
time to Running, as Prefect's server wrote it down; "dropped" are runs that came while the one before went on. Processor
seconds are those of the worker with all it started, and of the server, divided by the runs that ended well. Each worker
warms up for as long as two runs first. `reconcile` runs once a minute with both.
"""

import argparse
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Crashed

from benchmarks.report import parser, print_json, print_table
from deployments.prefect_server import register, server_environment, server_program, sweeper_program, worker_program
from deployments.supervisor import Program, Supervisor
from deployments.work_pool import POOL, SWEEP_POOL
from quell.config.load import load_config
from tasks.resources import CONFIG_VARIABLE, DATA_VARIABLE
from tests.slow_metrics import slow_metrics

MOVED = ("detection-sweep", "reconcile")
_TICKS = os.sysconf("SC_CLK_TCK")


def run(seconds: int, every: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="quell-bench-") as name, slow_metrics() as metrics:
        folder = Path(name)
        port = _free_port()
        env = _write_config(folder, metrics.url, port, every)
        os.environ.update(env)
        supervisor = Supervisor(folder / "logs", lambda text: print(text, file=sys.stderr))
        try:
            supervisor.start(server_program(port, env))
            register(load_config(folder / "config"), env)
            return [
                _measured(supervisor, "process worker", worker_program(env), POOL, seconds, every),
                _measured(supervisor, "sweeper", sweeper_program(env), SWEEP_POOL, seconds, every),
            ]
        finally:
            supervisor.stop()


def _write_config(folder: Path, metrics: str, port: int, every: int) -> dict[str, str]:
    config = folder / "config"
    config.mkdir()
    (config / "quell.toml").write_text(
        f'[connections]\nstore = "sqlite:///{folder}/record.db"\nprometheus = "{metrics}"\n'
        f'[intervals]\nsweep = "{every}s"\n'
    )
    (config / "services.yaml").write_text("services:\n  shop: {team: t}\n")
    (config / "signals.yaml").write_text("signals:\n  errors: {kind: error_ratio, unit: ratio, step: 1s, query: up}\n")
    env = server_environment(port, folder / "prefect")
    return {**env, CONFIG_VARIABLE: str(config), DATA_VARIABLE: str(folder / "data")}


def _measured(
    supervisor: Supervisor, name: str, program: Program, pool: str, seconds: int, every: int
) -> dict[str, Any]:
    with _client() as client, _running(supervisor, program) as pid:
        _end_leftovers(client)
        for one in _deployments(client):
            client.update_deployment(one, DeploymentUpdate(work_pool_name=pool))
        time.sleep(15 + 2 * every)  # the scheduler's next round plans the runs anew
        server = next(pid for name, pid, _ in supervisor.states() if name == "prefect-server")
        since, before = datetime.now(UTC), [_processor_seconds(one) for one in (pid, server)]
        time.sleep(seconds)
        spent = [_processor_seconds(one) - was for one, was in zip((pid, server), before, strict=True)]
        until = datetime.now(UTC) - timedelta(seconds=every)
        return {"way": name, **_figures(_sweeps(client, since, until), spent), "memory_mb": _memory(pid)}


def _figures(runs: Sequence[FlowRun], spent: Sequence[float]) -> dict[str, Any]:
    ended_well = [run for run in runs if run.state is not None and run.state.is_completed()]
    late = sorted(
        (run.start_time - run.expected_start_time).total_seconds()
        for run in ended_well
        if run.start_time and run.expected_start_time
    )
    done = len(ended_well)
    return {
        "planned": len(runs),
        "done": done,
        "dropped": sum(run.state is not None and run.state.is_cancelled() for run in runs),
        "late_median": statistics.median(late) if late else None,
        "late_p95": late[round(0.95 * (len(late) - 1))] if late else None,
        "late_max": late[-1] if late else None,
        "cpu_per_run": spent[0] / done if done else None,
        "server_cpu_per_run": spent[1] / done if done else None,
    }


def _sweeps(client: SyncPrefectClient, since: datetime, until: datetime) -> list[FlowRun]:
    wanted = FlowRunFilter.model_validate({"expected_start_time": {"after_": since, "before_": until}})
    named = DeploymentFilter(name=DeploymentFilterName(any_=["detection-sweep"]))
    return client.read_flow_runs(flow_run_filter=wanted, deployment_filter=named, limit=200)


def _end_leftovers(client: SyncPrefectClient) -> None:
    """Of the way before: a run that its worker left behind would hold the slot."""
    wanted = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PENDING", "RUNNING"]}}})
    for run in client.read_flow_runs(flow_run_filter=wanted):
        client.set_flow_run_state(run.id, Crashed(message="left behind"), force=True)


def _deployments(client: SyncPrefectClient) -> list[Any]:
    return [client.read_deployment_by_name(f"{name}/{name}").id for name in MOVED]


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    changed: dict[Any, Any] = {PREFECT_API_URL: os.environ["PREFECT_API_URL"]}
    with temporary_settings(changed), get_client(sync_client=True) as client:
        yield client


@contextmanager
def _running(supervisor: Supervisor, program: Program) -> Iterator[int]:
    """The program for as long as it is measured; ended by its id, so that the next one has the machine."""
    supervisor.start(program)
    pid = next(pid for name, pid, _ in supervisor.states() if name == program.name)
    try:
        yield pid
    finally:
        supervisor.stop_one(program.name)


def _processor_seconds(pid: int) -> float:
    """Of the process, of all that it waited for, and of its children that still run."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    below = 0.0
    for child in children:
        try:
            below += _processor_seconds(int(child))
        except OSError:
            continue
    return sum(map(int, words[11:15])) / _TICKS + below


def _memory(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(given: argparse.Namespace) -> None:
    found = run(given.seconds, given.every)
    if given.json:
        print_json({"ways": found})
        return
    names = list(found[0])
    print_table(
        f"sweeps every {given.every} s",
        ["", *(row["way"] for row in found)],
        ((name, *(row[name] for row in found)) for name in names[1:]),
    )


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--seconds", type=int, default=120, help="how long each is measured")
    made.add_argument("--every", type=int, default=5, help="seconds between sweeps")
    main(made.parse_args())
