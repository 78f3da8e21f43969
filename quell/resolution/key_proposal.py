"""Candidates against changed keys of a structured file: what the key must hold, here and in every file of its kind."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from quell.incidents.errors import InvalidInput
from quell.resolution.bound import find_bound, is_identity
from quell.resolution.document import Document, KeyPath
from quell.resolution.evidence import BadChange
from quell.resolution.key_change import ABSENT, KeyChange, changed_keys
from quell.resolution.line_proposal import write_quantity
from quell.resolution.quantity import guess_unit, read_quantity

_MOST_NAMES = 12
_MORE_IS_WORSE = re.compile(r"retr|attempt|parallel|concurren|batch|backlog|fan_?out", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """One candidate: a schema and what to tell the reader."""

    schema: Mapping[str, Any]
    words: str


def key_candidates(change: BadChange) -> Iterator[tuple[int, KeyChange, Sequence[Ruled]]]:
    """(which document of the file, the change, its candidates from general to particular). Raises InvalidInput."""
    for part, (good, bad) in enumerate(zip(change.good.contents(), change.bad.contents(), strict=False)):
        keys = _gathered(changed_keys(good, bad), good, bad)
        swap = _swapped(change, part, keys)
        for key in keys:
            yield part, key, [*([swap] if swap else []), *_candidates(change, part, key)]


def _gathered(keys: Sequence[KeyChange], good: object, bad: object) -> tuple[KeyChange, ...]:
    """A whole mapping that went or came is one change, not one for each of its leaves."""
    found: dict[KeyPath, KeyChange] = {}
    for key in keys:
        path = key.path
        for side, missing in ((bad, key.bad is ABSENT), (good, key.good is ABSENT)):
            if missing:
                path = next((path[:n] for n in range(1, len(path) + 1) if not _exists(side, path[:n])), path)
        if path == key.path:
            found[path] = key
        else:
            went = key.bad is ABSENT
            found[path] = KeyChange(path=path, good="..." if went else ABSENT, bad=ABSENT if went else "...")
    return tuple(found.values())


def _candidates(change: BadChange, part: int, key: KeyChange) -> Iterator[Ruled]:
    own = _known(change.own, part, key.path)
    known = [*own, *_known(change.peers, part, key.path)]
    for path in _general(key.path):
        alike = own if path == key.path else [*own, *_known(change.own, part, path)]
        for rule, words in _rules(key, alike, known):
            yield Ruled(schema=nest(path, rule), words=f"{_dotted(path)} {words}")
    if isinstance(key.path[-1], int):
        yield from _about_length(change, part, key)
    elif key.good is ABSENT:
        unwanted: dict[str, Any] = {"not": {"required": [key.path[-1]]}}
        yield Ruled(schema=nest(key.path[:-1], unwanted), words=f"{key.dotted} must not be there")
    if key.good is ABSENT:
        yield Ruled(schema=nest(key.path, {"not": {"const": key.bad}}), words=f"{key.dotted} must not be {key.bad!r}")


def _about_length(change: BadChange, part: int, key: KeyChange) -> Iterator[Ruled]:
    """A list that became shorter or longer."""
    parent = key.path[:-1]
    good = _at(change.good.contents()[part], parent)
    if type(good) is not list:
        return
    count = len(cast(list[object], good))
    side, words = ("maxItems", "at most") if key.good is ABSENT else ("minItems", "at least")
    if ABSENT in (key.good, key.bad):
        rule: dict[str, Any] = {"type": "array", side: count}
        yield Ruled(schema=nest(parent, rule), words=f"{_dotted(parent) or 'the file'} must have {words} {count} items")


def _rules(key: KeyChange, own: Sequence[object], known: Sequence[object]) -> Iterator[tuple[dict[str, Any], str]]:
    """Limits and names come from the file's own past; its peers, which may differ, only prove or disprove them."""
    good, bad = key.good, key.bad
    if bad is ABSENT:
        yield {}, "must be there"
        return
    if good is ABSENT:
        yield from _about_added(key, known)
        return
    if isinstance(good, bool):
        yield {"const": good}, f"must stay {str(good).lower()}"
        return
    unit = guess_unit(key.dotted, [good, *own])
    if unit and not is_identity(key.dotted):
        yield from _bounded(unit, good, bad, own)
    elif isinstance(good, int | float) and not isinstance(bad, int | float):
        yield {"type": "number"}, "must be a number"
    names = tuple(dict.fromkeys([good, *(value for value in own if value != bad)]))
    if (
        max(len(known), len(own)) > 1 and len(names) <= _MOST_NAMES
    ):  # one file alone does not say which other names are fine
        said = " or ".join(map(repr, names))
        yield {"enum": list(names)}, f"must be {said}; add a new value to enum when it is meant"
    yield {"not": {"const": bad}}, f"must not be {bad!r}"


