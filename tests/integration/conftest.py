"""A real Prometheus: over history that the test writes down first, or one that loads rule files."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from deployments.sandbox.ports import free_port
from quell.adapters.rules import RuleFolder
from tests.waiting import wait_until

Backfill = Callable[[str], str]


@pytest.fixture(scope="module")
def backfilled_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backfill]:
    """Give it OpenMetrics text; it returns the address of a Prometheus that holds those samples and scrapes nothing."""
    with ExitStack() as running:
        yield lambda text: running.enter_context(_prometheus(tmp_path_factory.mktemp("prometheus"), text))


@contextmanager
def _prometheus(folder: Path, text: str) -> Iterator[str]:
    (folder / "history.om").write_text(text)
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    backfill = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=360h"]
    subprocess.run([*backfill, folder / "history.om", folder / "data"], check=True, capture_output=True)
    port = free_port()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--storage.tsdb.retention.time=10y",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/-/ready", process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        return httpx.get(url, trust_env=False).is_success

    wait_until("prometheus is ready", is_ready, tell=log.read_text)


@pytest.fixture
def rule_prometheus(tmp_path: Path) -> Iterator[RuleFolder]:
    """A real Prometheus that loads the folder `rules`."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (tmp_path / "p.yml").write_text(f"rule_files: ['{folder}/*.yml']\nscrape_configs: []\n")
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={tmp_path}/p.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address={address}",
        "--web.enable-lifecycle",
        "--log.level=error",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_ready(f"http://{address}/-/ready", process, tmp_path / "log")
        yield RuleFolder(folder=folder, prometheus=f"http://{address}", timeout=timedelta(seconds=5))
    finally:
        process.terminate()
        process.wait(timeout=20)
