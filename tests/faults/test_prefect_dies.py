"""The Prefect server is killed in the middle of a mitigation: the effect is settled without it, once."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

import tasks.mitigation
from benchmarks.mitigation_kills import Boundaries, Torture
from deployments.prefect_server import is_healthy, server_environment, server_program
from deployments.sandbox.trial_proxy import TrialProxy
from flows.response import mitigate
from tasks.forms import MitigationRequest
from tasks.resources import Resources

pytestmark = [pytest.mark.fault, pytest.mark.timeout(400)]
MOMENTS = ("after isolate",)  # each takes most of a minute, in which the client hopes for its server


@dataclass
class Server:
    """A Prefect server that can be killed and started again."""

    home: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        env = {**os.environ, **server_environment(self.port, self.home)}
        program = server_program(self.port, env)
        out = subprocess.DEVNULL
        self.process = subprocess.Popen(program.command, env=env, stdout=out, stderr=out, start_new_session=True)
        while not is_healthy(self.api):
            assert self.process.poll() is None, "the Prefect server ended"

    def kill(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        made = Server(home=tmp_path / "prefect", port=int(probe.getsockname()[1]))
    yield made
    made.kill()


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_is_left_is_settled_without_it(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The run fails when it cannot speak to its server any more; the record and reconciliation do not need it."""
    server.start()
    killed: list[str] = []

    def kill(_: Boundaries) -> None:
        server.kill()
        killed.append(moment)

    def run(res: Resources, subject: str) -> None:
        monkeypatch.setattr(tasks.mitigation, "resources", lambda: res)
        with temporary_settings({PREFECT_API_URL: server.api, PREFECT_CLIENT_MAX_RETRIES: 1}):
            mitigate(MitigationRequest.model_validate({"mitigation": subject, "dry_run": False}))

    with TrialProxy(tmp_path / "proxy") as proxy:
        torture = Torture(f"sqlite:///{tmp_path}/record.db", proxy)
        outcome = torture.disturb_at("mitigate flow", moment, kill, run)
    assert killed == [moment]
    assert outcome.faults == () and outcome.settled_s is not None
