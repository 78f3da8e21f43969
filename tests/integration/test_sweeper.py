"""The sweeper on a real Prefect server, with the deployments and schedules that `quell up` registers."""

import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from deployments.work_pool import SWEEP_POOL, restore_template
from flows.response import mitigate
from quell.adapters.store.sql import SqlStore
from tasks.detection import SWEEP
from tests.sweeper_ground import EVERY, SIGNALS, Ground, now, started_ground

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]  # a server comes up, and a process for each test


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with started_ground(tmp_path_factory.mktemp("sweeper")) as started:
        yield started


@pytest.fixture
def ground(server: Ground) -> Iterator[Ground]:
    server.metrics.pause_seconds = 0.0
    (server.folder / "sweeper.log").write_text("")
    yield server
    (server.folder / "config" / "signals.yaml").write_text(SIGNALS)


def test_what_is_not_on_the_list_is_refused_with_the_reason(ground: Ground) -> None:
    """Whoever may register deployments must not reach a process that holds the store open."""
    client = ground.client
    foreign = client.create_deployment(
        client.create_flow(mitigate), "foreign", entrypoint="os.system", work_pool_name=SWEEP_POOL
    )
    run = client.create_flow_run_from_deployment(foreign)
    with ground.sweeper():
        state = ground.final(run.id)
        assert state.is_crashed() and "entrypoint os.system does not run in pool quell-sweeps" in str(state.message)
        assert "flows.detection.detection_sweep, flows.upkeep.reconcile" in str(state.message)
        assert ground.one_sweep("COMPLETED", since=now()), "and the sweeps go on"
    client.delete_deployment(foreign)


@pytest.mark.parametrize("variables", [{"command": "id"}, {"env": {"LD_PRELOAD": "/tmp/x.so"}}, {"working_dir": "/"}])
def test_job_variables_are_refused(ground: Ground, variables: dict[str, Any]) -> None:
    api = ground.env["PREFECT_API_URL"]
    id = ground.client.read_deployment_by_name("detection-sweep/detection-sweep").id
    body = {"job_variables": variables}
    answer = httpx.post(f"{api}/deployments/{id}/create_flow_run", json=body, timeout=30)
    assert answer.status_code == 422 and "Additional properties are not allowed" in answer.text, answer.text


def test_the_pool_gets_its_template_back(ground: Ground) -> None:
    assert not restore_template(ground.client)
    variables = {"type": "object", "properties": {"command": {"type": "string"}}}
    template = {"job_configuration": {"command": "{{ command }}"}, "variables": variables}
    address = f"{ground.env['PREFECT_API_URL']}/work_pools/{SWEEP_POOL}"
    assert httpx.patch(address, json={"base_job_template": template}, timeout=30).is_success
    assert restore_template(ground.client) and not restore_template(ground.client)


def test_a_stopped_sweeper_lets_its_sweep_end_and_takes_no_further_one(ground: Ground) -> None:
    ground.metrics.pause_seconds = 1.0
    with ground.sweeper() as process:
        run = ground.one_sweep("RUNNING", since=now())
        process.terminate()
        assert process.wait(10) == 0
        assert ground.state(run.id).is_completed()
        assert ground.sweeps("PENDING", "RUNNING", since=now() - timedelta(minutes=1)) == []


def test_after_a_kill_in_the_middle_of_a_sweep_the_next_process_frees_its_slot_and_sweeps(ground: Ground) -> None:
    """Prefect would drop every sweep for six minutes: the dead run holds the deployment's only slot."""
    ground.metrics.pause_seconds = 20.0
    with ground.sweeper() as process:
        run = ground.one_sweep("RUNNING", since=now())
        process.kill()
        process.wait()
    ground.metrics.pause_seconds = 0.0
    assert ground.state(run.id).is_running(), "nobody has noticed yet"
    with ground.sweeper():
        ground.one_sweep("COMPLETED", since=now(), within=40)
        state = ground.state(run.id)
        assert state.is_crashed() and str(state.message) == f"its process {run.infrastructure_pid} is dead"


def test_of_the_runs_that_piled_up_only_the_last_one_runs(ground: Ground) -> None:
    """Each of them costs Prefect's server several requests, and the one that counts would wait for all of them."""
    since = now()
    ground.wait_for("three late runs", lambda: now() > since + timedelta(seconds=4 * EVERY) or None)
    late = [run.id for run in ground.sweeps("SCHEDULED", since=since) if (run.expected_start_time or since) < now()]
    assert len(late) >= 3
    with ground.sweeper():
        states = [ground.final(run) for run in late]
        assert {str(state.message) for state in states[:-1]} == {"a later run of this deployment was due as well"}
        assert all(state.is_cancelled() for state in states[:-1])
        ground.one_sweep("COMPLETED", since=now() - timedelta(seconds=EVERY))


