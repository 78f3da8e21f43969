"""`quell up`: everything that runs beside the user's services, in one terminal."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import httpx
from rich.console import Console

from deployments.prefect_server import (
    is_healthy,
    prove_scheduling,
    register,
    server_environment,
    server_program,
    sweeper_program,
    worker_program,
)
from deployments.supervisor import Program, Supervisor
from quell.config.config import Config
from quell.config.load import load_config
from quell.incidents.errors import Unavailable
from tasks.resources import CONFIG_VARIABLE, DATA_VARIABLE

_DEFAULT_PREFECT_PORT = 4200


def up(config_folder: Path, data: Path) -> None:
    """Run until Ctrl-C or SIGTERM. Raises QuellError when something cannot be started."""
    config = load_config(config_folder)
    console = Console(highlight=False)
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    supervisor = Supervisor(data / "logs", lambda text: console.print(f"{_time()}  {text}"))
    try:
        _start_all(supervisor, config, config_folder, data, console, stopping)
        while not stopping.wait(1):
            supervisor.watch()
    finally:
        console.print(f"{_time()}  stopping")
        supervisor.stop()
        console.print(f"{_time()}  stopped; nothing is left running")


def _start_all(
    supervisor: Supervisor, config: Config, folder: Path, data: Path, console: Console, stopping: threading.Event
) -> None:
    env = _environment(config, folder, data)
    os.environ.update(env)
    steps: list[tuple[str, Program | None]] = []
    if "127.0.0.1" in env["PREFECT_API_URL"] and not is_healthy(env["PREFECT_API_URL"]):
        steps.append(("Prefect server", server_program(urlsplit(env["PREFECT_API_URL"]).port or 4200, env)))
    steps += [
        ("gateway", gateway_program(config, env)),
        ("deployments", None),
        ("worker", worker_program(env)),
        ("sweeper", sweeper_program(env)),
        ("responder", Program(name="responder", command=[sys.executable, "-m", "deployments.responder"], env=env)),
    ]
    for title, program in steps:
        if stopping.is_set():
            return
        started = time.monotonic()
        if not console.is_terminal:  # in a log nothing turns: minutes of a first start would look like a hang
            console.print(f"{_time()}  {title}: starting")
        with console.status(f"{title}: starting"):
            if program is None:
                register(config, env)
            else:
                supervisor.start(program)
        console.print(f"{_time()}  {title} ready after {time.monotonic() - started:.1f} s")
    with console.status("waiting for the first scheduled run"):
        prove_scheduling(env)
    _show(config, env, supervisor, console)


def gateway_program(config: Config, env: dict[str, str]) -> Program:
    """The HTTP door; ready when its store answers."""

    def is_ready() -> bool:
        try:
            return httpx.get(f"{config.gateway_url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    command = [sys.executable, "-m", "deployments.gateway"]
    return Program(name="gateway", command=command, env=env, is_ready=is_ready)


def _environment(config: Config, folder: Path, data: Path) -> dict[str, str]:
    """PREFECT_API_URL wins when it is set: then that server is used and none is started."""
    given = os.environ.get("PREFECT_API_URL")
    ui = config.connections.prefect_ui
    port = urlsplit(ui).port or _DEFAULT_PREFECT_PORT if ui else _DEFAULT_PREFECT_PORT
    env = server_environment(port, data / "prefect")
    if given:
        if not is_healthy(given):
            raise Unavailable(f"PREFECT_API_URL is {given}, and nothing healthy answers there: start it, or unset it")
        env = {"PREFECT_API_URL": given, "PREFECT_UI_URL": os.environ.get("PREFECT_UI_URL", given.removesuffix("/api"))}
    return {**env, CONFIG_VARIABLE: str(folder.resolve()), DATA_VARIABLE: str(data.resolve())}


def _show(config: Config, env: dict[str, str], supervisor: Supervisor, console: Console) -> None:
    console.print(f"{_time()}  Quell is up. Ctrl-C stops everything.")
    console.print(f"  incidents      {config.gateway_url}/", soft_wrap=True)
    console.print(f"  Prefect        {env['PREFECT_UI_URL']}", soft_wrap=True)
    console.print(
        f"  Alertmanager   webhook_configs: - url: {config.gateway_url}/api/v1/alerts/alertmanager", soft_wrap=True
    )
    for name, pid, state in supervisor.states():
        console.print(f"  {name:<14} process {pid}, {state}")


def _time() -> str:
    return time.strftime("%H:%M:%S", time.gmtime())
