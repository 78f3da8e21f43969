"""What the inside needs from the world: the few protocols that adapters implement. Levers: `actuator.py`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from quell.incidents.alert import Alert
from quell.incidents.anomaly import Anomaly
from quell.incidents.change import Change
from quell.incidents.decision import Decision
from quell.incidents.fix import Fix
from quell.incidents.footprint import Footprint
from quell.incidents.inbox import InboxItem, Received
from quell.incidents.incident import Incident
from quell.incidents.journal import JournalEntry, Lease
from quell.incidents.mitigation import Mitigation
from quell.incidents.notification import Notification
from quell.incidents.probe import Answered
from quell.incidents.report import Report
from quell.incidents.review import Review
from quell.incidents.series import SeriesMatrix
from quell.incidents.silence import Silence
from quell.incidents.threshold import ThresholdVersion
from quell.incidents.timeline import Event, TimelineEntry
from quell.incidents.verdict import Verdict

T = TypeVar("T")
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A keyed value without a life of its own: a stored baseline, the kill switch, the last sweep.

    `body` is what JSON can hold; `blob` is for arrays (numpy's npz).
    """

    id: str
    kind: str  # baseline, automation, sweep, ...
    updated_at: datetime
    body: Mapping[str, Any]
    blob: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in an order: the record's value of the field that orders, and its id. It stays where it is, even when
    the record moves on or is gone."""

    value: str | datetime
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCount:
    """One combination of values (as text, in the order asked for), how often it occurs, and when lately."""

    values: tuple[str | None, ...]
    count: int
    latest: datetime


class Records(Protocol[T]):
    """All records of one kind, by id. Filters take only fields that the kind is indexed by: `record_indexes`."""

    def get(self, id: str) -> T | None: ...

    def add(self, record: T) -> None:
        """Insert; raises Conflict when the id is taken."""
        ...

    def put(self, record: T) -> None:
        """Insert or replace."""
        ...

    def put_all(self, records: Iterable[T]) -> None:
        """Insert or replace many at once, in their order; where one cannot be stored, none is."""
        ...

    def delete(self, id: str) -> None:
        """Remove if there; removing what is not there is no error."""
        ...

    def find(
        self,
        where: Mapping[str, object] | None = None,
        *,
        after: tuple[str, datetime] | None = None,
        before: tuple[str, datetime] | None = None,
        containing: str = "",
        past: Place | None = None,
        order: str = "id",
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[T]:
        """Records whose fields equal the values (a tuple, list, set or frozenset: any of them; None: unset).

        `after` and `before` bound one indexed time (both ends included). `order` is an indexed field or "id";
        ties are broken by order of first insertion. "id" alone means order of first insertion. `containing`: every
        word of it occurs in the record's search text, whatever their case. `past` turns pages without counting:
        only what comes after that place in the order, which must be by a field that is never unset.
        """
        ...

    def count(
        self,
        where: Mapping[str, object] | None = None,
        *,
        after: tuple[str, datetime] | None = None,
        before: tuple[str, datetime] | None = None,
        containing: str = "",
        at_most: int | None = None,
    ) -> int:
        """How many `find` would return; with `at_most` the count stops there."""
        ...

    def tally(
        self, where: Mapping[str, object] | None = None, *, by: tuple[str, ...], latest: str, containing: str = ""
    ) -> list[GroupCount]:
        """How many there are of each combination of the fields `by`, with the latest of the time `latest`."""
        ...


class Timeline(Protocol):
    """The chained timeline; entries are only ever appended."""

    def append(self, event: Event) -> TimelineEntry: ...

    def of(self, incident: str, *, below: int | None = None, limit: int | None = None) -> list[TimelineEntry]:
        """The entries of one incident in their order; the last `limit` of those with a number under `below`."""
        ...

    def entries(self, *, after_id: int = 0, limit: int | None = None) -> list[TimelineEntry]: ...

    def written(self) -> int:
        """How many entries were ever written; `verify_chain` takes it, so that a cut-off end shows."""
        ...


class Transaction(Protocol):
    """One all-or-nothing view of the store."""

    @property
    def inbox(self) -> Records[InboxItem]: ...
    @property
    def alerts(self) -> Records[Alert]: ...
    @property
    def incidents(self) -> Records[Incident]: ...
    @property
    def mitigations(self) -> Records[Mitigation]: ...
    @property
    def journal(self) -> Records[JournalEntry]: ...
    @property
    def decisions(self) -> Records[Decision]: ...
    @property
    def fixes(self) -> Records[Fix]: ...
    @property
    def thresholds(self) -> Records[ThresholdVersion]: ...
    @property
    def changes(self) -> Records[Change]: ...
    @property
    def reports(self) -> Records[Report]: ...
    @property
    def reviews(self) -> Records[Review]: ...
    @property
    def verdicts(self) -> Records[Verdict]: ...
    @property
    def anomalies(self) -> Records[Anomaly]: ...
    @property
    def notifications(self) -> Records[Notification]: ...
    @property
    def documents(self) -> Records[Document]: ...
    @property
    def leases(self) -> Records[Lease]: ...
    @property
    def silences(self) -> Records[Silence]: ...
    @property
    def footprints(self) -> Records[Footprint]: ...
    @property
    def timeline(self) -> Timeline: ...

    def next_number(self, prefix: str) -> int:
        """1, 2, 3, ... for each prefix (`INC`, `MIT`, `FIX`, ...); given inside the transaction, without gaps."""
        ...


class Store(Protocol):
    """The truth. `writing` admits one writer at a time over all processes; `reading` never blocks writers.

    Both raise Unavailable when the database does not answer in time.
    """

    def writing(self) -> AbstractContextManager[Transaction]: ...

    def reading(self) -> AbstractContextManager[Transaction]: ...

    def receive(self, items: Iterable[Received]) -> int:
        """Durably take items into the inbox (committed on return); known ids are skipped. Returns how many were new.

        It does not wait for writers of the record where the database can avoid it.
        """
        ...

    def close(self) -> None: ...


class MetricSource(Protocol):
    """Anything that answers PromQL-like queries with series."""

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        """Series on the grid start, start+step, ... <= end; NaN where there is no sample.

        Raises Unavailable (try later) or InvalidInput (the query is wrong).
        """
        ...

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
        """The last value of each series (T = 1)."""
        ...


class Prober(Protocol):
    """Asks instances directly, past the load balancer."""

    def probe(self, urls: Sequence[str]) -> Mapping[str, Answered]:
        """url -> what it answered, all asked at the same time; one that does not answer raises nothing."""
        ...


class DrillGround(Protocol):
    """A place where faults may be switched on, and whose users are made up. All raise Unavailable or InvalidInput."""

    def faults(self) -> Mapping[str, str]:
        """Fault -> the parameter that names its target; empty where everything is struck."""
        ...

    def active(self) -> Sequence[str]:
        """The faults that are on now."""
        ...

    def inject(self, fault: str, parameters: Mapping[str, str | float | bool]) -> Mapping[str, str | float | bool]:
        """Switch it on for a bounded time; returns its parameters with defaults filled in."""
        ...

    def clear(self, fault: str, target: str) -> None: ...

    def users(self, seconds: int) -> tuple[int, int]:
        """Requests and errors that the users saw in the last seconds."""
        ...
