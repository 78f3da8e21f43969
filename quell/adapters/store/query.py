"""What may be asked of a kind of record: checked once, the same for memory and SQL."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from quell.adapters.store.codec import Value, column_value, indexed_fields

Bound = tuple[str, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """`choices` maps a field to the values that it may have; `order` None means order of first insertion."""

    choices: Mapping[str, tuple[Value, ...]]
    after: Bound | None
    before: Bound | None
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
    order: str = "id",
    descending: bool = False,
    limit: int | None = None,
    offset: int = 0,
) -> Query:
    """Check the fields against INDEXES and bring the values into the form of the columns.

    Raises ValueError for a field that the kind is not indexed by; the text names those it is.
    """
    for field in (where or {}).keys() | ({order} - {"id"}):
        _check_field(kind, field)
    for bound in (after, before):
        if bound is not None:
            _check_time(kind, bound[0])
    if offset < 0 or (limit is not None and limit < 0):
        raise ValueError(f"limit is {limit} and offset is {offset}; neither can be below 0")
    return Query(
        choices={field: _choices(kind, field, wanted) for field, wanted in (where or {}).items()},
        after=_in_utc(kind, after),
        before=_in_utc(kind, before),
        order=None if order == "id" else order,
        descending=descending,
        limit=limit,
        offset=offset,
    )


def _check_field(kind: str, field: str) -> None:
    allowed = indexed_fields(kind)
    if field != "id" and field not in allowed:
        raise ValueError(f"{kind} cannot be found by {field!r}; it is indexed by: id, {', '.join(allowed)}")


def _check_time(kind: str, field: str) -> None:
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
