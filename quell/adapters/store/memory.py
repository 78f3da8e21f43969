"""The store without a database: for tests and trials, under the same rules."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import gt, lt
from typing import Any

from quell.adapters.store.codec import RECORD_TYPES, Row, clean_event, decode_record, encode_received, encode_record
from quell.adapters.store.lock import WriterLock
from quell.adapters.store.query import Bound, Query, check_field, check_time, plan_query
from quell.adapters.store.transaction import Desk, refuse_writing
from quell.incidents.errors import Conflict
from quell.incidents.inbox import Received
from quell.incidents.timeline import NO_INCIDENT, Event, TimelineEntry, chain_entry
from quell.ports import GroupCount, Place, Records, Transaction


@dataclass(kw_only=True)
class _State:
    """Everything that is committed. It is never changed: a writer works on its own copy and puts it in its place."""

    tables: dict[str, dict[str, Row]] = field(default_factory=lambda: {kind: {} for kind in RECORD_TYPES})
    timeline: list[TimelineEntry] = field(default_factory=list[TimelineEntry])
    numbers: dict[str, int] = field(default_factory=dict[str, int])

    def copy(self) -> "_State":
        return _State(tables=dict(self.tables), timeline=list(self.timeline), numbers=dict(self.numbers))


class MemoryStore:
    """A Store in this process. Records pass through the same encoding as in a database, so nothing is shared."""

    def __init__(self, *, timeout: timedelta = timedelta(seconds=10)) -> None:
        self._state = _State()
        self._writer = WriterLock(timeout)

    def writing(self) -> AbstractContextManager[Transaction]:
        return self._writing()

    def reading(self) -> AbstractContextManager[Transaction]:
        return self._reading()

    def receive(self, items: Iterable[Received]) -> int:
        rows = [encode_received(item) for item in items]
        with self._writing() as tx:
            inbox = tx.own_table("inbox")
            before = len(inbox)
            for row in rows:
                inbox.setdefault(row["id"], row)
            return len(inbox) - before

    def close(self) -> None:
        """Nothing is open."""

    @contextmanager
    def _writing(self) -> Generator["_MemoryTransaction"]:
        with self._writer.held():
            draft = self._state.copy()
            yield _MemoryTransaction(draft, is_writing=True)
            self._state = draft

    @contextmanager
    def _reading(self) -> Generator["_MemoryTransaction"]:
        yield _MemoryTransaction(self._state, is_writing=False)


class _MemoryTransaction(Desk):
    def __init__(self, state: _State, *, is_writing: bool) -> None:
        super().__init__()
        self.state = state
        self._is_writing = is_writing
        self._owned: set[str] = set()

    def open(self, kind: str) -> Records[Any]:
        return _MemoryRecords(self, kind)

    @property
    def timeline(self) -> "_MemoryTimeline":
        return _MemoryTimeline(self)

    def next_number(self, prefix: str) -> int:
        self.check_writing()
        number = self.state.numbers.get(prefix, 0) + 1
        self.state.numbers[prefix] = number
        return number

    def check_writing(self) -> None:
        if not self._is_writing:
            refuse_writing()

    def own_table(self, kind: str) -> dict[str, Row]:
        """The table to change: a copy, made at the first change, because readers look at the one before."""
        self.check_writing()
        if kind not in self._owned:
            self.state.tables[kind] = dict(self.state.tables[kind])
            self._owned.add(kind)
        return self.state.tables[kind]


class _MemoryRecords:
    """A dict keeps the place of a key that is written again: exactly the order of first insertion."""

    def __init__(self, transaction: _MemoryTransaction, kind: str) -> None:
        self._transaction = transaction
        self._kind = kind

    @property
    def _rows(self) -> Mapping[str, Row]:
        return self._transaction.state.tables[self._kind]

    def get(self, id: str) -> Any | None:
        row = self._rows.get(id)
        return None if row is None else self._decode(row)

    def add(self, record: Any) -> None:
        row = encode_record(self._kind, record)
        table = self._transaction.own_table(self._kind)
        if row["id"] in table:
            raise Conflict(f"{self._kind} record {row['id']} exists already; read it and put the changed one")
        table[row["id"]] = row

    def put(self, record: Any) -> None:
        row = encode_record(self._kind, record)
        self._transaction.own_table(self._kind)[row["id"]] = row

    def put_all(self, records: Iterable[Any]) -> None:
        rows = [encode_record(self._kind, record) for record in records]
        self._transaction.own_table(self._kind).update((row["id"], row) for row in rows)

    def delete(self, id: str) -> None:
        self._transaction.own_table(self._kind).pop(id, None)

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
        return [self._decode(row) for row in _select(self._rows, query)]

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
        found = sum(_is_wanted(row, query) for row in self._rows.values())
        return found if at_most is None else min(found, at_most)

    def tally(
        self, where: Mapping[str, object] | None = None, *, by: tuple[str, ...], latest: str, containing: str = ""
    ) -> list[GroupCount]:
        query = plan_query(self._kind, where, containing=containing)
        for name in by:
            check_field(self._kind, name)
        check_time(self._kind, latest)
        groups: dict[tuple[str | None, ...], list[datetime]] = {}
        for row in self._rows.values():
            if _is_wanted(row, query):
                groups.setdefault(tuple(row[name] for name in by), []).append(row[latest])
        return [GroupCount(values=key, count=len(times), latest=max(times)) for key, times in groups.items()]

    def _decode(self, row: Row) -> Any:
        return decode_record(self._kind, row["body"], row.get("blob"))


class _MemoryTimeline:
    def __init__(self, transaction: _MemoryTransaction) -> None:
        self._transaction = transaction

    def append(self, event: Event) -> TimelineEntry:
        self._transaction.check_writing()
        event = clean_event(event)
        entries = self._transaction.state.timeline
        incident = event.incident or NO_INCIDENT
        last_of_incident = next((e for e in reversed(entries) if e.incident == incident), None)
        entry = chain_entry(event, last=entries[-1] if entries else None, last_of_incident=last_of_incident)
        entries.append(entry)
        return entry

    def of(self, incident: str, *, below: int | None = None, limit: int | None = None) -> list[TimelineEntry]:
        found = [entry for entry in self._transaction.state.timeline if entry.incident == incident]
        if below is not None:
            found = [entry for entry in found if entry.number < below]
        return found if limit is None else found[max(len(found) - limit, 0) :]

    def entries(self, *, after_id: int = 0, limit: int | None = None) -> list[TimelineEntry]:
        found = self._transaction.state.timeline[max(after_id, 0) :]
        return found if limit is None else found[:limit]

    def written(self) -> int:
        return len(self._transaction.state.timeline)


def _select(table: Mapping[str, Row], query: Query) -> list[Row]:
    found = [row for row in table.values() if _is_wanted(row, query)]
    if query.order is not None:
        name = query.order
        found.sort(key=lambda row: (row[name] is not None, row[name]))
    if query.descending:
        found.reverse()
    if query.past is not None:
        found = _beyond(found, table, query, query.past)
    return found[query.offset : None if query.limit is None else query.offset + query.limit]


def _beyond(found: list[Row], table: Mapping[str, Row], query: Query, past: tuple[Any, str]) -> list[Row]:
    """What comes after a place; where its record is gone, after everything with the same value."""
    value, id = past
    seq = {key: number for number, key in enumerate(table, start=1)}
    own = seq.get(id, 0 if query.descending else len(seq) + 1)
    name, is_after = query.order or "", lt if query.descending else gt
    return [row for row in found if is_after((row[name], seq[row["id"]]), (value, own))]


def _is_wanted(row: Row, query: Query) -> bool:
    if query.words and not all(word in row["search"] for word in query.words):
        return False
    if any(row[name] not in choices for name, choices in query.choices.items()):
        return False
    for bound, is_outside in ((query.after, lt), (query.before, gt)):
        if bound is not None and (row[bound[0]] is None or is_outside(row[bound[0]], bound[1])):
            return False
    return True
