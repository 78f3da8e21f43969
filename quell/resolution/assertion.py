"""An assertion: what the lines of a text file (HAProxy, nginx, INI, maps) must say, or must not."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

from quell.incidents.errors import InvalidInput
from quell.resolution.quantity import UNITS, read_quantity

SECTION_HEAD = r"^[^\s#;}]"  # what is not indented begins a section
_COMMENT = re.compile(r"^\s*[#;].*$|\s#.*$")
_PATTERNS = ("section", "heads", "each", "must", "must_not", "require", "forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """`require`: a line that must be there; `forbid`: one that must not.

    `each` picks lines; every one of them must match `must`, must not match `must_not`, and the text in its group
    (named `value`, or the first one) is held to `one_of`, `minimum` and `maximum` in `unit`. With `section` all this is
    asked of each section whose head matches; a section begins at a line that matches `heads`. Comments are no text.
    """

    section: str = ""
    heads: str = ""
    each: str = ""
    must: str = ""
    must_not: str = ""
    require: str = ""
    forbid: str = ""
    one_of: tuple[str, ...] = ()
    unit: str = ""
    minimum: str = ""
    maximum: str = ""


def parse_assertion(values: Mapping[str, Any]) -> Assertion:
    """Raises InvalidInput, subject first, for what can never hold or never be checked."""
    known = [field.name for field in fields(Assertion)]
    unknown = [key for key in values if key not in known]
    if unknown:
        raise InvalidInput(f"unknown key {unknown[0]}; an assertion knows {', '.join(known)}")
    texts = {key: str(value) for key, value in values.items() if key != "one_of"}
    allowed: object = values.get("one_of", [])
    if not isinstance(allowed, list):
        raise InvalidInput("one_of is not a list; write one_of: [name, name]")
    made = Assertion(one_of=tuple(str(value) for value in cast(list[object], allowed)), **texts)  # pyright: ignore[reportArgumentType]
    _check_sense(made)
    return made


def assertion_content(assertion: Assertion) -> dict[str, Any]:
    """What the guard's file holds of it; `parse_assertion` reads it back."""
    values = {field.name: getattr(assertion, field.name) for field in fields(Assertion)}
    if assertion.one_of:
        values["one_of"] = list(assertion.one_of)
    return {key: value for key, value in values.items() if value}


def _check_sense(a: Assertion) -> None:
    for name in _PATTERNS:
        _compile(name, getattr(a, name))
    holds_value = bool(a.one_of or a.minimum or a.maximum)
    if not (a.each or a.require or a.forbid):
        raise InvalidInput("it asserts nothing: give each, require or forbid")
    if a.each and not (a.must or a.must_not or holds_value):
        raise InvalidInput("each says nothing of the lines it picks: give must, must_not, one_of, minimum or maximum")
    if not a.each and (a.must or a.must_not or holds_value):
        raise InvalidInput("each is missing: must, must_not, one_of, minimum and maximum are about the lines it picks")
    if holds_value and re.compile(a.each).groups == 0:
        raise InvalidInput(f"each {a.each!r} has no group; put the value in parentheses, as in (?P<value>\\S+)")
    if a.unit and a.unit not in UNITS:
        raise InvalidInput(f"unit {a.unit} is not known; there are {', '.join(UNITS)}")
    for name, bound in (("minimum", a.minimum), ("maximum", a.maximum)):
        if bound and read_quantity(bound, a.unit or "number") is None:
            raise InvalidInput(
                f"{name} {bound!r} is not a quantity in {a.unit or 'number'}; give unit: time, size, cpu"
            )


def _compile(name: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise InvalidInput(f"{name} {pattern!r} is not a regular expression: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Lines that belong together: 1-based numbers, texts without comments. `head` is empty for the whole file."""

    head: str
    lines: tuple[tuple[int, str], ...]


def plain_lines(text: str) -> tuple[tuple[int, str], ...]:
    """The lines that say something, without comments.

    >>> plain_lines("# a\\n\\nmaxconn 5 # why\\n")
    ((3, 'maxconn 5'),)
    """
    stripped = ((number, _COMMENT.sub("", line).rstrip()) for number, line in enumerate(text.splitlines(), start=1))
    return tuple((number, line) for number, line in stripped if line)


def sections_of(lines: Sequence[tuple[int, str]], heads: str = "") -> tuple[Section, ...]:
    """The lines cut at every head; what stands before the first head is no section."""
    is_head = re.compile(heads or SECTION_HEAD).search
    cuts = [place for place, (_, line) in enumerate(lines) if is_head(line)]
    ends = [*cuts[1:], len(lines)]
    return tuple(Section(head=lines[a][1], lines=tuple(lines[a:b])) for a, b in zip(cuts, ends, strict=True))


def broken_lines(assertion: Assertion, text: str) -> Iterator[tuple[int, str]]:
    """Where the text breaks the assertion, as (line, what is wrong)."""
    lines = plain_lines(text)
    whole = Section(head="", lines=lines)
    if assertion.section:
        wanted = re.compile(assertion.section).search
        sections = [section for section in sections_of(lines, assertion.heads) if wanted(section.head)]
    else:
        sections = [whole]
    for section in sections:
        yield from _broken_section(assertion, section)


def _broken_section(a: Assertion, section: Section) -> Iterator[tuple[int, str]]:
    place = f"{section.head.strip()}: " if section.head else ""
    if a.require and not any(re.search(a.require, line) for _, line in section.lines):
        yield section.lines[0][0] if section.lines else 1, f"{place}no line matches {a.require}"
    for number, line in section.lines:
        said = line.strip()
        if a.forbid and re.search(a.forbid, line):
            yield number, f"{place}{said!r} is forbidden"
        found = re.search(a.each, line) if a.each else None
        if found is None:
            continue
        if a.must and not re.search(a.must, line):
            yield number, f"{place}{said!r} lacks {a.must}"
        if a.must_not and re.search(a.must_not, line):
            yield number, f"{place}{said!r} must not have {a.must_not}"
        if a.one_of or a.minimum or a.maximum:
            value = found["value"] if "value" in found.re.groupindex else found[1]
            problem = _wrong_value(a, value)
            if problem:
                yield number, f"{place}{said!r}: {problem}"


def _wrong_value(a: Assertion, value: str | None) -> str:
    if a.one_of and value not in a.one_of:
        return f"{value} is not one of {', '.join(a.one_of)}"
    if not (a.minimum or a.maximum):
        return ""
    unit = a.unit or "number"
    number = read_quantity(value, unit)
    if number is None:
        return f"{value} is not a quantity in {unit}"
    low, high = read_quantity(a.minimum, unit), read_quantity(a.maximum, unit)
    if low is not None and number < low:
        return f"{value} is less than the minimum of {a.minimum}"
    if high is not None and number > high:
        return f"{value} is greater than the maximum of {a.maximum}"
    return ""
