"""A reference: values of one file that must exist in another, as every backend that a map names must be declared."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

from quell.incidents.errors import InvalidInput
from quell.resolution.assertion import plain_lines
from quell.resolution.document import Document, Files, KeyPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where values stand: a `pattern` with a group, the `path` of a key, or the names of the `keys` under a path.

    A path is dotted; `*` stands for every item of a list or every key of a mapping.
    """

    pattern: str = ""
    path: str = ""
    keys: str = ""

    def __str__(self) -> str:
        return self.pattern or self.path or f"keys of {self.keys}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Every value at `place` must be among those at `target` in the files that `files` (a glob) names."""

    place: Place
    files: str
    target: Place


def parse_reference(values: Mapping[str, Any]) -> Reference:
    """Raises InvalidInput, subject first."""
    own = {key: value for key, value in values.items() if key != "exist_in"}
    other: object = values.get("exist_in")
    if not isinstance(other, dict) or "files" not in other:
        raise InvalidInput("exist_in is missing or names no files; write exist_in: {files: GLOB, pattern: REGEX}")
    there = {str(key): value for key, value in cast(dict[object, Any], other).items()}
    files = str(there.pop("files"))
    return Reference(place=_parse_place(own), files=files, target=_parse_place(there, "exist_in: "))


def _parse_place(values: Mapping[str, Any], where: str = "") -> Place:
    known = [field.name for field in fields(Place)]
    unknown = [key for key in values if key not in known]
    if unknown:
        raise InvalidInput(f"{where}unknown key {unknown[0]}; a place of values knows {', '.join(known)}")
    if len(values) != 1:
        raise InvalidInput(f"{where}has {len(values)} of {', '.join(known)}; give exactly one")
    place = Place(**{key: str(value) for key, value in values.items()})
    try:
        if place.pattern and re.compile(place.pattern).groups == 0:
            raise InvalidInput(f"{where}pattern {place.pattern!r} has no group; put the value in parentheses")
    except re.error as error:
        raise InvalidInput(f"{where}pattern {place.pattern!r} is not a regular expression: {error}") from error
    return place


def reference_content(reference: Reference) -> dict[str, Any]:
    """What the guard's file holds of it; `parse_reference` reads it back."""
    own, other = ({f.name: v for f in fields(Place) if (v := getattr(p, f.name))} for p in _places(reference))
    return {**own, "exist_in": {"files": reference.files, **other}}


def _places(reference: Reference) -> tuple[Place, Place]:
    return reference.place, reference.target


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """`line` is 0 where only the path is known: finding a line is dear, and few values need one."""

    text: str
    line: int = 0
    path: KeyPath = ()
    part: int = 0

    def line_in(self, document: Document) -> int:
        return self.line or document.line_of(self.path, self.part)


def values_at(place: Place, document: Document) -> Iterator[Value]:
    """Every value that stands at the place in the document. Raises InvalidInput where it cannot be parsed."""
    if place.pattern:
        search = re.compile(place.pattern).search
        for number, line in plain_lines(document.text):
            if found := search(line):
                value = found["value"] if "value" in found.re.groupindex else found[1]
                yield Value(text=value, line=number)
        return
    for part, content in enumerate(document.contents()):
        for path, value in _walk(content, _split(place.path or place.keys), ()):
            names: Sequence[tuple[KeyPath, object]] = [(path, value)]
            if place.keys:
                names = [((*path, str(key)), key) for key in _keys(value)]
            for at, name in names:
                if not isinstance(name, dict | list):
                    yield Value(text=text_of(name), path=at, part=part)


Known = dict[Reference, frozenset[str]]
"""What exists at a reference's target, so that many documents ask for it once."""


def dangling(reference: Reference, document: Document, files: Files, known: Known | None = None) -> Iterator[Value]:
    """The document's values that exist nowhere in the files they must exist in."""
    known = {} if known is None else known
    if reference not in known:
        others = files.matching(reference.files)
        known[reference] = frozenset(v.text for other in others for v in values_at(reference.target, other))
    for value in values_at(reference.place, document):
        if value.text not in known[reference]:
            yield value


def _split(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split(".") if part)


def _walk(content: object, parts: tuple[str, ...], above: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    if not parts:
        yield above, content
        return
    head, rest = parts[0], parts[1:]
    if isinstance(content, dict):
        mapping = cast(dict[object, object], content)
        for key, value in mapping.items():
            if head in ("*", str(key)):
                yield from _walk(value, rest, (*above, str(key)))
    elif isinstance(content, list):
        for place, value in enumerate(cast(list[object], content)):
            if head in ("*", str(place)):
                yield from _walk(value, rest, (*above, place))


def _keys(value: object) -> Sequence[object]:
    return list(cast(dict[object, object], value)) if isinstance(value, dict) else ()


def text_of(value: object) -> str:
    """
    >>> text_of(True), text_of(7422), text_of("be_shop")
    ('true', '7422', 'be_shop')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)
