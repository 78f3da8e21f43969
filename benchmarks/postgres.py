"""A PostgreSQL that lives as long as a benchmark."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg


@contextmanager
def throwaway_postgres(*, durable: bool) -> Iterator[str]:
    """Its address; `durable` says whether a commit waits for the disk, as in production."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
    if not programs:
        raise SystemExit("error: postgres is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="quell-postgres-"))
    folder.chmod(0o755)
    is_root = os.geteuid() == 0  # which PostgreSQL refuses
    if is_root:
        shutil.chown(folder, "postgres", "postgres")
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=QUIT"] if is_root else []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    initdb = [*user, programs[-1] / "initdb", "-D", folder / "data", "-A", "trust", "-U", "postgres", "--no-sync"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    options += ["-c", f"fsync={'on' if durable else 'off'}"]
    command = [*user, programs[-1] / "postgres", "-D", folder / "data", "-p", str(port), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        _wait(port)
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # fast shutdown
        process.wait(20)
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
