"""The Prefect server is killed in the middle of a mitigation: the effect is settled without it, once."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.mitigation_kills import Torture
from deployments.prefect_server import is_healthy, server_environment, server_program
from deployments.sandbox.ports import free_port
from deployments.sandbox.trial_proxy import TrialProxy

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
    made = Server(home=tmp_path / "prefect", port=free_port())
    yield made
    made.kill()


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_is_left_is_settled_without_it(tmp_path: Path, server: Server, moment: str) -> None:
    """The run fails when it cannot speak to its server any more; the record and reconciliation do not need it.

    A process of its own runs the flow: what Prefect's client keeps trying ends with it.
    """
    server.start()
    with TrialProxy(tmp_path / "proxy") as proxy:
        torture = Torture(f"sqlite:///{tmp_path}/record.db", proxy, api=server.api)
        outcome = torture.let_live("mitigate flow", moment, server.kill)
    assert outcome.boundary == moment and not is_healthy(server.api)
    assert outcome.faults == () and outcome.settled_s is not None
