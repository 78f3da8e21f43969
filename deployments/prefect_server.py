"""The Prefect server beside Quell: how it is started, what is registered there, and the proof that it schedules."""

import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib.resources import as_file, files
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.run_forms import choices_of, offer
from deployments.supervisor import Program
from deployments.work_pool import POOL, TEMPLATE_FILE, create_sweep_pool, restore_template
from quell.config.config import Config
from quell.incidents.errors import Unavailable

_SCHEDULING_PROOF_SECONDS = 45


def server_environment(port: int, home: Path) -> dict[str, str]:
    """What server, workers and responder share: the API's address, a home of their own, and no calls to outside."""
    url = f"http://127.0.0.1:{port}"
    return {
        "PREFECT_HOME": str(home.resolve()),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_UI_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_LOGGING_LEVEL": "INFO",
        # The heartbeat's own floor; Quell's leases and `reconcile` act long before it.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        # Schedules of seconds: look often, and plan few runs ahead.
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "15",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "3",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT2M",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_SCHEDULED_TIME": "PT1H",
    }


def server_program(port: int, env: Mapping[str, str]) -> Program:
    """`prefect server start` on loopback, by way of `prefect_process`."""
    start = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    return Program(
        name="prefect-server",
        command=[sys.executable, "-m", "deployments.prefect_process", *start],
        env=env,
        is_ready=lambda: is_healthy(f"http://127.0.0.1:{port}/api"),
        ready_within_seconds=120,
    )


def worker_program(env: Mapping[str, str]) -> Program:
    """A process worker that looks for work every second and starts runs without a long prefetch."""
    return Program(
        name="worker",
        command=[sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"],
        env={**env, "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_PREFETCH_SECONDS": "2"},
    )


def sweeper_program(env: Mapping[str, str]) -> Program:
    """The worker of the pool for sweeps, which runs them in its own process."""
    return Program(name="sweeper", command=[sys.executable, "-m", "deployments.sweeper"], env=env)


def is_healthy(api_url: str) -> bool:
    """Whether the API answers its health check now."""
    try:
        return httpx.get(f"{api_url}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def register(config: Config, env: Mapping[str, str]) -> None:
    """Create the work pools and all deployments of prefect.yaml, then set schedules and forms by the configuration.

    Raises Unavailable with Prefect's own words when it refuses.
    """
    full = {**os.environ, **env, "QUELL_HOME": str(Path.cwd())}
    create_pools(full)
    with as_file(files("deployments") / "prefect.yaml") as path:
        _prefect(["--no-prompt", "deploy", "--all", "--prefect-file", str(path)], full)
    with _client(env) as client:
        _set_interval(client, "detection-sweep/detection-sweep", config.intervals.sweep)
        _set_interval(client, "refresh-baselines/refresh-baselines", config.intervals.refresh_baselines)
        offer(client, choices_of(config))


def create_pools(env: Mapping[str, str]) -> None:
    """Create the work pools, or give them their template back."""
    with as_file(TEMPLATE_FILE) as path:
        template = ["--base-job-template", str(path)]
        _prefect(["work-pool", "create", POOL, "--type", "process", "--overwrite", *template], env)
    with _client(env) as client:
        create_sweep_pool(client)
        restore_template(client)


def prove_scheduling(env: Mapping[str, str]) -> None:
    """Wait until scheduled runs exist. Raises Unavailable when the scheduler plans none.

    The server's health stays green when its scheduler fails in every loop (SQLAlchemy 2.1 does that to Prefect
    3.8.8), so only a planned run proves it.
    """
    deadline = time.monotonic() + _SCHEDULING_PROOF_SECONDS
    wanted = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.RUNNING]))
    )
    with _client(env) as client:
        while time.monotonic() < deadline:
            if any(run.auto_scheduled for run in client.read_flow_runs(flow_run_filter=wanted, limit=50)):
                return
            time.sleep(0.5)
    raise Unavailable(
        f"the Prefect server planned no scheduled run within {_SCHEDULING_PROOF_SECONDS} s although it is healthy: "
        "check that the versions of requirements.lock are installed, and the server's log"
    )


@contextmanager
def _client(env: Mapping[str, str]) -> Generator[SyncPrefectClient]:
    """A client of the server that `env` names: this process read its own settings before it knew the address."""
    with temporary_settings({PREFECT_API_URL: env["PREFECT_API_URL"]}), get_client(sync_client=True) as client:
        yield client


def _set_interval(client: SyncPrefectClient, name: str, interval: timedelta) -> None:
    deployment = client.read_deployment_by_name(name)
    for entry in deployment.schedules:
        schedule = entry.schedule
        if isinstance(schedule, IntervalSchedule) and schedule.interval != interval:
            # The anchor keeps the phase: registering again does not move the sweeps.
            changed = IntervalSchedule(interval=interval, anchor_date=schedule.anchor_date)
            client.update_deployment_schedule(deployment.id, entry.id, schedule=changed)


def _prefect(arguments: list[str], env: Mapping[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(f"prefect {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
