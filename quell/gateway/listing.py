"""The list of incidents: filters that stand in the address, and pages that are turned without counting."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from quell.incidents.errors import InvalidInput
from quell.incidents.incident import ACTIVE_STATES, Incident, IncidentState, Severity
from quell.ports import Place, Store, Transaction

PAGE = 50
COUNTED_UP_TO = 1000
LONGEST_SEARCH = 200
STATES: Mapping[str, tuple[str, ...]] = {
    "active": tuple(ACTIVE_STATES),
    "ended": tuple(state for state in IncidentState if state not in ACTIVE_STATES),
    **{state.value: (state.value,) for state in IncidentState},
}
SORTS: Mapping[str, tuple[str, bool]] = {
    "newest": ("opened_at", True),
    "oldest": ("opened_at", False),
    "updated": ("updated_at", True),
}
_NAMES = ("state", "severity", "service", "q", "since", "until", "sort")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What is asked for, as it stands in the address; `after` and `before` are places between pages."""

    state: str = ""
    severity: str = ""
    service: str = ""
    q: str = ""
    since: str = ""
    until: str = ""
    sort: str = "newest"
    after: str = ""
    before: str = ""
    limit: int = PAGE

    def address(self, **changes: str) -> str:
        """The address of the same list with something changed; turning back to the first page unless told."""
        changed = replace(self, **{"after": "", "before": "", **changes})
        values = {name: getattr(changed, name) for name in (*_NAMES, "after", "before")}
        return "/?" + urlencode({k: v for k, v in values.items() if v and (k, v) != ("sort", "newest")})

    @property
    def is_narrow(self) -> bool:
        return bool(self.severity or self.service or self.q or self.since or self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRow:
    """One line of the list."""

    incident: Incident
    alerts: int
    firing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    rows: tuple[IncidentRow, ...]
    count: int
    is_more: bool  # there are more than `count`
    older: str  # the place after the last row; empty on the last page
    newer: str


def read_filter(query: Mapping[str, str]) -> Filter:
    """The filter in an address; what is unknown there does not count."""
    given: dict[str, Any] = {name: query[name].strip() for name in (*_NAMES, "after", "before") if query.get(name)}
    return Filter(**given)


def check_filter(asked: Filter) -> Filter:
    """Raises InvalidInput with what is known."""
    if asked.state and asked.state not in STATES:
        raise InvalidInput(f"state is {asked.state[:80]!r}: send one of {', '.join(STATES)}")
    if asked.severity and asked.severity not in tuple(Severity):
        raise InvalidInput(f"severity is {asked.severity[:80]!r}: send one of {', '.join(Severity)}")
    if asked.sort not in SORTS:
        raise InvalidInput(f"sort is {asked.sort[:80]!r}: send one of {', '.join(SORTS)}")
    if len(asked.q) > LONGEST_SEARCH:
        raise InvalidInput(f"q has {len(asked.q)} characters, the limit is {LONGEST_SEARCH}: search for less")
    for name in ("since", "until"):
        _moment(name, getattr(asked, name))
    for name in ("after", "before"):
        read_mark(name, getattr(asked, name))
    return asked


def read_listing(store: Store, asked: Filter) -> Listing:
    """One page of what the filter asks for. Raises InvalidInput."""
    order, descending = SORTS[check_filter(asked).sort]
    where, bounds = _where(asked), _bounds(asked)
    is_back = bool(asked.before)
    with store.reading() as tx:
        found = tx.incidents.find(
            where,
            **bounds,
            containing=asked.q,
            past=read_mark("after", asked.before or asked.after),
            order=order,
            descending=descending != is_back,
            limit=asked.limit + 1,
        )
        has_more, found = len(found) > asked.limit, found[: asked.limit]
        if not (asked.after or asked.before or has_more):
            count = len(found)
        else:
            count = tx.incidents.count(where, **bounds, containing=asked.q, at_most=COUNTED_UP_TO + 1)
        if is_back:
            found.reverse()
        rows = _rows(tx, found)
    has_older, has_newer = (True, has_more) if is_back else (has_more, bool(asked.after))
    return Listing(
        rows=rows,
        count=min(count, COUNTED_UP_TO),
        is_more=count > COUNTED_UP_TO,
        older=_mark(found[-1], order) if found and has_older else "",
        newer=_mark(found[0], order) if found and has_newer else "",
    )


def count_active(store: Store) -> int:
    with store.reading() as tx:
        return tx.incidents.count({"state": STATES["active"]}, at_most=COUNTED_UP_TO + 1)


def _rows(tx: Transaction, found: list[Incident]) -> tuple[IncidentRow, ...]:
    ids = tuple(incident.id for incident in found)
    tallies = tx.alerts.tally({"incident": ids}, by=("incident", "status"), latest="starts_at") if ids else []
    counts = {tally.values: tally.count for tally in tallies}
    return tuple(
        IncidentRow(
            incident=incident,
            alerts=sum(count for (of, _), count in counts.items() if of == incident.id),
            firing=counts.get((incident.id, "firing"), 0),
        )
        for incident in found
    )


def _where(asked: Filter) -> dict[str, object]:
    where: dict[str, object] = {"state": STATES[asked.state]} if asked.state else {}
    where |= {"severity": asked.severity} if asked.severity else {}
    return where | ({"service": asked.service.strip()} if asked.service.strip() else {})


def _bounds(asked: Filter) -> dict[str, Any]:
    since, until = _moment("since", asked.since), _moment("until", asked.until)
    if until is not None and len(asked.until) == len("2026-01-01"):
        until += timedelta(days=1) - timedelta(microseconds=1)  # the whole day
    bounds = {"after": since and ("opened_at", since), "before": until and ("opened_at", until)}
    return {name: bound for name, bound in bounds.items() if bound}


def _moment(name: str, text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
        if found is None or found.tzinfo is None:
            return found and found.replace(tzinfo=UTC)
        return found.astimezone(UTC)
    except ValueError as error:
        raise InvalidInput(f"{name} is {text[:80]!r}: send a day like 2026-11-23 or a time with an offset") from error
    except OverflowError as error:
        raise InvalidInput(f"{name} is {text[:80]!r}, which is outside the years that exist: send another") from error


def _mark(incident: Incident, order: str) -> str:
    return f"{getattr(incident, order).astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}~{incident.id}"


def read_mark(name: str, text: str) -> Place | None:
    if not text:
        return None
    value, _, id = text.partition("~")
    try:
        moment = datetime.fromisoformat(value)
        if not id or moment.tzinfo is None or "\0" in id:
            raise ValueError
        return Place(value=moment.astimezone(UTC), id=id)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{name} is {text[:80]!r}: send the mark that came with the page before") from error
