"""`quell up` on a sandbox's shop, for benchmarks that need the whole of it."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.sandbox.sandbox import Sandbox
from quell.adapters.store.sql import SqlStore
from tasks.runs import run_state, start_run


@contextmanager
def quell_up(sandbox: Sandbox, folder: Path, base: int) -> Iterator[SqlStore]:
    command = [sys.executable, "-m", "deployments.cli.main", "up"]
    command += ["--config", str(sandbox.config_folder), "--data", str(folder / "quell")]
    log = folder / "up.log"
    with log.open("wb") as output:
        up = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while "Quell is up" not in log.read_text():
            if up.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"quell up is not up after 120 s:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        store = SqlStore(f"sqlite:///{sandbox.layout.folder}/quell.db")
        with closing(store), temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{base + 70}/api"}):
            yield store
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(60)


def fit_baselines(base: int) -> None:
    run = start_run("refresh-baselines/refresh-baselines", {}, key=f"benchmark {base}")
    deadline = time.monotonic() + 90
    while (state := run_state(run)) != "completed":
        if time.monotonic() > deadline or state in ("failed", "crashed"):
            raise SystemExit(f"refresh-baselines did not complete within 90 s: {run} is {state}")
        time.sleep(0.5)
