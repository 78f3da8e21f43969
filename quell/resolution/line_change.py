"""A line change: what a commit did to the lines of a text file, each with the section it stands in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from quell.resolution.assertion import plain_lines, sections_of

_INI = r"^\["
_DELIMITERS = ":/,()=@;\"'"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChange:
    """`old` is empty for an added line, `new` for a removed one; `head` is the section's first line, or empty."""

    head: str
    old: str
    new: str

    @property
    def words(self) -> tuple[str, ...]:
        return tuple((self.old or self.new).split())

    def __str__(self) -> str:
        if not self.old:
            return f"added {self.new!r}"
        return f"{self.old!r} became {self.new!r}" if self.new else f"removed {self.old!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueChange:
    """One word of a line that differs. `before` are the words in front; `lead` and `tail` the parts that stayed."""

    before: tuple[str, ...]
    lead: str
    old: str
    new: str
    tail: str


def is_map(text: str) -> bool:
    """Whether every line is a name and a value, as in a map of HAProxy's."""
    lines = plain_lines(text)
    return bool(lines) and all(len(line.split()) == 2 and not line[0].isspace() for _, line in lines)


def heads_of(text: str) -> str:
    """What begins a section in this text: `[name]` where there is such a line, else the usual.

    >>> heads_of("[db]\\npool = 5\\n"), heads_of("backend be_a\\n  balance source\\n")
    ('^\\\\[', '')
    """
    return _INI if any(re.match(_INI + r".+\]$", line) for _, line in plain_lines(text)) else ""


def changed_lines(good: str, bad: str) -> tuple[LineChange, ...]:
    """Every line that says something else, comments and indentation left out.

    >>> [str(c) for c in changed_lines("a\\n  b 1\\n", "a # no\\n  b 2\\n  c\\n")]
    ["'b 1' became 'b 2'", "added 'c'"]
    """
    before, after = _placed(good), _placed(bad)
    changes: list[LineChange] = []
    matcher = SequenceMatcher(a=before, b=after, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind != "equal":
            changes += _pair(before[a:b], after[c:d])
    changes = [change for change in changes if change.old or change.new]  # a lone semicolon or brace says nothing
    moved = {(c.head, c.old) for c in changes if not c.new} & {(c.head, c.new) for c in changes if not c.old}
    return tuple(c for c in changes if (c.head, c.old or c.new) not in moved or (c.old and c.new))


def value_changes(change: LineChange) -> tuple[ValueChange, ...]:
    """The words that differ, where both lines have as many words; empty where they do not.

    >>> one, = value_changes(LineChange(head="", old="server a 10.0.0.1:80 check", new="server a 10.0.0.1:81 check"))
    >>> one.lead, one.old, one.new, one.tail
    ('10.0.0.1:', '80', '81', '')
    """
    old, new = change.old.split(), change.new.split()
    if len(old) != len(new):
        return ()
    return tuple(_narrow(tuple(old[:place]), a, b) for place, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)


def missing_words(long: str, short: str) -> tuple[str, ...]:
    """The words that `short` lacks, when it is otherwise the same line; else empty.

    >>> missing_words("server a 1.1.1.1:80 check inter 1s", "server a 1.1.1.1:80")
    ('check', 'inter', '1s')
    """
    rest, left = short.split(), list[str]()
    for word in long.split():
        if rest and rest[0] == word:
            rest.pop(0)
        else:
            left.append(word)
    return () if rest else tuple(left)


def _placed(text: str) -> list[tuple[str, str]]:
    """(head of the section, line) for every line."""
    lines = plain_lines(text)
    head_of = {number: section.head for section in sections_of(lines, heads_of(text)) for number, _ in section.lines}
    if is_map(text):
        head_of = {}
    return [(head if (head := head_of.get(number, "")) and head != line else "", bare(line)) for number, line in lines]


def bare(line: str) -> str:
    """The words of a line, without indentation, comment and the semicolon at its end.

    >>> bare("   listen  443 ssl; # tls")
    'listen 443 ssl'
    """
    return " ".join(re.sub(r"\s#.*$", "", line).split()).rstrip(";").rstrip()


def _pair(before: Sequence[tuple[str, str]], after: Sequence[tuple[str, str]]) -> list[LineChange]:
    """Lines that were replaced by lines of the same kind, the rest removed or added."""
    left = list(after)
    changes: list[LineChange] = []
    for head, old in before:
        alike = [one for one in left if _likeness(old, one[1]) > 0.0]
        if alike:
            best = max(alike, key=lambda one: _likeness(old, one[1]))
            left.remove(best)
            changes.append(LineChange(head=head, old=old, new=best[1]))
        else:
            changes.append(LineChange(head=head, old=old, new=""))
    return changes + [LineChange(head=head, old="", new=new) for head, new in left]


def _likeness(old: str, new: str) -> float:
    """0 for lines that begin with different words."""
    a, b = old.split(), new.split()
    if a[0].partition("=")[0] != b[0].partition("=")[0]:  # KEY=value is one word
        return 0.0
    if len(a) == len(b) == 1:
        return 0.5
    return SequenceMatcher(a=a, b=b, autojunk=False).ratio()


def _narrow(before: tuple[str, ...], old: str, new: str) -> ValueChange:
    """Cut off what both words begin and end with, at delimiters only."""
    start = 0
    for place, (a, b) in enumerate(zip(old, new, strict=False)):
        if a != b:
            break
        if a in _DELIMITERS:
            start = place + 1
    end = 0
    for place, (a, b) in enumerate(zip(reversed(old[start:]), reversed(new[start:]), strict=False), start=1):
        if a != b:
            break
        if a in _DELIMITERS:
            end = place
    tail = old[len(old) - end :] if end else ""
    stop_old, stop_new = len(old) - end, len(new) - end
    return ValueChange(before=before, lead=old[:start], old=old[start:stop_old], new=new[start:stop_new], tail=tail)
