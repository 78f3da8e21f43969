"""A search for what a changed name had to agree with: places in other files where every good name existed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from quell.incidents.errors import InvalidInput
from quell.resolution.assertion import plain_lines
from quell.resolution.bound import is_identity
from quell.resolution.document import Document
from quell.resolution.evidence import BadChange
from quell.resolution.line_change import is_map
from quell.resolution.quantity import UNITS, read_quantity
from quell.resolution.reference import Place, Reference, text_of, values_at

_SHORTEST = 3  # shorter values agree by chance
_MOST = 4  # references worth trying
_FEW = 50  # of more keys that are alike, each alone is no place
_PORT = r":(\d+)(?!\S)"
_WORDS = ("true", "false", "null", "yes", "none", "off")
Values = frozenset[str]


def find_references(change: BadChange) -> tuple[Reference, ...]:
    """References that the good file keeps and the bad one breaks, the likeliest first.

    A place where new names appeared is compared with every place of every file: all good names must exist there and
    a new one must not. Likelier is a place that is called alike, and one that holds little else.
    """
    found: list[tuple[tuple[int, int, int, str], Reference]] = []
    peers = {peer.name for peer in change.peers}  # they say the same of themselves: that is no agreement
    targets = [(d, places_of(d)) for d in (change.good, *change.others) if d.name not in peers]
    bad = places_of(change.bad)
    for place, good in places_of(change.good).items():
        new = bad.get(place, frozenset()) - good
        if not new or not _holds_names(place, good):
            continue
        for document, places in targets:
            for target, known in places.items():
                if document is change.good and target == place:
                    continue
                if len(known) > 1 and good <= known and not new <= known:  # one name alone is no list of names
                    rank = (-_kinship(place, target), len(known - good), str(target).count("*"), str(target))
                    found.append((rank, Reference(place=place, files=document.name, target=target)))
    return tuple(reference for _, reference in sorted(found, key=lambda pair: pair[0])[:_MOST])


def places_of(document: Document) -> Mapping[Place, Values]:
    """Every place of the document that could hold names, with the names there; empty where it cannot be parsed."""
    found: dict[Place, set[str]] = {}
    try:
        if _is_structured(document):
            for content in document.contents():
                for place, text in _keyed_values(content, ()):
                    found.setdefault(place, set()).add(text)
        else:
            for place in _line_places(document):
                found[place] = {value.text for value in values_at(place, document)}
    except InvalidInput:
        return {}
    return {place: frozenset(values) for place, values in found.items() if values}


def _is_structured(document: Document) -> bool:
    return document.name.lower().endswith((".yaml", ".yml", ".json", ".toml"))


def _keyed_values(content: object, above: tuple[str, ...]) -> Iterator[tuple[Place, str]]:
    """Every leaf with the place of it; items of lists, and keys of mappings whose values are alike, are also `*`."""
    if isinstance(content, list):
        for item in cast(list[object], content):
            yield from _keyed_values(item, (*above, "*"))
    elif isinstance(content, dict):
        mapping = cast(dict[object, object], content)
        is_list_of_names = bool(above) and _are_alike(list(mapping.values()), least=1 if "*" in above else 2)
        for key, value in mapping.items():
            if is_list_of_names:
                yield Place(keys=".".join(above)), str(key)
                yield from _keyed_values(value, (*above, "*"))
            if "." not in str(key) and (not is_list_of_names or len(mapping) <= _FEW):
                yield from _keyed_values(value, (*above, str(key)))
    elif above:
        yield Place(path=".".join(above)), text_of(content)


def _are_alike(values: Sequence[object], *, least: int) -> bool:
    """Whether the keys above these values look like names of things: below other names one of them may stand alone."""
    return len({type(value) for value in values}) == 1 and len(values) >= least


def _line_places(document: Document) -> Iterator[Place]:
    """First and second argument of every keyword, the port at the end of an address, both columns of a map."""
    lines = [line for _, line in plain_lines(document.text)]
    if is_map(document.text):
        yield Place(pattern=r"^(\S+)\s+\S+$")
        yield Place(pattern=r"^\S+\s+(\S+)$")
        return
    for keyword in dict.fromkeys(line.split()[0] for line in lines):
        if re.fullmatch(r"[A-Za-z][\w-]*", keyword):
            start = rf"^\s*{re.escape(keyword)}"
            yield Place(pattern=rf"{start}\s+(\S+)")
            yield Place(pattern=rf"{start}\s+\S+\s+(\S+)")
            yield Place(pattern=rf"{start}\s.*?{_PORT}")


def _holds_names(place: Place, values: Values) -> bool:
    """Whether the values only name something, and are long enough not to be equal to others by chance.

    >>> _holds_names(Place(path="upstream"), frozenset({"be_pay"})), _holds_names(Place(path="t"), frozenset({"800"}))
    (True, False)
    >>> _holds_names(Place(path="a.port"), frozenset({"7422"})), _holds_names(Place(path="a.b"), frozenset({"true"}))
    (True, False)
    """
    if all(any(read_quantity(value, unit) is not None for unit in UNITS) for value in values):
        return is_identity(place.path) or place.pattern.endswith(_PORT)
    return all(len(value) >= _SHORTEST and value not in _WORDS for value in values)


def _kinship(place: Place, target: Place) -> int:
    """How alike two places are called: `upstreams.*.port` and `port`, `default_backend` and `backend`."""
    one, other = (set(re.findall(r"[a-z]{3,}", str(p).lower())) for p in (place, target))
    return sum(1 for a in one for b in other if a in b or b in a)
