"""Shards on a real Dask scheduler with two worker processes over TCP, against a real Prometheus; and without them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.artifacts import Artifact
from prefect.testing.utilities import prefect_test_harness

from deployments.sandbox.ports import free_port
from flows.detection import detection_sweep, refresh_baselines
from flows.prevention import recompute_thresholds, watch_thresholds
from quell.detection import memory as m
from quell.incidents.verdict import VerdictKind
from tasks import spread as spreading
from tasks import thresholds
from tasks.baselines import load_baseline, store_baseline
from tasks.resources import CONFIG_VARIABLE, Resources, resources
from tasks.study import study_of
from tasks.verdicts import latest_verdicts
from tests.waiting import wait_until

pytestmark = pytest.mark.integration
SIGNALS = ("queue", "errors", "latency")
TREE = Path(__file__).resolve().parents[2]

TOML = """
[connections]
store = "sqlite:///{folder}/quell.db"
prometheus = "{url}"
prometheus_rules = "{folder}/rules"
[detection]
shard_size = 1
minimum_samples = 12
{dask}
"""
SERVICES = "services:\n  checkout:\n    team: shop\n    instances: {checkout-1: {}, checkout-2: {}}\n"
SIGNAL = """
  {name}:
    query: {name}_level
    kind: other
    unit: none
    step: 5s
    min_effect: 2
    history: 1h
