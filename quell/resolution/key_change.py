"""A key change: one value that differs between the good and the bad file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from quell.resolution.document import KeyPath

Scalar = str | int | float | bool | None


class _Absent:
    """Marks a key that one side does not have; None is a value in YAML."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """One scalar that differs between the good and the bad file."""

    path: KeyPath
    good: Scalar | _Absent
    bad: Scalar | _Absent

    @property
    def dotted(self) -> str:
        return ".".join(str(part) for part in self.path)


def changed_keys(good: object, bad: object) -> tuple[KeyChange, ...]:
    """Every scalar that differs, by its path; a list is compared place by place.

    >>> [(c.dotted, c.good, c.bad) for c in changed_keys({"a": {"b": 800}, "c": 1}, {"a": {"b": 5}, "d": True})]
    [('a.b', 800, 5), ('c', 1, absent), ('d', absent, True)]
    """
    before, after = _flatten(good, ()), _flatten(bad, ())
    paths = list(dict.fromkeys([*before, *after]))
    pairs = [(path, before.get(path, ABSENT), after.get(path, ABSENT)) for path in paths]
    return tuple(KeyChange(path=p, good=g, bad=b) for p, g, b in pairs if g != b or type(g) is not type(b))


def _flatten(content: object, path: KeyPath) -> dict[KeyPath, Scalar]:
    if isinstance(content, Mapping):
        mapping = cast(Mapping[object, object], content)
        return {k: v for key, value in mapping.items() for k, v in _flatten(value, (*path, str(key))).items()}
    if isinstance(content, list):
        items = cast(list[object], content)
        return {k: v for i, value in enumerate(items) for k, v in _flatten(value, (*path, i)).items()}
    scalar: Scalar = content if content is None or isinstance(content, str | int | float) else str(content)
    return {path: scalar} if path else {}
