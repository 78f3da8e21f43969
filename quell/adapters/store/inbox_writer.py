"""The gateway's busiest statement: what came in, on one connection of its own, in the driver's words.

SQLAlchemy would cost more than the insert. One statement that commits by itself is also one walk into the driver
instead of one for each row: each walk gives Python's lock away and then waits for it, while requests are read.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from threading import Lock
from typing import Any

from sqlalchemy import Engine

from quell.adapters.store.database import answering, no_answer
from quell.adapters.store.schema import TABLES

Row = Mapping[str, Any]

_COLUMNS = tuple(column.name for column in TABLES["inbox"].columns if column.name != "seq")
_INTO = f"INSERT INTO inbox ({', '.join(_COLUMNS)})"
_ONCE = "ON CONFLICT (id) DO NOTHING"
# Of one statement: databases count its variables, and drivers copy all of its values at once.
_MOST_ROWS = 256
_LONGEST = 1024 * 1024  # characters of bodies


class InboxWriter:
    """One thread at a time; after an error the connection is opened anew."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_postgresql = engine.dialect.name == "postgresql"
        self._place, self._begin = ("%s", "BEGIN") if self._is_postgresql else ("?", "BEGIN IMMEDIATE")
        self._errors: Any = engine.dialect.loaded_dbapi
        self._refusals = (self._errors.DataError, self._errors.IntegrityError, self._errors.ProgrammingError)
        self._connection: Any = None
        self._lock = Lock()

    def insert(self, rows: Sequence[Row]) -> int:
        """Commit the rows together; returns how many were new. Raises Unavailable."""
        with self._lock:
            try:
                try:
                    return self._insert(rows)
                except self._errors.OperationalError:
                    if not self._is_lost():
                        raise
                    self._forget()
                    return self._insert(rows)  # the ids make it harmless if the first had reached the disk
            except self._errors.Error as error:
                self._forget()
                if isinstance(error, self._refusals):
                    raise
                raise no_answer(self._engine, error) from error

    def close(self) -> None:
        with self._lock:
            self._forget()

    def _insert(self, rows: Sequence[Row]) -> int:
        if self._connection is None:
            self._connection = self._open()
        parts = list(_parts(rows))
        if len(parts) == 1:
            return self._statement(parts[0])
        self._connection.execute(self._begin)
        count = sum(map(self._statement, parts))
        self._connection.execute("COMMIT")
        return count

    def _open(self) -> Any:
        with answering(self._engine):
            pooled = self._engine.raw_connection()
        connection: Any = pooled.driver_connection
        pooled.detach()
        if self._is_postgresql:
            connection.rollback()  # the pool's look whether it is alive began a transaction
            connection.autocommit = True
        return connection

    def _statement(self, rows: Sequence[Row]) -> int:
        places = f"({', '.join([self._place] * len(_COLUMNS))})"
        statement = f"{_INTO} VALUES {', '.join([places] * len(rows))} {_ONCE}"
        values = [row[name] for row in rows for name in _COLUMNS]
        if not self._is_postgresql:
            values = [_in_sqlite(value) for value in values]
        return self._connection.execute(statement, values).rowcount

    def _is_lost(self) -> bool:
        return self._is_postgresql and self._connection is not None and self._connection.closed

    def _forget(self) -> None:
        """Whatever it had begun is rolled back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(self._errors.Error):
                connection.close()


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in their order, as many together as one statement may have; a row that is longer goes alone."""
    first, length = 0, 0
    for place, row in enumerate(rows):
        length += len(row["body"])
        if place > first and (place - first >= _MOST_ROWS or length > _LONGEST):
            yield rows[first:place]
            first, length = place, len(row["body"])
    yield rows[first:]


def _in_sqlite(value: Any) -> Any:
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else value
