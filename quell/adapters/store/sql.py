"""The store in SQLite or PostgreSQL."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, text
from sqlalchemy.engine import Row

from quell.adapters.store.codec import clean_event, decode_evidence, encode_evidence, encode_received
from quell.adapters.store.database import begin_reading, begin_writing, open_engine
from quell.adapters.store.inbox_writer import InboxWriter
from quell.adapters.store.lock import WriterLock
from quell.adapters.store.migrate import bring_to_head
from quell.adapters.store.records import SqlRecords
from quell.adapters.store.schema import SEQUENCES, TIMELINE
from quell.adapters.store.transaction import Desk, refuse_writing
from quell.incidents.errors import Unavailable
from quell.incidents.inbox import Received
from quell.incidents.timeline import NO_INCIDENT, Event, TimelineEntry, chain_entry
from quell.ports import Records, Transaction

_RECEIVE_TRIES = 3


class SqlStore:
    """The truth, by URL: `sqlite:///PATH` or `postgresql://...`. Opening it brings the database to this code's form.

    Raises Unavailable when the database does not answer, NewerDatabase when a newer Quell wrote it.
    Threads may share one store; a forked process opens its own.
    """

    def __init__(self, url: str, *, timeout: timedelta = timedelta(seconds=10)) -> None:
        self._engine = open_engine(url, timeout)
        self._is_postgresql = self._engine.dialect.name == "postgresql"
        self._writer = WriterLock(timeout)
        self._inbox = InboxWriter(self._engine)
        try:
            bring_to_head(self._engine)
        except BaseException:
            self._engine.dispose()
            raise

    def writing(self) -> AbstractContextManager[Transaction]:
        return self._writing()

    def reading(self) -> AbstractContextManager[Transaction]:
        return self._reading()

    def receive(self, items: Iterable[Received]) -> int:
        rows = [encode_received(item) for item in items]
        for last in range(_RECEIVE_TRIES - 1, -1, -1):
            try:
                return self._receive(rows) if rows else 0
            except Unavailable as error:
                # Two batches with the same ids in another order: PostgreSQL lets one go first and fails the other.
                if not last or not _is_deadlock(error):
                    raise
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        self._inbox.close()
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Generator["_SqlTransaction"]:
        with self._writer.held(), begin_writing(self._engine) as connection:
            yield _SqlTransaction(connection, is_writing=True)

    @contextmanager
    def _reading(self) -> Generator["_SqlTransaction"]:
        with begin_reading(self._engine) as connection:
            yield _SqlTransaction(connection, is_writing=False)

    def _receive(self, rows: list[dict[str, Any]]) -> int:
        if self._is_postgresql:
            return self._inbox.insert(rows)
        with self._writer.held():  # SQLite has one writer anyway: stand in line rather than poll
            return self._inbox.insert(rows)


class _SqlTransaction(Desk):
    def __init__(self, connection: Connection, *, is_writing: bool) -> None:
        super().__init__()
        self._connection = connection
        self._is_writing = is_writing
        self._timeline = _SqlTimeline(connection, is_writing=is_writing)

    def open(self, kind: str) -> Records[Any]:
        return SqlRecords(self._connection, kind, is_writing=self._is_writing)

    @property
    def timeline(self) -> "_SqlTimeline":
        return self._timeline

    def next_number(self, prefix: str) -> int:
        if not self._is_writing:
            refuse_writing()
        return _count_up(self._connection, prefix)


class _SqlTimeline:
    def __init__(self, connection: Connection, *, is_writing: bool) -> None:
        self._connection = connection
        self._is_writing = is_writing
        # What this transaction appended; nobody else writes as long as it lasts.
        self._last: TimelineEntry | None = None
        self._heads: dict[str, TimelineEntry] = {}

    def append(self, event: Event) -> TimelineEntry:
        if not self._is_writing:
            refuse_writing()
        event = clean_event(event)
        incident = event.incident or NO_INCIDENT
        entry = chain_entry(
            event,
            last=self._last or self._first(_LAST, {}),
            last_of_incident=self._heads.get(incident) or self._first(_LAST_OF_INCIDENT, {"wanted": incident}),
        )
        # Numbered by the counter and not by the last row: an end that was cut off leaves a gap.
        entry = replace(entry, id=_count_up(self._connection, _WRITTEN))
        row = {name: getattr(entry, name) for name in TimelineEntry.__slots__}
        self._connection.execute(_APPEND, row | {"evidence": encode_evidence(entry.evidence)})
        self._last = self._heads[incident] = entry
        return entry

    def of(self, incident: str, *, below: int | None = None, limit: int | None = None) -> list[TimelineEntry]:
        if below is None and limit is None:
            return [_entry(row) for row in self._connection.execute(_OF_INCIDENT, {"wanted": incident})]
        statement = _ENTRY.where(_T.incident == incident).order_by(_T.number.desc())
        if below is not None:
            statement = statement.where(_T.number < below)
        rows = self._connection.execute(statement if limit is None else statement.limit(limit)).all()
        return [_entry(row) for row in reversed(rows)]

    def entries(self, *, after_id: int = 0, limit: int | None = None) -> list[TimelineEntry]:
        statement = _ALL if limit is None else _ALL.limit(limit)
        return [_entry(row) for row in self._connection.execute(statement, {"after": after_id})]

    def written(self) -> int:
        return self._connection.execute(_READ_COUNTER, {"wanted": _WRITTEN}).scalar() or 0

    def _first(self, statement: Any, values: Mapping[str, str]) -> TimelineEntry | None:
        row = self._connection.execute(statement, values).first()
        return None if row is None else _entry(row)


_WRITTEN = "timeline"  # the counter's name, beside INC, MIT, ...
_READ_COUNTER = select(SEQUENCES.c.value).where(SEQUENCES.c.prefix == bindparam("wanted"))
_T = TIMELINE.c
_ENTRY = select(*(_T[name] for name in TimelineEntry.__slots__))
_LAST = _ENTRY.order_by(_T.id.desc()).limit(1)
_OF_INCIDENT = _ENTRY.where(_T.incident == bindparam("wanted")).order_by(_T.number)
_LAST_OF_INCIDENT = _ENTRY.where(_T.incident == bindparam("wanted")).order_by(_T.number.desc()).limit(1)
_ALL = _ENTRY.where(_T.id > bindparam("after")).order_by(_T.id)
_APPEND = insert(TIMELINE).inline()


def _entry(row: Row[Any]) -> TimelineEntry:
    values: dict[str, Any] = dict(zip(TimelineEntry.__slots__, row, strict=True))
    values["evidence"] = decode_evidence(values["evidence"])
    return TimelineEntry(**values)


_COUNT_UP = text(
    "INSERT INTO sequences (prefix, value) VALUES (:prefix, 1) "
    "ON CONFLICT (prefix) DO UPDATE SET value = sequences.value + 1 RETURNING value"
)


def _count_up(connection: Connection, prefix: str) -> int:
    return connection.execute(_COUNT_UP, {"prefix": prefix}).scalar_one()


def _is_deadlock(error: Unavailable) -> bool:
    return getattr(error.__cause__, "sqlstate", None) == "40P01"
