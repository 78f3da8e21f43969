"""Which process runs something, and whether it still lives: a wrong word ends a run that goes on, or frees no slot."""

import os
import socket
import subprocess
import sys

import pytest

from deployments.process_identity import is_gone, own_identity

pytestmark = pytest.mark.integration
HOST = socket.gethostname()


def test_this_process_is_not_gone() -> None:
    assert own_identity().startswith(f"{HOST}:{os.getpid()}:") and not is_gone(own_identity())


def test_a_process_that_ended_is_gone_also_while_nobody_has_waited_for_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()  # until it has closed everything, and so ends
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(f"{HOST}:{process.pid}")
    process.communicate()
    assert is_gone(f"{HOST}:{process.pid}")


def test_a_number_that_was_given_away_again_is_not_believed() -> None:
    """After a restart of the machine or a container, another program has the number."""
    host, process, start = own_identity().split(":")
    assert is_gone(f"{host}:{process}:{int(start) - 1}")


@pytest.mark.parametrize("identity", ["another-machine:1:1", "another-machine:999999999", "", "nonsense", f"{HOST}:x"])
def test_what_nobody_here_can_know_is_not_said_to_be_gone(identity: str) -> None:
    assert not is_gone(identity)


def test_prefects_own_form_is_understood() -> None:
    assert not is_gone(f"{HOST}:{os.getpid()}")