def test_a_sweep_that_somebody_cancels_ends_cancelled_and_the_next_one_runs(ground: Ground) -> None:
    ground.metrics.pause_seconds = 2.0
    with ground.sweeper():
        run = ground.one_sweep("RUNNING", since=now())
        ground.client.set_flow_run_state(run.id, Cancelling())
        ground.metrics.pause_seconds = 0.0
        assert ground.final(run.id).is_cancelled()
        ground.one_sweep("COMPLETED", since=now())


def test_a_changed_configuration_counts_from_the_next_sweep_on(ground: Ground) -> None:
    """A process for each sweep read the files anew each time; nobody should have to restart Quell now."""
    file, store = ground.folder / "config" / "signals.yaml", SqlStore(f"sqlite:///{ground.folder}/record.db")

    def signals() -> int | None:
        with store.reading() as tx:
            kept = tx.documents.get(SWEEP)
        return kept.body["signals"] if kept else None

    with ground.sweeper():
        ground.one_sweep("COMPLETED", since=now())
        assert signals() == 1
        file.write_text(SIGNALS + SIGNALS.removeprefix("signals:\n").replace("errors", "more"))
        ground.wait_for("a sweep of two signals", lambda: signals() == 2)
        file.write_text("signals: [")
        failed = ground.one_sweep("FAILED", since=now())
        assert "signals.yaml" in str(ground.state(failed.id).message)
        file.write_text(SIGNALS)
        ground.wait_for("a sweep of one signal", lambda: signals() == 1)
    store.close()


def test_a_flows_own_timeout_ends_it_in_a_thread_too(ground: Ground) -> None:
    """In a main thread Prefect uses an alarm, in another one it has to raise from outside."""

    @flow(name="endless", timeout_seconds=0.5)
    def endless() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            time.sleep(0.01)

    def in_thread() -> Any:
        changed: dict[Any, Any] = {PREFECT_API_URL: ground.env["PREFECT_API_URL"]}
        with temporary_settings(changed):
            return run_flow(endless, return_type="state")

    with ThreadPoolExecutor(max_workers=1) as pool:
        state = pool.submit(in_thread).result(timeout=60)
    assert state.is_failed() and state.name == "TimedOut"


_STUCK = """
import time
from datetime import timedelta
import anyio
from prefect import flow
import deployments.sweeper as module

@flow(timeout_seconds=0.5)
def stuck():
    time.sleep(60)

module._OVERDUE = timedelta(seconds=1)
anyio.run(module.Sweeper({"stuck": stuck}).serve)
"""


def test_a_thread_that_nothing_can_end_ends_the_process(ground: Ground) -> None:
    """A call that hangs in C ignores Prefect's timeout; the slot would be held for as long as the process lives."""
    client = ground.client
    deployment = client.create_deployment(
        client.create_flow(mitigate), "stuck", entrypoint="stuck", work_pool_name=SWEEP_POOL
    )
    run = client.create_flow_run_from_deployment(deployment)
    with ground.sweeper(sys.executable, "-c", _STUCK) as process:
        assert process.wait(60) == 70
    state = ground.state(run.id)
    assert state.is_crashed() and "did not end within" in str(state.message)
    client.delete_deployment(deployment)


_LOST = """
import anyio, httpx
from prefect import flow
import deployments.sweeper as module

@flow
def lost():
    pass

def away(*_):
    raise httpx.ConnectError("Prefect's server is away")

module._run = away
module._SETTLE_SECONDS = 1.0
anyio.run(module.Sweeper({"lost": lost}).serve)
"""


def test_a_run_that_lost_prefects_server_is_ended_once_the_server_is_back(ground: Ground) -> None:
    """Its process lives on, so nothing else would ever call it dead, and its slot would be taken for six minutes."""
    client = ground.client
    deployment = client.create_deployment(
        client.create_flow(mitigate), "lost", entrypoint="lost", work_pool_name=SWEEP_POOL
    )
    run = client.create_flow_run_from_deployment(deployment)
    with ground.sweeper(sys.executable, "-c", _LOST):
        state = ground.final(run.id)
        assert state.is_crashed() and "lost the connection to Prefect's server" in str(state.message)
    client.delete_deployment(deployment)


def test_what_is_over_is_not_called_abandoned(ground: Ground) -> None:
    """The same process number on this machine may belong to somebody else by now; a run that ended stays as it is."""
    with ground.sweeper() as process:
        run = ground.one_sweep("COMPLETED", since=now())
        process.send_signal(signal.SIGKILL)
        process.wait()
    with ground.sweeper():
        ground.one_sweep("COMPLETED", since=now())
    assert ground.state(run.id).is_completed()
