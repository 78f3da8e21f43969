"""A database follows the code: from nothing to the newest form, once, and never backwards."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, create_engine, inspect, make_url, text

from quell.adapters.store.codec import encode_record
from quell.adapters.store.migrate import HEAD, NewerDatabase
from quell.adapters.store.schema import METADATA
from quell.adapters.store.sql import SqlStore
from quell.gateway.alert_groups import read_alerts, read_groups
from quell.gateway.listing import Filter, read_listing
from quell.incidents.alert import Alert, AlertId, AlertStatus
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.labels import Fingerprint

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("new_by_migrations")]
TRIGRAMS = "ix_incidents_trigrams"  # PostgreSQL's alone, and only where its extension may be created
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
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_name": lambda name, *_: name != TRIGRAMS}
        )
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


T0 = datetime(2026, 11, 23, 12, tzinfo=UTC)


def old_alert(number: int, labels: dict[str, str]) -> Alert:
    return Alert(
        id=AlertId(f"a{number}"),
        fingerprint=Fingerprint(f"{number:016x}"),
        status=AlertStatus.FIRING,
        labels=labels,
        annotations={},
        starts_at=T0,
        source="alertmanager",
        received_at=T0,
        updated_at=T0,
        incident="INC-1",
    )


def old_incident() -> Incident:
    return Incident(
        id=IncidentId("INC-1"),
        state=IncidentState.TRIAGED,
        severity=Severity.MAJOR,
        title='Checkout-2 says "Zu spät"',
        service="checkout",
        onset_at=T0,
        opened_at=T0,
        updated_at=T0,
        opened_because="it was there",
        opened_by="sweep",
    )


def build_at(url: str, version: str, records: dict[str, list[object]]) -> None:
    """A database as an older Quell left it: its tables, and the records with the columns that they had."""
    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    with engine.begin() as connection:
        tables = MetaData()
        tables.reflect(connection)
        for kind, many in records.items():
            table = tables.tables[kind]
            for record in many:
                row = {name: value for name, value in encode_record(kind, record).items() if name in table.c}
                connection.execute(table.insert().values({k: as_stored(engine, v) for k, v in row.items()}))
    engine.dispose()


def as_stored(engine: Engine, value: object) -> object:
    is_text = isinstance(value, datetime) and engine.dialect.name == "sqlite"
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) and is_text else value


def test_what_was_recorded_before_search_is_found_and_grouped_after_the_upgrade(store_url: str) -> None:
    """Revision 0006 brought the columns; whoever upgrades keeps years of incidents that must not vanish from lists."""
    alerts = [
        old_alert(1, {"alertname": "Errors", "service": "checkout", "instance": "Pod-1"}),
        old_alert(2, {"alertname": "Errors", "service": "checkout", "instance": "pod-2"}),
        old_alert(3, {"alertname": "Disk", "host": 'it\'s 100 % "full"'}),
        old_alert(4, {"host": "nameless"}),
    ]
    build_at(store_url, "0005", {"incidents": [old_incident()], "alerts": alerts})
    store = SqlStore(store_url)
    for words in ("checkout-2", "zu", "inc-1 CHECKOUT", "says"):
        assert [row.incident.id for row in read_listing(store, Filter(q=words)).rows] == ["INC-1"], words
    assert read_listing(store, Filter(q="payment")).rows == ()
    with store.reading() as tx:
        groups = read_groups(tx, "INC-1").groups
    assert {(g.service, g.name, g.firing, g.total) for g in groups} == {
        ("checkout", "Errors", 2, 2),
        (None, "Disk", 1, 1),
        (None, "", 1, 1),
    }
    assert [a.id for a in read_alerts(store, "INC-1", q="pod-1").alerts] == ["a1"]
    assert [a.id for a in read_alerts(store, "INC-1", service="", name="Disk").alerts] == ["a3"]
    assert [a.id for a in read_alerts(store, "INC-1", q="100 %").alerts] == ["a3"]
    store.close()


def test_postgresql_gets_an_index_of_trigrams_and_a_role_that_may_not_create_it_does_without(postgres_url: str) -> None:
    SqlStore(postgres_url).close()
    engine = create_engine(postgres_url)
    assert TRIGRAMS in {index["name"] for index in inspect(engine).get_indexes("incidents")}
    with engine.begin() as connection:
        for statement in ("DROP SCHEMA public CASCADE", "DROP ROLE IF EXISTS modest", "CREATE ROLE modest LOGIN"):
            connection.execute(text(statement))
        connection.execute(text("CREATE SCHEMA public AUTHORIZATION modest"))
    engine.dispose()
    store = SqlStore(make_url(postgres_url).set(username="modest").render_as_string())
    with store.writing() as tx:
        tx.incidents.put(old_incident())
    assert [row.incident.id for row in read_listing(store, Filter(q="checkout-2")).rows] == ["INC-1"]
    indexes = {index["name"] for index in inspect(store._engine).get_indexes("incidents")}
    assert TRIGRAMS not in indexes and "ix_incidents_opened_at" in indexes
    store.close()


@pytest.mark.parametrize(
    "word", ["100%_done!", "a'b''cde", "back\\slash", "%%%", "___", "!!!", "ab", "grün-grün", ":abc"]
)
def test_every_sign_in_a_search_means_itself(store_url: str, word: str) -> None:
    store = SqlStore(store_url)
    with store.writing() as tx:
        for number, title in enumerate((f"disk {word} of checkout", "100 x done ab_c", "abXcde backslash"), start=1):
            tx.incidents.put(replace(old_incident(), id=IncidentId(f"INC-{number}"), title=title))
    found = [row.incident.id for row in read_listing(store, Filter(q=word)).rows]
    assert "INC-1" in found and found == [i for i in found if i == "INC-1" or word == "ab"]
    store.close()
