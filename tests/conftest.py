"""Real programs that more than one room of tests needs."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import pytest
from hypothesis import settings
from pyotp.totp import TOTP

from deployments.sandbox.layout import find_base_port
from deployments.sandbox.ports import free_port
from deployments.sandbox.sandbox import Sandbox
from quell.adapters.store.memory import MemoryStore
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config
from quell.config.load import load_config
from quell.incidents.errors import Unavailable
from quell.ports import Store
from tasks.resources import CONFIG_VARIABLE
from tests.lanes import Lanes, fail_if_left_undone, shorten_folder
from tests.new_databases import every_migration, migrated_once
from tests.waiting import wait_until

_names = count(1)

# The same examples in every run, so that a run says something about the change and not about luck, nor about how busy
# the machine is: pytest's own time limit holds.
# QUELL_HYPOTHESIS=search looks for new ones.
settings.register_profile("steady", derandomize=True, database=None, deadline=None)
settings.register_profile("search", settings.get_profile("default"))
settings.load_profile(os.environ.get("QUELL_HYPOTHESIS", "steady"))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    shorten_folder(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes:
    """Whoever asks for workers (`-n 2`) gets the lanes, whatever `--dist` says: files share what they start."""
    return Lanes(config, log)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    fail_if_left_undone(session)


@pytest.fixture(autouse=True)
def own_configuration() -> Iterator[None]:
    """A command that runs in this process notes its folder and its Prefect server for what it starts; the next has its
    own."""
    names = (CONFIG_VARIABLE, "PREFECT_API_URL", "PREFECT_UI_URL")
    before = {name: os.environ.get(name) for name in names}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="module", autouse=True)
def own_prefect_events() -> Iterator[None]:
    """Prefect has one client for events whatever the server: a module must not leave that of a dead one to the next."""
    yield
    worker = sys.modules.get("prefect.events.worker")
    if worker is not None:
        worker.EventsWorker.drain_all(timeout=5)


@pytest.fixture(scope="session", autouse=True)
def _new_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with migrated_once(tmp_path_factory.mktemp("migrated")):
        yield


@pytest.fixture
def new_by_migrations() -> Iterator[None]:
    """For what a test says about the migrations themselves."""
    with every_migration():
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A throwaway PostgreSQL, as `postgresql+psycopg://postgres@127.0.0.1:PORT`; without the program the test fails."""
    programs = _postgres_programs()
    folder = Path(tempfile.mkdtemp(prefix="quell-postgres-"))
    folder.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    try:
        subprocess.run(
            [*_as_postgres(), programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", "postgres", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )
        process, port = _start_postgres(programs, folder)
        try:
            yield f"postgresql+psycopg://postgres@127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown
            process.wait(timeout=20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A database of its own for one test."""
    name = f"quell_{os.getpid()}_{next(_names)}"
    _administer(postgres_server, f"CREATE DATABASE {name}")
    yield f"{postgres_server}/{name}"
    _administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, once in SQLite and once in PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/record.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def every_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each sort: they are held to the same promises."""
    match request.param:
        case "memory":
            opened: Store = MemoryStore()
        case "sqlite":
            opened = SqlStore(f"sqlite:///{tmp_path}/record.db")
        case _:
            opened = SqlStore(request.getfixturevalue("postgres_url"))
    yield opened
    opened.close()


def _administer(server: str, statement: str) -> None:
    with psycopg.connect(server.replace("+psycopg", "") + "/postgres", autocommit=True) as connection:
        connection.execute(statement.encode())


def _start_postgres(programs: Path, folder: Path) -> tuple["subprocess.Popen[bytes]", int]:
    port = free_port()
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [
            *_as_postgres(),
            *(programs / "postgres", "-D", folder / "data", "-p", str(port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"),
            *("-c", "fsync=off", "-c", "max_connections=200"),  # its data lives as long as the tests
        ],
        stdout=log,
        stderr=log,
        cwd=folder,
    )
    log.close()

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        with suppress(psycopg.OperationalError):
            psycopg.connect(host="127.0.0.1", port=port, user="postgres", connect_timeout=2).close()
            return True
        return False

    try:
        wait_until("postgres starts", answers, tell=(folder / "log").read_text)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process, port


def _as_postgres() -> list[str]:
    """PostgreSQL refuses root; it must also not outlive a test run that was killed."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=QUIT"]


def _postgres_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    program = shutil.which("postgres")
    if program is None:
        pytest.fail("postgres is not installed: apt-get install postgresql (the store is tested on the real one)")
    return Path(program).resolve().parent


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunningQuell:
    """A sandbox shop with `quell up` beside it, as a user would have it."""

    sandbox: Sandbox
    config: Config
    store: SqlStore
    log: Path
    prefect_url: str

    def wait_for(self, what: str, ask: Callable[[], T | None], within: float = 60) -> T:
        """Ask until the answer is neither None nor False; fails with the end of the log."""
        return wait_until(what, ask, within=within, every=0.2, tell=lambda: self.log.read_text()[-3000:])

    def code(self, person: str) -> str:
        """The person's one-time code of this moment."""
        return TOTP((self.sandbox.layout.folder / "secrets" / f"{person}.totp").read_text().strip()).now()

    def prefect(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the Prefect server's REST interface, once: inside `wait_for` it may be slow to answer."""
        answer = httpx.request(method, f"{self.prefect_url}/api{path}", json=body, timeout=10)
        if answer.status_code == 503:  # its database is busy
            raise Unavailable(answer.text)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture(scope="session")
def running_quell() -> Iterator[RunningQuell]:
    """The shop and Quell, once for all tests that need the whole; the tests share it and tidy up after themselves."""
    folder = Path(tempfile.mkdtemp(prefix="quell-"))
    base_port = find_base_port()
    log = folder / "up.log"
    with Sandbox(folder / "shop", base_port=base_port) as sandbox, log.open("wb") as output:
        command = [sys.executable, "-m", "deployments.cli.main", "up"]
        command += ["--config", str(sandbox.config_folder), "--data", str(folder / "quell")]
        up = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        config = load_config(sandbox.config_folder)
        prefect_url = f"http://127.0.0.1:{base_port + 70}"
        store = SqlStore(config.connections.store)
        running = RunningQuell(sandbox, config, store, log, prefect_url)
        try:
            running.wait_for("quell up", lambda: up.poll() is not None or "Quell is up" in log.read_text(), within=150)
            assert up.poll() is None, log.read_text()
            yield running
        finally:
            store.close()
            up.send_signal(signal.SIGTERM)
            up.wait(60)
    shutil.rmtree(folder, ignore_errors=True)