"""


@pytest.fixture(scope="module", autouse=True)
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=90):
        yield


@pytest.fixture(scope="module")
def prometheus(backfilled_prometheus: Callable[[str], str]) -> str:
    """Three signals of two instances, minutes at 7 up to two minutes from now."""
    end = int(datetime.now(UTC).timestamp()) + 120
    lines: list[str] = []
    for name in SIGNALS:
        lines.append(f"# TYPE {name}_level gauge")
        for instance in ("checkout-1", "checkout-2"):
            series = f'{name}_level{{service="checkout",instance="{instance}"}}'
            lines += [f"{series} 7 {at}" for at in range(end - 420, end, 5)]
    return backfilled_prometheus("\n".join([*lines, "# EOF", ""]))


@contextmanager
def running(*arguments: str, log: Path, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    environment = os.environ | {CONFIG_VARIABLE: str(folder), "PYTHONPATH": str(TREE)}
    with log.open("ab") as out:
        command = [str(Path(sys.executable).with_name("dask")), *arguments]
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=log.parent)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def open_config(
    tmp_path: Path, prometheus: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Resources]]:
    """Writes the folder that this process and the workers read, and opens it here."""
    opened: list[Resources] = []

    def write(dask: str) -> Resources:
        folder = tmp_path / "config"
        folder.mkdir(exist_ok=True)
        (folder / "quell.toml").write_text(TOML.format(folder=tmp_path, url=prometheus, dask=dask))
        (folder / "services.yaml").write_text(SERVICES)
        (folder / "signals.yaml").write_text("signals:" + "".join(SIGNAL.format(name=name) for name in SIGNALS))
        monkeypatch.setenv(CONFIG_VARIABLE, str(folder))
        resources.cache_clear()
        opened.append(resources())
        return opened[-1]

    yield write
    resources.cache_clear()
    for one in opened:
        one.store.close()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"], Path]]:
    """A scheduler and two workers of one thread each; its address, the workers and their log."""
    address, log = f"tcp://127.0.0.1:{free_port()}", tmp_path / "dask.log"
    port = address.rpartition(":")[2]
    with running(
        "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", log=log, folder=tmp_path / "config"
    ):
        worker = ("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        with (
            running(*worker, log=log, folder=tmp_path / "config") as first,
            running(*worker, log=log, folder=tmp_path / "config") as second,
        ):
            registered = ("two workers", lambda: log.read_text().count("Registered to") >= 2)
            wait_until(*registered, within=40, tell=log.read_text)
            yield address, [first, second], log


def verdicts(res: Resources) -> list[tuple[str, VerdictKind, float | None, str]]:
    with res.store.reading() as tx:
        found = [v for name in SIGNALS for v in latest_verdicts(tx, name)]
    return sorted((v.id, v.kind, v.value, v.reason) for v in found)


def expect_more(res: Resources, signal: str, instance: str) -> None:
    """From now on 50 more is normal for one series, so that its 7 is trouble."""
    with res.store.writing() as tx:
        known = load_baseline(tx, signal)
        assert known is not None
        memory = known.fleet.memory.copy()
        [place] = [n for n, labels in enumerate(known.labels) if labels["instance"] == instance]
        memory[place, m.NEAR_AT : m.TAILS_AT] += 50.0  # the last rows
        memory[place, m.LONG_MEDIAN] += 50.0
        store_baseline(tx, replace(known, fleet=replace(known.fleet, memory=memory)), datetime.now(UTC))


def sweep_artifact() -> str:
    artifact = Artifact.get("detection-sweep")
    assert artifact is not None
    return str(artifact.data)


def test_shards_on_two_workers_say_what_threads_say(
    open_config: Callable[[str], Resources], workers: tuple[str, list["subprocess.Popen[bytes]"], Path]
) -> None:
    address, _, log = workers
    res = open_config(f'dask_scheduler = "{address}"')
    assert sorted(refresh_baselines()) == sorted(SIGNALS)
    expect_more(res, "errors", "checkout-2")
    counts = detection_sweep()
    assert counts == {"normal": 5, "anomalous": 1}
    there = verdicts(res)
    assert "Ran in threads" not in sweep_artifact()
    assert log.read_text().count("Task run 'judge-shard") >= 3  # the work was done over there

    res = open_config("")
    assert detection_sweep() == counts
    assert verdicts(res) == there


def test_limits_studied_on_two_workers_are_those_studied_in_threads(
    open_config: Callable[[str], Resources],
    workers: tuple[str, list["subprocess.Popen[bytes]"], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thresholds, "SHARD", 1)
    address, _, log = workers
    res = open_config(f'dask_scheduler = "{address}"')
    assert "THR-3" in recompute_thresholds(return_state=False)
    assert log.read_text().count("Task run 'study ") >= 3  # the work was done over there
    with res.store.reading() as tx:
        there = {version.signal: (version.upper, version.lower) for version in tx.thresholds.find()}
    here = {name: study_of(res, res.config.signals[name]).found.limits for name in SIGNALS}
    assert there == {name: (limits.upper, limits.lower) for name, limits in here.items()}
    artifact = Artifact.get("thresholds")
    assert artifact is not None and "# Limits from history" in str(artifact.data)
    assert Artifact.get("studying-queue") is not None
    assert watch_thresholds(return_state=False) == "3 limits are watched"


def test_a_scheduler_that_is_away_costs_seconds_and_no_sweep(open_config: Callable[[str], Resources]) -> None:
    res = open_config(f'dask_scheduler = "tcp://127.0.0.1:{free_port()}"')
    begun = time.monotonic()
    counts = detection_sweep()
    assert time.monotonic() - begun < 2 * spreading.CONNECT_WITHIN.total_seconds() + 10
    assert counts == {"warming_up": 6}  # no baseline was fitted here
    text = sweep_artifact()
    assert "Ran in threads of its own process: dask scheduler at tcp://127.0.0.1:" in text
    assert "cannot be reached within 5 s: check that it runs" in text
    with res.store.reading() as tx:
        last = tx.documents.get("sweep:last")
    assert last is not None and last.body["note"].startswith("Ran in threads")


def test_a_scheduler_without_workers_is_named_and_the_sweep_runs_in_threads(
    open_config: Callable[[str], Resources], tmp_path: Path
) -> None:
    port = free_port()
    res = open_config(f'dask_scheduler = "tcp://127.0.0.1:{port}"')
    log = tmp_path / "dask.log"
    arguments = ("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    with running(*arguments, log=log, folder=tmp_path / "config"):
        wait_until("a scheduler", lambda: "Scheduler at" in log.read_text(), within=40, tell=log.read_text)
        assert detection_sweep() == {"warming_up": 6}
    assert "has no worker after 5 s: start one with `dask worker tcp://" in sweep_artifact()
    assert res.config.detection.dask_scheduler is not None


def test_a_worker_that_died_leaves_its_work_to_the_other(
    open_config: Callable[[str], Resources], workers: tuple[str, list["subprocess.Popen[bytes]"], Path]
) -> None:
    address, (first, _), _ = workers
    open_config(f'dask_scheduler = "{address}"')
    first.kill()
    first.wait()
    assert detection_sweep() == {"warming_up": 6}
    assert "Ran in threads" not in sweep_artifact()
