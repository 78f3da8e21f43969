"""Candidates against changed lines of a text file: what a line of its kind must have, and how far its value may go."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from quell.resolution.assertion import Assertion, plain_lines, sections_of
from quell.resolution.bound import find_bound, is_identity
from quell.resolution.document import Document
from quell.resolution.evidence import BadChange
from quell.resolution.line_change import (
    LineChange,
    ValueChange,
    changed_lines,
    heads_of,
    is_map,
    missing_words,
    value_changes,
)
from quell.resolution.quantity import UNITS, guess_unit, read_quantity

_END = r"(?![^\s;])"  # the end of a word; nginx ends statements with a semicolon
_MOST_NAMES = 12  # a value that history knows more names for is no choice among a few


@dataclass(frozen=True, slots=True, kw_only=True)
class Asserted:
    """One candidate: assertions and what to tell the reader."""

    assertions: tuple[Assertion, ...]
    words: str


def line_candidates(change: BadChange) -> Iterator[tuple[str, LineChange, Sequence[Asserted]]]:
    """(subject for the guard's name, the change, its candidates from general to particular)."""
    lines = changed_lines(change.good.text, change.bad.text)
    swap = _swapped(change, lines)
    for line in lines:
        own = [*([swap] if swap and line.old and line.new else []), *_candidates(change, line)]
        yield _subject(line), line, [_with_heads(one, heads_of(change.good.text)) for one in own]


def _with_heads(asserted: Asserted, heads: str) -> Asserted:
    """What is asked of a section says how sections begin, where they do not begin as usual."""
    assertions = tuple(replace(a, heads=heads) if a.section else a for a in asserted.assertions)
    return replace(asserted, assertions=assertions)


def _candidates(change: BadChange, line: LineChange) -> Iterator[Asserted]:
    if line.old and line.new:
        values = value_changes(line)
        for value in values:
            yield from _about_value(change, line, value)
        yield from _about_words(line, missing_words(line.old, line.new), must=True)
        yield from _about_words(line, missing_words(line.new, line.old), must=False)
        if not values:
            yield _pinned_rest(line)
    elif line.old:
        yield from _required(line)
    else:
        yield from _about_added(change, line)


def _subject(line: LineChange) -> str:
    words = [word for word in line.words if re.fullmatch(r"[A-Za-z][\w.-]*", word)]
    return " ".join([*line.head.split()[:2], *words[:2]]) or line.words[0]


def section_patterns(head: str) -> tuple[str, ...]:
    """Which sections a rule may hold for, from all of that kind to this one.

    >>> section_patterns("backend be_checkout")
    ('^backend\\\\b', '^backend\\\\s+be_', '^backend\\\\s+be_checkout(?![^\\\\s;])')
    """
    if not head:
        return ("",)
    words = head.split()
    kind = f"^{re.escape(words[0])}"
    if len(words) == 1:
        return (f"{kind}{_END}",)
    if not words[1][0].isalnum():  # `http {`
        return (f"{kind}{_END}",)
    stem = re.match(r"[A-Za-z]+[_-]", words[1])
    some = (rf"{kind}\s+{re.escape(stem[0])}",) if stem else ()
    return (rf"{kind}\b", *some, rf"{kind}\s+{re.escape(words[1])}{_END}")


def _said(head: str, pattern: str) -> str:
    """In which sections, in words."""
    if not pattern:
        return ""
    return f" in {head}" if pattern.endswith(_END) else f" in every {head.split()[0]} of its kind"


def _about_value(change: BadChange, line: LineChange, value: ValueChange) -> Iterator[Asserted]:
    for section in ("", *section_patterns(line.head)) if line.head else ("",):
        for pattern, name in _value_patterns(change.good.text, value):
            where = _said(line.head, section)
            fine = [text for document in change.fine for text in values_of(document, section, pattern)]
            unit = guess_unit(name, [value.old, value.new, *fine])
            if unit and not is_identity(name) and not value.lead.endswith(":"):
                bound = _bounded(section, pattern, unit, value, fine)
                if bound:
                    yield Asserted(assertions=(bound[0],), words=f"{name}{where} must be {bound[1]}")
    yield _pinned(change, line, value)


def _value_patterns(text: str, value: ValueChange) -> Iterator[tuple[str, str]]:
    """(pattern with the value's group, its name), from every line of the kind to this very line."""
    tail = re.escape(value.tail[:1])
    group = rf"{re.escape(value.lead)}(?P<value>[^\s;{tail}]+){tail}"
    if is_map(text):
        yield rf"^\S+\s+{group}", "every value"
    words = [re.escape(word) for word in value.before]
    if len(words) > 1:
        first, last = words[0], words[-1]
        gap = r"\s+" if len(words) == 2 else r"\s.*\s"
        yield rf"^\s*{first}{gap}{last}\s+{group}", _named(value.before[0], value.before[-1])
    start = "".join(rf"{word}\s+" for word in words)
    yield rf"^\s*{start}{group}", _named(*value.before) or _named(value.lead)


def _named(*words: str) -> str:
    """What people call the value.

    >>> _named("pool", "="), _named("TIMEOUT_MS=")
    ('pool', 'TIMEOUT_MS')
    """
    return " ".join(filter(None, (word.strip("=:") for word in words)))


def _bounded(
    section: str, pattern: str, unit: str, value: ValueChange, fine: Sequence[str]
) -> tuple[Assertion, str] | None:
    numbers = [number for text in fine if (number := read_quantity(text, unit)) is not None]
    good, bad = read_quantity(value.old, unit), read_quantity(value.new, unit)
    if good is None or bad is None:
        return None
    bound = find_bound(good, bad, numbers)
    if bound is None:
        return None
    text = write_quantity(bound.value, unit, value.old)
    low, high = (text, "") if bound.is_minimum else ("", text)
    named = "" if unit == "number" else unit
    made = Assertion(section=section, each=pattern, unit=named, minimum=low, maximum=high)
    return made, f"{bound.words} {text}"


def write_quantity(value: float, unit: str, like: str) -> str:
    """The value in the unit that `like` is written in.

    >>> write_quantity(1.5, "time", "15s"), write_quantity(0.3, "time", "500ms"), write_quantity(0.4, "time", "900")
    ('1.5s', '300ms', '400')
    """
    suffix = re.sub(r"[^A-Za-z%]", "", like)
    number = value / UNITS[unit][suffix.lower()]
    return f"{float(f'{number:.6g}'):g}{suffix}" if number < 1e6 else f"{number:.0f}{suffix}"


def values_of(document: Document, section: str, pattern: str) -> list[str]:
    """What a pattern's group holds on every line, in the sections meant."""
    lines = plain_lines(document.text)
    if section:
        wanted = [s for s in sections_of(lines, heads_of(document.text)) if re.search(section, s.head)]
        lines = tuple(line for s in wanted for line in s.lines)
    return [found["value"] for _, line in lines if (found := re.search(pattern, line))]


def _pinned(change: BadChange, line: LineChange, value: ValueChange) -> Asserted:
    """The value must be one that this line had while all was well."""
    *_, (pattern, name) = _value_patterns(change.good.text, value)
    section = section_patterns(line.head)[-1]
    names = [n for document in change.own for n in values_of(document, section, pattern) if n != value.new]
    allowed = tuple(dict.fromkeys([value.old, *names]))[:_MOST_NAMES]
    where = _said(line.head, section)
    words = f"{name}{where} must be {' or '.join(allowed)}; add a new name to one_of when it is meant"
    return Asserted(assertions=(Assertion(section=section, each=pattern, one_of=allowed),), words=words)


def _pinned_rest(line: LineChange) -> Asserted:
    first, rest = line.old.split(maxsplit=1) if " " in line.old else (line.old, "")
    must = r"\s+".join(re.escape(word) for word in line.old.split())
    pattern, section = rf"^\s*{re.escape(first)}{_END}", section_patterns(line.head)[-1]
    words = f"{first}{_said(line.head, section)} must keep {rest or first}"
    return Asserted(assertions=(Assertion(section=section, each=pattern, must=must),), words=words)


def _about_words(line: LineChange, words: Sequence[str], *, must: bool) -> Iterator[Asserted]:
    if not words or not line.old or not line.new:
        return
    kind = re.escape(line.words[0])
    subject = r"\s+".join(re.escape(word) for word in line.words[:2])
    for section in ("", *section_patterns(line.head)) if line.head else ("",):
        for each in (kind, subject):
            word = rf"(?<!\S){re.escape(words[0])}{_END}"
            wanted, unwanted = (word, "") if must else ("", word)
            made = Assertion(section=section, each=rf"^\s*{each}{_END}", must=wanted, must_not=unwanted)
            said = f"{'have' if must else 'not have'} {words[0]}{_said(line.head, section)}"
            about = f"every {line.words[0]}" if each == kind else " ".join(line.words[:2])
            yield Asserted(assertions=(made,), words=f"{about} must {said}")


def _required(line: LineChange) -> Iterator[Asserted]:
    is_word = len(line.words) > 1 and re.fullmatch(r"[A-Za-z][\w-]*", line.words[1])
    start = r"\s+".join(re.escape(word) for word in line.words[: 2 if is_word else 1])
    shown = " ".join(line.words[: 2 if is_word else 1])
    end = _END
    key, equals, _ = line.old.split()[0].partition("=")
    if equals:  # KEY=value: the key must be there, whatever its value
        start, end, shown = re.escape(key), "=", key
    for section in section_patterns(line.head):
        made = Assertion(section=section, require=rf"^\s*{start}{end}")
        yield Asserted(assertions=(made,), words=f"{shown} must be there{_said(line.head, section)}")


def _about_added(change: BadChange, line: LineChange) -> Iterator[Asserted]:
    words = line.new.split()
    if is_map(change.good.text):
        pattern = r"^\S+\s+(?P<value>\S+)"
        fine = [text for document in change.fine for text in values_of(document, "", pattern)]
        unit = guess_unit("", [words[-1], *fine])
        if unit and fine:
            value = ValueChange(before=(words[0],), lead="", old=fine[0], new=words[-1], tail="")
            bound = _bounded("", pattern, unit, value, fine)
            if bound:
                yield Asserted(assertions=(bound[0],), words=f"every value must be {bound[1]}")
    for count in (2, len(words)):
        start = r"\s+".join(re.escape(word) for word in words[:count])
        for section in section_patterns(line.head):
            made = Assertion(section=section, forbid=rf"^\s*{start}{_END}")
            yield Asserted(assertions=(made,), words=f"{' '.join(words[:count])} must not be there")


def _swapped(change: BadChange, lines: Sequence[LineChange]) -> Asserted | None:
    """Names that changed places: every line that could swap its name keeps the one it had."""
    values = [(line, value) for line in lines for value in value_changes(line)]
    old, new = (sorted(getattr(value, side) for _, value in values) for side in ("old", "new"))
    if len(values) < 2 or old != new or any(guess_unit("", [name]) for name in old):
        return None
    pins: dict[Assertion, None] = {}
    if is_map(change.good.text):
        for name, allowed in _map_values(change).items():
            pins[Assertion(each=rf"^{re.escape(name)}\s+(?P<value>\S+)", one_of=allowed)] = None
    else:
        for line, value in values:
            pins |= dict.fromkeys(_pinned(change, line, value).assertions)
    shown = " and ".join(dict.fromkeys(old))
    return Asserted(assertions=tuple(pins), words=f"{shown} must keep their places; change one_of when a move is meant")


def _map_values(change: BadChange) -> Mapping[str, tuple[str, ...]]:
    """The values that each name of the map had while all was well, the present one first."""
    found: dict[str, dict[str, None]] = {}
    for document in change.own:
        for _, line in plain_lines(document.text):
            words = line.split()
            if document is change.good or words[0] in found:
                found.setdefault(words[0], {})[words[-1]] = None
    return {name: tuple(values)[:_MOST_NAMES] for name, values in found.items()}
