"""A proposal: guards from what a bad commit changed, each true of the good file and false of the bad one."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from quell.resolution.document import KeyPath
from quell.resolution.guard import Guard

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


def propose_guards(
    *, service: str, incident: str, bad_commit: str, good: object, bad: object, files: str
) -> tuple[Guard, ...]:
    """One guard for each changed key; which of several keys was to blame is for the reviewer to say.

    A number gets a limit between its good and its bad value (their geometric mean, the arithmetic one where they
    differ in sign or one is zero), a boolean its good value, a text everything but the bad value, a removed key must
    be there, an added one must not have that value.
    """
    guards: list[Guard] = []
    for change in changed_keys(good, bad):
        rule, words = _rule(change)
        slug = re.sub(r"[^a-z0-9]+", "-", f"{service}-{change.dotted}".lower()).strip("-")
        guards.append(
            Guard(
                name=slug,
                incident=incident,
                files=files,
                schema={"type": "object", **_nest(change.path, rule)},
                message=f"{words}; commit {bad_commit[:12]} changed it from {change.good!r} to {change.bad!r}",
                source=f"{slug}.yaml",
            )
        )
    return tuple(guards)


def common_glob(file: str, peers: Sequence[str]) -> str:
    """The glob that covers a file and its peers, or the file alone when their names have nothing in common.

    >>> common_glob("services/checkout-2.yaml", ["services/checkout-1.yaml", "services/checkout-3.yaml"])
    'services/checkout-*.yaml'
    >>> common_glob("services/checkout-2.yaml", ["etc/shop.yaml"])
    'services/checkout-2.yaml'
    """
    names = [file, *peers]
    folder = file.rpartition("/")[0]
    if not peers or any(name.rpartition("/")[0] != folder for name in names):
        return file
    bases = [name.rpartition("/")[2] for name in names]
    head = _shared_start(bases)
    tail = _shared_start([base[len(head) :][::-1] for base in bases])[::-1]
    if not head:
        return file
    return f"{folder}/{head}*{tail}".lstrip("/")


def _rule(change: KeyChange) -> tuple[dict[str, Any], str]:
    name, good, bad = change.dotted, change.good, change.bad
    if isinstance(good, _Absent):
        return {"not": {"const": bad}}, f"{name} must not be {bad!r}"
    if isinstance(bad, _Absent):
        return {}, f"{name} must be there"
    if isinstance(good, bool):
        return {"const": good}, f"{name} must stay {str(good).lower()}"
    if isinstance(good, int | float):
        if isinstance(bad, bool) or not isinstance(bad, int | float):
            return {"type": "number"}, f"{name} must be a number"
        limit = limit_between(good, bad)
        bound, words = ("minimum", "at least") if good > bad else ("maximum", "at most")
        return {"type": "number", bound: limit}, f"{name} must be {words} {limit:g}"
    if type(good) is not type(bad):
        return {"type": "null" if good is None else "string"}, f"{name} must stay {'empty' if good is None else 'text'}"
    return {"not": {"const": bad}}, f"{name} must not be {bad!r}"


def limit_between(good: float, bad: float) -> float:
    """A short number between the two, itself on the good side or on neither.

    >>> limit_between(800, 5), limit_between(0.01, 100), limit_between(0, 3), limit_between(2, 3)
    (63, 1, 1.5, 2.4)
    """
    middle = math.copysign(math.sqrt(good * bad), good) if good * bad > 0 else (good + bad) / 2
    low, high = sorted((good, bad))
    for digits in range(2, 18):
        short = float(f"{middle:.{digits}g}")
        if low < short < high:
            return int(short) if short.is_integer() else short
    return good  # neighbouring floats: only the good value itself is left


def _nest(path: KeyPath, rule: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the outermost key down to the rule; a removed key (no rule) is required."""
    head, rest = path[0], path[1:]
    inner: dict[str, Any] = dict(rule) if not rest else _nest(rest, rule)
    if isinstance(head, int):
        return {"prefixItems": [*({} for _ in range(head)), inner]}
    if not rest and not rule:
        return {"required": [head]}
    return {"properties": {head: inner}}


def _flatten(content: object, path: KeyPath) -> dict[KeyPath, Scalar]:
    if isinstance(content, Mapping):
        mapping = cast(Mapping[object, object], content)
        return {k: v for key, value in mapping.items() for k, v in _flatten(value, (*path, str(key))).items()}
    if isinstance(content, list):
        items = cast(list[object], content)
        return {k: v for i, value in enumerate(items) for k, v in _flatten(value, (*path, i)).items()}
    scalar: Scalar = content if content is None or isinstance(content, str | int | float) else str(content)
    return {path: scalar} if path else {}


def _shared_start(texts: Sequence[str]) -> str:
    shared = min(texts, key=len)
    for text in texts:
        while not text.startswith(shared):
            shared = shared[:-1]
    return shared
