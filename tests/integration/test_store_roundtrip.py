"""A record comes back as it went, and what could not come back is refused when it is written."""

from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from types import UnionType
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quell.adapters.store.codec import RECORD_TYPES
from quell.incidents.errors import InvalidInput
from quell.incidents.inbox import InboxItem, InboxKind
from quell.incidents.verdict import Verdict, VerdictKind
from quell.ports import Document, Store
from quell.record_indexes import INDEXES

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)


@pytest.fixture
def store(every_store: Store) -> Store:
    return every_store


def item(id: str, **payload: Any) -> InboxItem:
    return InboxItem(id=id, kind=InboxKind.ALERT, source="sweep", payload=payload, received_at=NOW)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=16),
    datetime: st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001  # hypothesis wants bounds without a zone
    date: st.dates(),
    timedelta: st.timedeltas(timedelta(days=-9999), timedelta(days=9999)),
    type(None): st.none(),
    Any: JSON,
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Everything that a field of this type may hold."""
    if isinstance(hint, NewType):
        return values_of(hint.__supertype__)
    if hint in PLAIN:
        return PLAIN[hint]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(hint, **{field.name: values_of(hints[field.name]) for field in fields(hint)})
    arguments = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return st.one_of([values_of(argument) for argument in arguments])
    if get_origin(hint) is tuple:
        return st.lists(values_of(arguments[0]), max_size=3).map(tuple)
    return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=3)


@pytest.mark.parametrize("kind", RECORD_TYPES)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_every_kind_of_record_comes_back_as_it_went(store: Store, kind: str, data: st.DataObject) -> None:
    record = data.draw(values_of(RECORD_TYPES[kind]))
    with store.writing() as tx:
        getattr(tx, kind).put(record)
    with store.reading() as tx:
        records = getattr(tx, kind)
        assert records.get(record.id) == record
        indexed = {name: getattr(record, name) for name in INDEXES[kind]}
        assert record in records.find(indexed)
        for name in INDEXES[kind]:
            if isinstance(indexed[name], datetime):
                assert record in records.find(after=(name, indexed[name]), before=(name, indexed[name]), order=name)


def test_every_kind_that_can_be_found_by_is_a_kind_that_can_be_kept() -> None:
    assert RECORD_TYPES.keys() == INDEXES.keys()


def test_a_number_from_numpy_is_kept_as_a_number(store: Store) -> None:
    body: dict[str, Any] = {"float": np.float64(0.5), "count": np.int64(7), "flag": np.bool_(True)}
    with store.writing() as tx:
        tx.documents.put(Document(id="d", kind="baseline", updated_at=NOW, body=body, blob=b"\x00\xff"))
    with store.reading() as tx:
        kept = tx.documents.get("d")
        assert kept is not None
        assert (kept.body, kept.blob) == ({"float": 0.5, "count": 7, "flag": True}, b"\x00\xff")


def test_changing_what_was_read_changes_nothing_that_is_kept(store: Store) -> None:
    body = {"enabled": True}
    with store.writing() as tx:
        tx.documents.put(Document(id="automation", kind="automation", updated_at=NOW, body=body))
    body["enabled"] = False
    with store.reading() as tx:
        read = tx.documents.get("automation")
        assert read is not None and read.body == {"enabled": True}


def verdict(**given: Any) -> Verdict:
    usual: dict[str, Any] = {"id": "v", "signal": "error-ratio", "labels": {}, "at": NOW, "value": 0.4, "expected": 0.0}
    usual |= {"kind": VerdictKind.ANOMALOUS, "lower": 0.0, "upper": 0.1, "score": 4.0, "samples": 30, "reason": "high"}
    return Verdict(**usual | given)


@pytest.mark.parametrize(
    ("kind", "record", "why"),
    [
        ("verdicts", verdict(score=float("nan")), "score"),
        ("verdicts", verdict(at=NOW.replace(tzinfo=None)), "without a time zone"),
        ("verdicts", verdict(signal="error\0ratio"), "a character that text in a database cannot have"),
        ("verdicts", verdict(reason="\ud800"), "v cannot be stored"),
        ("inbox", item("i", payload=object()), "object is nothing that JSON can hold"),
    ],
)
def test_what_could_not_be_read_back_is_refused_when_it_is_written(
    store: Store, kind: str, record: Any, why: str
) -> None:
    with store.writing() as tx:
        with pytest.raises(InvalidInput, match=why):
            getattr(tx, kind).put(record)
        assert getattr(tx, kind).count() == 0


def test_a_number_that_is_not_one_is_kept_as_none_where_none_is_allowed(store: Store) -> None:
    with store.writing() as tx:
        tx.verdicts.put(verdict(value=float("nan")))
        kept = tx.verdicts.get("v")
        assert kept is not None and kept.value is None
