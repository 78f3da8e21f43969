"""Ports for what is about to start, asked for by several processes at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployments.sandbox.layout import find_base_port
from deployments.sandbox.ports import free_port, is_free, reserve

pytestmark = pytest.mark.integration
TREE = Path(__file__).parents[2]
_ASK = """
import sys
from deployments.sandbox.layout import find_base_port
from deployments.sandbox.ports import free_port
print(*(free_port() for _ in range(50)), *(find_base_port() for _ in range(10)), flush=True)
sys.stdin.read()
"""


def test_four_processes_that_ask_at_once_are_given_different_ports() -> None:
    """Nobody has bound one yet: 200 of 2,000 single ports and 40 of 200 families, drawn without a look, would meet."""
    command = [sys.executable, "-c", _ASK]
    asking = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TREE) for _ in range(4)
    ]
    try:
        with ThreadPoolExecutor(4) as readers:
            lines = readers.map(lambda process: process.stdout.readline(), asking)
            given = [int(word) for line in lines for word in line.split()]
    finally:
        for process in asking:
            process.communicate("")
    assert len(given) == len(set(given)) == 240


def test_a_port_that_is_given_away_is_free_and_refused_to_others() -> None:
    port, base = free_port(), find_base_port()
    assert is_free(port) and is_free(base)
    assert not reserve(port) and not reserve(base)
