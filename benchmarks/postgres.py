"""A PostgreSQL that lives as long as a benchmark."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from deployments.sandbox.ports import free_port


class Postgres:
    """A server of its own; it may be ended and started again, its data stay."""

    def __init__(self, command: list[Any], folder: Path, port: int) -> None:
        self._command = command
        self._folder = folder
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._starter = ThreadPoolExecutor(1)
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"

    def start(self) -> None:
        """From a thread that stays: the server ends with the thread that started it, so that it never outlives us."""
        self._starter.submit(self._start).result()

    def _start(self) -> None:
        out = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, stdout=out, stderr=out, cwd=self._folder)
        _wait(self._port)

    def stop(self) -> None:
        """A fast shutdown: connections are cut, transactions rolled back."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
            self._process = None


@contextmanager
def throwaway_postgres(*, durable: bool) -> Iterator[str]:
    """Its address; `durable` says whether a commit waits for the disk, as in production."""
    with postgres_server(durable=durable) as server:
        yield server.url


@contextmanager
def postgres_server(*, durable: bool) -> Iterator[Postgres]:
    """The server, running; it ends with the block, and its data go."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
    if not programs:
        raise SystemExit("error: postgres is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="quell-postgres-"))
    folder.chmod(0o755)
    is_root = os.geteuid() == 0  # which PostgreSQL refuses
    if is_root:
        shutil.chown(folder, "postgres", "postgres")
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=QUIT"] if is_root else []
    port = free_port()
    initdb = [*user, programs[-1] / "initdb", "-D", folder / "data", "-A", "trust", "-U", "postgres", "--no-sync"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    options += ["-c", f"fsync={'on' if durable else 'off'}"]
    command = [*user, programs[-1] / "postgres", "-D", folder / "data", "-p", str(port), *options]
    server = Postgres(command, folder, port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="postgres", connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