def _bounded(unit: str, good: object, bad: object, known: Sequence[object]) -> Iterator[tuple[dict[str, Any], str]]:
    """A limit in the file's own unit; what is no quantity at all breaks it as well."""
    was, became = read_quantity(good, unit), read_quantity(bad, unit)
    fine = [number for value in known if (number := read_quantity(value, unit)) is not None]
    if was is None:
        return
    if became is None:
        yield (
            ({"type": "number"}, "must be a number")
            if isinstance(good, int | float)
            else ({"quantity": {"unit": unit}}, f"must be a quantity in {unit}")
        )
        return
    bound = find_bound(was, became, fine)
    if bound is None:
        return
    side = "minimum" if bound.is_minimum else "maximum"
    if isinstance(good, int | float):
        numbers = [n for n in (*known, good) if isinstance(n, int | float)]
        plain = find_bound(float(good), float(cast(float, bad)), numbers) if isinstance(bad, int | float) else None
        if plain:
            plain = plain.whole if all(isinstance(n, int) for n in (*numbers, bad)) else plain
            yield {"type": "number", side: plain.value}, f"must be {plain.words} {plain.value:g}"
            return
    text = write_quantity(bound.value, unit, str(good))
    yield {"quantity": {"unit": unit, side: text}}, f"must be {bound.words} {text}"


def _about_added(key: KeyChange, known: Sequence[object]) -> Iterator[tuple[dict[str, Any], str]]:
    """A key that came: held to what its peers have, else to the side on which it can do no more harm, else unwanted."""
    bad = key.bad
    unit = guess_unit(key.dotted, [bad, *known])
    if known and unit and not is_identity(key.dotted):
        yield from _bounded(unit, known[0], bad, known)
    elif isinstance(bad, int | float) and not isinstance(bad, bool) and _MORE_IS_WORSE.search(key.dotted):
        yield {"type": "number", "exclusiveMaximum": bad}, f"must be less than {bad!r}"
    elif known and not any(value == bad for value in known):
        names = list(dict.fromkeys(known))
        yield {"enum": names}, f"must be {' or '.join(map(repr, names))}"


def _swapped(change: BadChange, part: int, keys: Sequence[KeyChange]) -> Ruled | None:
    """Names that changed places: they and their neighbours each keep the names they had."""
    old, new = ([getattr(key, side) for key in keys] for side in ("good", "bad"))
    texts = [value for value in (*old, *new) if isinstance(value, str)]
    parents = {key.path[:-1] for key in keys}
    if len(keys) < 2 or len(texts) < 2 * len(keys) or sorted(map(str, old)) != sorted(map(str, new)):
        return None
    if len(parents) != 1 or guess_unit("", texts):
        return None
    (parent,) = parents
    siblings = _at(change.good.contents()[part], parent)
    if not isinstance(siblings, dict):
        return None
    pins: dict[str, Any] = {}
    for name, value in cast(dict[str, object], siblings).items():
        if isinstance(value, str):
            pins[name] = {"enum": list(dict.fromkeys([value, *_known(change.own, part, (*parent, name))]))}
    where = _dotted(parent) or "the file"
    words = f"the names in {where} must keep their places; change enum when a move is meant"
    return Ruled(schema=nest(parent, {"properties": pins}) if parent else {"properties": pins}, words=words)


def nest(path: KeyPath, rule: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the file from its outermost key down to the rule; without a rule the last key is required.

    >>> nest(("a", "*", "b"), {"const": 1})["properties"]["a"]["items"]
    {'type': 'object', 'properties': {'b': {'const': 1}}}
    """
    if not path:
        return dict(rule)
    head, rest = path[0], path[1:]
    if head == "*":
        return {"type": "array", "items": nest(rest, rule)}
    if isinstance(head, int):
        return {"type": "array", "prefixItems": [*({} for _ in range(head)), nest(rest, rule)]}
    if not rest and not rule:
        return {"type": "object", "required": [head]}
    below = {"properties": {head: nest(rest, rule)}}
    if len(rest) >= 1 and not rule:  # what is required below must have a place to be in
        return {"type": "object", "required": [head], **below}
    return {"type": "object", **below}


def _general(path: KeyPath) -> Iterator[KeyPath]:
    """The same key in every item of the lists above it, then this place alone."""
    if any(isinstance(part, int) for part in path):
        yield tuple("*" if isinstance(part, int) else part for part in path)
    yield path


def _known(documents: Sequence[Document], part: int, path: KeyPath) -> list[Any]:
    """What the key held in each document that has it; documents that cannot be parsed know nothing."""
    found: list[Any] = []
    for document in documents:
        try:
            contents = document.contents()
        except InvalidInput:
            continue
        if part < len(contents):
            values = [_at(contents[part], path)] if "*" not in path else _every(contents[part], path)
            found += [value for value in values if value is not ABSENT and not isinstance(value, dict | list)]
    return found


def _every(content: object, path: KeyPath) -> list[Any]:
    if "*" not in path:
        return [_at(content, path)]
    place = path.index("*")
    items = _at(content, path[:place])
    if not isinstance(items, list):
        return []
    return [value for item in cast(list[object], items) for value in _every(item, path[place + 1 :])]


def _at(content: object, path: KeyPath) -> Any:
    node: Any = content
    for part in path:
        holds: Any = node if type(node) in (dict, list) else {}
        try:
            node = holds[part]
        except (KeyError, IndexError, TypeError):
            return ABSENT
    return node


def _exists(content: object, path: KeyPath) -> bool:
    return _at(content, path) is not ABSENT


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)
