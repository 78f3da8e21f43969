"""What may be asked of a kind of record: checked once, the same for memory and SQL."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from quell.adapters.store.codec import Value, column_value, companions, indexed_fields
from quell.ports import Place
from quell.record_indexes import SEARCHABLE

Bound = tuple[str, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """`choices` maps a field to the values that it may have; `order` None means order of first insertion.

    `words` must all occur in the search text; `past` is a value of the field that orders, and an id.
    """

    choices: Mapping[str, tuple[Value, ...]]
    after: Bound | None
    before: Bound | None
    words: tuple[str, ...]
    past: tuple[Value, str] | None
    order: str | None
    descending: bool
    limit: int | None
    offset: int


def plan_query(
    kind: str,
    where: Mapping[str, object] | None,
    *,
    after: Bound | None = None,
    before: Bound | None = None,
    containing: str = "",
    past: Place | None = None,
    order: str = "id",
    descending: bool = False,
    limit: int | None = None,
    offset: int = 0,
) -> Query:
    """Check the fields against INDEXES and bring the values into the form of the columns.

    Raises ValueError for a field that the kind is not indexed by; the text names those it is.
    """
    for field in where or {}:
        check_field(kind, field)
    if order != "id":
        _check_order(kind, order)
    for bound in (after, before):
        if bound is not None:
            check_time(kind, bound[0])
    if containing and kind not in SEARCHABLE:
        raise ValueError(f"{kind} cannot be searched; these can: {', '.join(sorted(SEARCHABLE))}")
    if offset < 0 or (limit is not None and limit < 0):
        raise ValueError(f"limit is {limit} and offset is {offset}; neither can be below 0")
    return Query(
        choices={field: _choices(kind, field, wanted) for field, wanted in (where or {}).items()},
        after=_in_utc(kind, after),
        before=_in_utc(kind, before),
        words=search_words(containing),
        past=None if past is None else _place(kind, order, past),
        order=None if order == "id" else order,
        descending=descending,
        limit=limit,
        offset=offset,
    )


def search_words(text: str) -> tuple[str, ...]:
    """The words that must all occur; the store keeps its search texts in lower case."""
    return tuple(dict.fromkeys(text.replace("\0", "").lower().split()))


def check_field(kind: str, field: str) -> None:
    allowed = {**indexed_fields(kind), **companions(kind)}
    if field != "id" and field not in allowed:
        raise ValueError(f"{kind} cannot be found by {field!r}; it is indexed by: id, {', '.join(allowed)}")


def _check_order(kind: str, field: str) -> None:
    if field not in indexed_fields(kind):
        raise ValueError(
            f"{kind} cannot be put in order by {field!r}; it is indexed by: {', '.join(indexed_fields(kind))}"
        )


def _place(kind: str, order: str, past: Place) -> tuple[Value, str]:
    if order == "id" or indexed_fields(kind)[order].is_optional:
        raise ValueError(f"{kind} ordered by {order!r} has no pages: order by a field that is never unset")
    return column_value(kind, order, past.value), past.id


def check_time(kind: str, field: str) -> None:
    times = [name for name, indexed in indexed_fields(kind).items() if indexed.is_time]
    if field not in times:
        raise ValueError(f"{kind} cannot be bounded by {field!r}; its indexed times are: {', '.join(times) or 'none'}")


def _choices(kind: str, field: str, wanted: object) -> tuple[Value, ...]:
    if isinstance(wanted, (tuple, list, Set)):
        many = cast(Sequence[object] | Set[object], wanted)
        return tuple(dict.fromkeys(column_value(kind, field, value) for value in many))
    return (column_value(kind, field, wanted),)


def _in_utc(kind: str, bound: Bound | None) -> Bound | None:
    return None if bound is None else (bound[0], cast(datetime, column_value(kind, *bound)))
