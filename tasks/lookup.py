"""Look-ups of records by many values, a few hundred at a time: databases bound how many one query may name."""

from collections.abc import Iterable
from typing import TypeVar

from quell.ports import Records

T = TypeVar("T")
AT_ONCE = 500


def find_all(records: Records[T], field: str, values: Iterable[str], **where: object) -> list[T]:
    """The records whose field has one of the values, each value asked for once."""
    wanted = list(dict.fromkeys(values))
    found: list[T] = []
    for start in range(0, len(wanted), AT_ONCE):
        found += records.find({field: tuple(wanted[start : start + AT_ONCE]), **where})
    return found
