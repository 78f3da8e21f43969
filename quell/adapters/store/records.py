"""The records of one kind, in SQL."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Select,
    String,
    Table,
    TextClause,
    bindparam,
    delete,
    func,
    or_,
    select,
    text,
    tuple_,
)

from quell.adapters.store.codec import Value, column_value, decode_record, encode_record, indexed_fields
from quell.adapters.store.query import Bound, Query, check_field, check_time, plan_query
from quell.adapters.store.schema import TABLES
from quell.adapters.store.transaction import refuse_writing
from quell.incidents.errors import Conflict
from quell.ports import GroupCount, Place

_HAS_TRIGRAM = re.compile(r"[a-z0-9]{3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """What is asked of one table again and again.

    Written as text, the same in both databases: SQLAlchemy compiles its own ON CONFLICT anew each time (2.0), which
    took four fifths of a `put`.
    """

    get: Select[Any]
    insert: TextClause  # does nothing where the id is taken; returns the id if it was new
    upsert: TextClause  # replaces all but id and seq
    delete: Delete


@cache
def statements_of(kind: str) -> Statements:
    table = TABLES[kind]
    names = [column.name for column in table.columns if column.name != "seq"]
    replaced = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name != "id")
    return Statements(
        get=_select_record(table).where(table.c.id == bindparam("wanted")),
        insert=_insert(table, names, "DO NOTHING RETURNING id"),
        upsert=_insert(table, names, f"DO UPDATE SET {replaced}"),
        delete=delete(table).where(table.c.id == bindparam("wanted")),
    )


def _insert(table: Table, names: list[str], on_conflict: str) -> TextClause:
    columns = ", ".join(f'"{name}"' for name in names)
    values = ", ".join(f":{name}" for name in names)
    statement = text(f'INSERT INTO "{table.name}" ({columns}) VALUES ({values}) ON CONFLICT (id) {on_conflict}')
    return statement.bindparams(*(bindparam(name, type_=table.c[name].type) for name in names))


class SqlRecords:
    def __init__(self, connection: Connection, kind: str, *, is_writing: bool) -> None:
        self._connection = connection
        self._kind = kind
        self._is_writing = is_writing
        self._table = TABLES[kind]
        self._statements = statements_of(kind)

    def get(self, id: str) -> Any | None:
        row = self._connection.execute(self._statements.get, {"wanted": column_value(self._kind, "id", id)}).first()
        return None if row is None else decode_record(self._kind, *row)

    def add(self, record: Any) -> None:
        self._check_writing()
        row = encode_record(self._kind, record)
        if self._connection.execute(self._statements.insert, row).first() is None:
            raise Conflict(f"{self._kind} record {row['id']} exists already; read it and put the changed one")

    def put(self, record: Any) -> None:
        self._check_writing()
        self._connection.execute(self._statements.upsert, encode_record(self._kind, record))

    def put_all(self, records: Iterable[Any]) -> None:
        self._check_writing()
        rows = [encode_record(self._kind, record) for record in records]
        if rows:  # the driver runs the one statement over all rows; PostgreSQL's in one pipeline
            self._connection.execute(self._statements.upsert, rows)

    def delete(self, id: str) -> None:
        self._check_writing()
        self._connection.execute(self._statements.delete, {"wanted": column_value(self._kind, "id", id)})

    def find(
        self,
        where: Mapping[str, object] | None = None,
        *,
        after: Bound | None = None,
        before: Bound | None = None,
        containing: str = "",
        past: Place | None = None,
        order: str = "id",
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Any]:
        query = plan_query(
            self._kind,
            where,
            after=after,
            before=before,
            containing=containing,
            past=past,
            order=order,
            descending=descending,
            limit=limit,
            offset=offset,
        )
        statement = _select_record(self._table).where(*self._conditions(query))
        statement = statement.order_by(*_ordering(self._table, query))
        if query.limit is not None:
            statement = statement.limit(query.limit)
        if query.offset:
            statement = statement.offset(query.offset)
        return [decode_record(self._kind, *row) for row in self._connection.execute(statement)]

    def count(
        self,
        where: Mapping[str, object] | None = None,
        *,
        after: Bound | None = None,
        before: Bound | None = None,
        containing: str = "",
        at_most: int | None = None,
    ) -> int:
        query = plan_query(self._kind, where, after=after, before=before, containing=containing)
        conditions = self._conditions(query)
        if at_most is None:
            statement = select(func.count()).select_from(self._table).where(*conditions)
        else:
            some = select(self._table.c.seq).where(*conditions).limit(at_most).subquery()
            statement = select(func.count()).select_from(some)
        return self._connection.execute(statement).scalar_one()

    def tally(
        self, where: Mapping[str, object] | None = None, *, by: tuple[str, ...], latest: str, containing: str = ""
    ) -> list[GroupCount]:
        query = plan_query(self._kind, where, containing=containing)
        for name in by:
            check_field(self._kind, name)
        check_time(self._kind, latest)
        columns = [self._table.c[name] for name in by]
        newest = func.max(self._table.c[latest], type_=self._table.c[latest].type)
        statement = select(*columns, func.count(), newest).where(*self._conditions(query)).group_by(*columns)
        rows = self._connection.execute(statement)
        return [GroupCount(values=tuple(row[: len(by)]), count=row[-2], latest=row[-1]) for row in rows]

    def _conditions(self, query: Query) -> list[ColumnElement[bool]]:
        table, conditions = self._table, _conditions(self._table, query)
        is_postgresql = self._connection.dialect.name == "postgresql"
        conditions += [_contains(table.c.search, word, is_postgresql=is_postgresql) for word in query.words]
        if query.past is not None and query.order is not None:
            value, id = query.past
            column = table.c[query.order]
            gone = 0 if query.descending else 2**62
            own = func.coalesce(select(table.c.seq).where(table.c.id == id).scalar_subquery(), gone)
            here = tuple_(column, table.c.seq)
            there = tuple_(bindparam(None, value, type_=column.type), own)
            conditions.append(here < there if query.descending else here > there)
        return conditions

    def _check_writing(self) -> None:
        if not self._is_writing:
            refuse_writing()


def _contains(column: ColumnElement[Any], word: str, *, is_postgresql: bool) -> ColumnElement[bool]:
    """PostgreSQL's index of trigrams serves LIKE only, and needs three letters or digits side by side.

    The pattern stands in the statement itself: how rare a word is decides how it is best found, so that no plan made
    for another word may be used.
    """
    if not is_postgresql:
        return func.instr(column, word) > 0
    if not _HAS_TRIGRAM.search(word):
        return func.strpos(column, word) > 0
    escaped = re.sub(r"([!%_])", r"!\1", word)
    return column.like(bindparam(None, f"%{escaped}%", type_=String(), literal_execute=True), escape="!")


def _select_record(table: Table) -> Select[Any]:
    return select(table.c.body, *([table.c.blob] if "blob" in table.c else []))


def _conditions(table: Table, query: Query) -> list[ColumnElement[bool]]:
    conditions = [_one_of(table.c[name], choices) for name, choices in query.choices.items()]
    if query.after:
        conditions.append(table.c[query.after[0]] >= query.after[1])
    if query.before:
        conditions.append(table.c[query.before[0]] <= query.before[1])
    return conditions


def _one_of(column: ColumnElement[Any], choices: tuple[Value, ...]) -> ColumnElement[bool]:
    values = [value for value in choices if value is not None]
    given = column == values[0] if len(values) == 1 else column.in_(values)
    if len(values) == len(choices):
        return given
    return or_(column.is_(None), given) if values else column.is_(None)


def _ordering(table: Table, query: Query) -> list[ColumnElement[Any]]:
    """Descending is the exact reverse of ascending; what is unset comes first, then by order of insertion."""
    seq: ColumnElement[Any] = table.c.seq.desc() if query.descending else table.c.seq.asc()
    if query.order is None:
        return [seq]
    column: ColumnElement[Any] = table.c[query.order]
    field: ColumnElement[Any] = column.desc() if query.descending else column.asc()
    if indexed_fields(table.name)[query.order].is_optional:
        field = field.nulls_last() if query.descending else field.nulls_first()
    return [field, seq]
