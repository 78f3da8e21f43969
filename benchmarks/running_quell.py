"""Quell's own processes for a benchmark: Prefect server, gateway and responder, and a client to them."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from deployments.prefect_server import server_environment, server_program
from quell.adapters.store.sql import SqlStore
from tasks.resources import CONFIG_VARIABLE, DATA_VARIABLE

WAIT_SECONDS = 60
WriteConfig = Callable[[Path], None]  # what it adds to a folder that has connections


@contextmanager
def running(
    store: str | None,
    write_config: WriteConfig,
    *,
    connections: str = "",
    prometheus: str = "http://127.0.0.1:9",  # nobody there
) -> Iterator["Quell"]:
    """Prefect server, gateway and responder, ended by their ids; `connections` are more lines for quell.toml."""
    with tempfile.TemporaryDirectory(prefix="quell-bench-") as name, ExitStack() as stack:
        folder, ports = Path(name), [_free_port(), _free_port()]
        config = folder / "config"
        config.mkdir()
        url = store or f"sqlite:///{folder}/record.db"
        (config / "quell.toml").write_text(
            f'[connections]\nstore = "{url}"\nprometheus = "{prometheus}"\ngateway_port = {ports[0]}\n'
            f'prefect_ui = "http://127.0.0.1:{ports[1]}"\n{connections}\n'
        )
        write_config(config)
        env = {
            **os.environ,
            **server_environment(ports[1], folder / "prefect"),
            CONFIG_VARIABLE: str(config),
            DATA_VARIABLE: str(folder / "data"),
        }
        server = server_program(ports[1], env)
        _start(stack, server.command, env, folder / "prefect.log")
        _wait(server.is_ready, "the Prefect server")  # type: ignore[arg-type]
        gateway = _start(stack, [sys.executable, "-m", "deployments.gateway"], env, folder / "gateway.log")
        door = f"http://127.0.0.1:{ports[0]}"
        _wait(lambda: _answers(f"{door}/readyz"), "the gateway")
        responder = _start(stack, [sys.executable, "-m", "deployments.responder"], env, folder / "responder.log")
        record = SqlStore(url)
        stack.callback(record.close)
        quell = Quell(door, record, {"gateway": gateway.pid, "responder": responder.pid})
        stack.callback(quell.client.close)
        yield quell


def _start(stack: ExitStack, command: Any, env: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    output = stack.enter_context(log.open("wb"))
    process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)

    def end() -> None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)
    return process


class Quell:
    def __init__(self, door: str, store: SqlStore, pids: dict[str, int]) -> None:
        self.door = door
        self.store = store
        self.pids = pids
        self.client = httpx.Client(base_url=door, trust_env=False, timeout=30)
        self.most_memory: dict[str, float] = {}

    def post(self, alerts: list[dict[str, Any]]) -> float:
        """Seconds until the answer."""
        began = time.perf_counter()
        answer = self.client.post("/api/v1/alerts/alertmanager", json={"version": "4", "alerts": alerts})
        answer.raise_for_status()
        return time.perf_counter() - began

    def look_at_memory(self) -> dict[str, float]:
        for name, pid in self.pids.items():
            status = Path(f"/proc/{pid}/status").read_text()
            kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
            self.most_memory[name] = max(self.most_memory.get(name, 0.0), kilobytes / 1024)
        return dict(self.most_memory)

    def counts(self) -> dict[str, int]:
        with self.store.reading() as tx:
            return {
                "alerts": tx.alerts.count(),
                "incidents": tx.incidents.count(),
                "timeline": tx.timeline.written(),
                "waiting": tx.inbox.count({"processed_at": None}),
            }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _wait(is_ready: Any, what: str) -> None:
    deadline = time.monotonic() + 120
    while not is_ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} is not ready after 120 s")
        time.sleep(0.2)
