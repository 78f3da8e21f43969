"""A database follows the code: from nothing to the newest form, once, and never backwards."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from quell.adapters.store.migrate import HEAD, NewerDatabase
from quell.adapters.store.schema import METADATA
from quell.adapters.store.sql import SqlStore

pytestmark = pytest.mark.integration
SCRIPTS = Path(__file__).parents[2] / "quell/adapters/store/migrations"


def set_version(url: str, version: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
    engine.dispose()


def test_an_empty_database_gets_exactly_the_tables_that_the_code_describes(store_url: str) -> None:
    SqlStore(store_url).close()
    engine = create_engine(store_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == HEAD
    engine.dispose()


def test_the_named_head_is_the_newest_step() -> None:
    assert ScriptDirectory(SCRIPTS).get_heads() == [HEAD]


def test_a_database_at_head_opens_within_100_ms_and_without_alembic(store_url: str) -> None:
    SqlStore(store_url).close()
    seconds: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        SqlStore(store_url).close()
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.1


def test_many_may_open_an_empty_database_at_once(store_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(SqlStore, [store_url] * 8))
    with stores[0].writing() as tx:
        assert tx.next_number("INC") == 1
    for store in stores:
        store.close()


def test_a_newer_database_is_refused_and_left_as_it_is(store_url: str) -> None:
    SqlStore(store_url).close()
    set_version(store_url, "9999")
    with pytest.raises(NewerDatabase, match=f"has version 9999, this Quell knows up to {HEAD}; install"):
        SqlStore(store_url)
    set_version(store_url, HEAD)
    SqlStore(store_url).close()


def test_sqlite_keeps_what_it_committed_through_a_power_cut(tmp_path: Path) -> None:
    """WAL lets readers and the writer work at once; synchronous=FULL (2) flushes the log at each commit."""
    store = SqlStore(f"sqlite:///{tmp_path}/a folder that is not there/record.db")
    with store._engine.connect() as connection:
        settings = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}
    store.close()
