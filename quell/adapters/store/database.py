"""What SQLite and PostgreSQL each need so that they keep the store's promises."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from sqlite3 import OperationalError as SqliteOperationalError
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from quell.incidents.errors import InvalidInput, Unavailable

WRITER_LOCK = 7_235_419_001  # advisory lock of PostgreSQL: whoever holds it writes the record
MIGRATION_LOCK = 7_235_419_002
_BEGIN = "quell_begin"  # execution option of a connection to SQLite: how its transactions begin
_CHECKPOINT_AFTER = 4000  # pages of 4 KiB in the log: pages that many rows touch are copied less often
_STOPPED_WRITER = timedelta(minutes=1)  # PostgreSQL ends a transaction that does nothing for so long


def open_engine(url: str, timeout: timedelta) -> Engine:
    """An engine for `sqlite:///PATH` or `postgresql://...`; nothing is contacted yet. Raises InvalidInput."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidInput(f"store {url!r} is no address: write sqlite:///PATH or postgresql://...") from error
    match parsed.get_backend_name():
        case "sqlite":
            return _open_sqlite(parsed, timeout)
        case "postgresql":
            return _open_postgresql(parsed.set(drivername="postgresql+psycopg"), timeout)
        case other:
            raise InvalidInput(f"store is kept in {other}; it can be kept in sqlite or postgresql")


def _open_sqlite(url: URL, timeout: timedelta) -> Engine:
    if not url.database or url.database == ":memory:":
        raise InvalidInput("store needs a file: write sqlite:///PATH (MemoryStore is the store without one)")
    Path(url.database).expanduser().absolute().parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url, connect_args={"timeout": timeout.total_seconds(), "check_same_thread": False}, **_pool(timeout)
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # Python's driver begins no transaction by itself; `begin` below does
        _use_wal(connection, timeout)
        connection.execute("PRAGMA synchronous=FULL")  # a commit is on the disk before it returns
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_AFTER}")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))

    return engine


def _use_wal(connection: Any, timeout: timedelta) -> None:
    """Switch to the write-ahead log; SQLite does not wait for a lock here, so we do."""
    deadline = time.monotonic() + timeout.total_seconds()
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except SqliteOperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _open_postgresql(url: URL, timeout: timedelta) -> Engine:
    milliseconds = int(timeout.total_seconds() * 1000)
    settings = (
        f"-c timezone=UTC -c lock_timeout={milliseconds} "
        f"-c idle_in_transaction_session_timeout={int(_STOPPED_WRITER.total_seconds() * 1000)}"
    )
    own = url.query.get("options", "")
    options = f"{own if isinstance(own, str) else ' '.join(own)} {settings}".strip()
    return create_engine(
        url.difference_update_query(["options"]),
        connect_args={"options": options, "connect_timeout": max(2, int(timeout.total_seconds()))},
        pool_pre_ping=True,  # a restarted server costs a new connection, not an error
        **_pool(timeout),
    )


def _pool(timeout: timedelta) -> dict[str, Any]:
    return {"pool_size": 8, "max_overflow": 24, "pool_timeout": timeout.total_seconds()}


@contextmanager
def begin_writing(engine: Engine, lock: int = WRITER_LOCK) -> Generator[Connection]:
    """A transaction that writes, alone: SQLite has one writer always, PostgreSQL gives it the named lock."""
    with answering(engine), engine.connect() as connection:
        connection = connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock})")
            yield connection


@contextmanager
def begin_reading(engine: Engine) -> Generator[Connection]:
    """A transaction that sees one moment, from its first look on, and never waits for writers."""
    with answering(engine), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


@contextmanager
def answering(engine: Engine) -> Generator[None]:
    """Say Unavailable, and what to do, where the database does not answer; a wrong statement stays what it is."""
    try:
        yield
    except (DataError, IntegrityError, ProgrammingError):
        raise
    except (DBAPIError, PoolTimeoutError) as error:
        reason = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        raise no_answer(engine, reason) from reason


def no_answer(engine: Engine, reason: BaseException) -> Unavailable:
    """What to say where the database does not answer; `reason` is the driver's own error."""
    where = engine.url.render_as_string(hide_password=True)
    first = str(reason).strip().splitlines()[0]
    return Unavailable(
        f"store {where} does not answer: {first}; check that it runs, has room on its disk "
        "and is not held by a stopped process, then try again"
    )
