"""The tables: for each kind its id, its order of insertion, its indexed fields, and the record as JSON.

`seq` is the physical key, because SQLite counts upwards only there; `id` is the unique key by which records are found.
Databases are built by the migrations; a test holds this description and what they build together.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from quell.adapters.store.codec import RECORD_TYPES, IndexedField, companions, indexed_fields
from quell.record_indexes import COMPOUND_INDEXES, INDEXES


class Instant(TypeDecorator[datetime]):
    """An aware time in UTC to the microsecond: timestamptz in PostgreSQL, text of fixed width in SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # its signature
        if value is None:
            return None
        at: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
        return at.astimezone(UTC)


# Byte order everywhere, so that text sorts the same in SQLite, PostgreSQL and Python.
PLAIN = Text().with_variant(Text(collation="C"), "postgresql")
COUNTER = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts only on INTEGER PRIMARY KEY

METADATA = MetaData()


def _column(field: IndexedField) -> Column[Any]:
    kind: TypeEngine[Any] = Instant() if field.is_time else PLAIN
    return Column(field.name, kind, nullable=field.is_optional)


def _records_table(kind: str) -> Table:
    columns: list[Column[Any]] = [
        Column("seq", COUNTER, primary_key=True, autoincrement=True),
        Column("id", PLAIN, nullable=False, unique=True),
    ]
    columns += [_column(field) for field in indexed_fields(kind).values()]
    columns.append(Column("body", Text, nullable=False))
    if kind == "documents":
        columns.append(Column("blob", LargeBinary, nullable=False))
    # A migration adds columns at the end: so they stand here.
    columns += [_column(field) for field in companions(kind).values()]
    indexes = [Index(f"ix_{kind}_{name}", name, "seq") for name in INDEXES[kind]]
    indexes += [Index(f"ix_{kind}_{name}", *names) for name, names in COMPOUND_INDEXES.get(kind, {}).items()]
    return Table(kind, METADATA, *columns, *indexes, sqlite_autoincrement=True)


TABLES: Mapping[str, Table] = {kind: _records_table(kind) for kind in RECORD_TYPES}

TIMELINE = Table(
    "timeline",
    METADATA,
    Column("id", COUNTER, primary_key=True, autoincrement=False),
    Column("incident", PLAIN, nullable=False),
    Column("number", COUNTER, nullable=False),
    Column("at", Instant(), nullable=False),
    Column("kind", PLAIN, nullable=False),
    Column("by", PLAIN, nullable=False),
    Column("text", PLAIN, nullable=False),
    Column("subject", PLAIN),
    Column("evidence", Text, nullable=False),
    Column("previous", PLAIN, nullable=False),
    Column("hash", PLAIN, nullable=False),
    Column("chain", PLAIN, nullable=False),
    Index("ix_timeline_incident", "incident", "number", unique=True),
)

SEQUENCES = Table(
    "sequences",
    METADATA,
    Column("prefix", PLAIN, primary_key=True),
    Column("value", COUNTER, nullable=False),
)
