"""The pace of scheduled sweeps on a real Prefect server: seconds are counted, so this runs alone."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun

from tests.sweeper_ground import EVERY, Ground, now, started_ground

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]  # a server comes up


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with started_ground(tmp_path_factory.mktemp("sweeper")) as started:
        yield started


def late_seconds(run: FlowRun) -> float:
    assert run.start_time and run.expected_start_time
    return (run.start_time - run.expected_start_time).total_seconds()


def over_seconds(run: FlowRun) -> float:
    """From its moment to its end."""
    assert run.end_time and run.expected_start_time
    return (run.end_time - run.expected_start_time).total_seconds()


def processor_seconds(pid: int) -> float:
    """What the process and all that it started have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def test_scheduled_sweeps_keep_their_pace_in_one_warm_process(ground: Ground) -> None:
    """A process of its own costs each of them two to three seconds of processor before it begins."""
    with ground.sweeper() as process:
        ground.one_sweep("COMPLETED", since=now())
        since, before = now() + timedelta(seconds=EVERY), processor_seconds(process.pid)
        ground.wait_for("five sweeps", lambda: len(ground.sweeps("COMPLETED", since=since)) >= 5 or None)
        spent, runs = processor_seconds(process.pid) - before, ground.sweeps("COMPLETED", since=since)[:5]
        due = [run.expected_start_time for run in runs]
        assert due == [due[0] and due[0] + timedelta(seconds=EVERY * n) for n in range(5)], "none is left out"
        assert min(map(late_seconds, runs)) > -0.1, "none is judged before its time"
        assert max(map(over_seconds, runs)) < EVERY, [over_seconds(run) for run in runs]
        assert spent / len(runs) < 1, f"{spent} s of processor for {len(runs)} sweeps"
        assert {str(run.infrastructure_pid).split(":")[1] for run in runs} == {str(process.pid)}
        assert Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text() == ""
        run = ground.client.create_flow_run_from_deployment(
            ground.client.read_deployment_by_name("reconcile/reconcile").id
        )
        assert ground.final(run.id).is_completed(), "reconcile runs there too"
