"""A remote for the repository that fixes are killed on: git's own server, which outlives whoever pushes to it."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.sandbox.ports import free_port

_START_SECONDS = 10.0


@contextmanager
def remote_of(folder: Path) -> Iterator[str]:
    """Serve a bare copy of the repository, as its remote `origin`; the address."""
    bare, port = folder.with_name(f"{folder.name}.git"), free_port()
    url = f"git://127.0.0.1:{port}/{bare.name}"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(folder), str(bare)], check=True, timeout=30)
    subprocess.run(["git", "remote", "add", "origin", url], cwd=folder, check=True, timeout=30)
    command = ("git", "daemon", "--listen=127.0.0.1", f"--port={port}", f"--base-path={bare.parent}", "--export-all")
    with subprocess.Popen([*command, "--enable=receive-pack"], stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(url)
            yield url
        finally:
            server.terminate()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while subprocess.run(["git", "ls-remote", "--quiet", url], capture_output=True, timeout=30, check=False).returncode:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{url} did not answer within {_START_SECONDS:g} s")
        time.sleep(0.05)
