"""Matchers: Alertmanager's syntax, used everywhere a selection of label sets is written.

Read as Alertmanager 0.25 reads them (pkg/labels: ParseMatchers, ParseMatcher, Matcher.String): the same texts are
taken, the same are refused, and a value means the same. Regular expressions are RE2's, as in Alertmanager: they match
in time that grows with the text alone, whatever somebody writes into a silence.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import re2  # pyright: ignore[reportMissingTypeStubs]

from quell.incidents.errors import InvalidInput
from quell.incidents.labels import Labels


class MatchOperator(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"

    @property
    def is_regex(self) -> bool:
        return self in (MatchOperator.REGEX, MatchOperator.NOT_REGEX)

    @property
    def is_equal(self) -> bool:
        """Whether a match of the value is wanted, rather than refused."""
        return self in (MatchOperator.EQUAL, MatchOperator.REGEX)


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; a missing label counts as the empty string, as in Alertmanager."""

    name: str
    operator: MatchOperator
    value: str

    def matches(self, labels: Labels) -> bool:
        actual = labels.get(self.name, "")
        found = _compiled(self.value).fullmatch(actual) is not None if self.operator.is_regex else actual == self.value
        return found is self.operator.is_equal

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
        return f'{self.name}{self.operator}"{escaped}"'


# What Go calls space at the ends of a text, and inside a regular expression: not quite what Python does.
_ENDS = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_SPACE = r"[\t\n\f\r ]*"
_ONE = re.compile(
    rf"{_SPACE}(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*){_SPACE}(?P<op>=~|=|!=|!~){_SPACE}(?P<value>.*?){_SPACE}", re.DOTALL
)
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_engine: Any = re2  # it comes without types
_MOST_MEMORY = 1 << 20  # bytes of one compiled expression


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Parse `{service="checkout", instance=~"checkout-.*"}`; braces are optional, values may stand unquoted.

    Raises InvalidInput with the first part that cannot be read.

    >>> [str(m) for m in parse_matchers('{service="checkout", severity!=info}')]
    ['service="checkout"', 'severity!="info"']
    """
    return tuple(_parse_one(part, text) for part in _split(text.removeprefix("{").removesuffix("}")))


def make_matcher(name: str, operator: MatchOperator, value: str) -> Matcher:
    """A matcher from its parts, as programs give them. Raises InvalidInput for a bad name or regular expression."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"matcher name {name!r} is no label name: letters, digits, _ and :, not a digit first")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidInput(f"matcher value {value!r} holds a NUL or half a character: write valid text")
    if operator.is_regex:
        try:
            _compiled(value)
        except _engine.error as error:
            why = error.args[0].decode(errors="replace")
            raise InvalidInput(f"{value!r} is not a regular expression that Alertmanager reads: {why}") from error
    return Matcher(name, operator, value)


def matches_all(matchers: tuple[Matcher, ...], labels: Labels) -> bool:
    """Whether every matcher holds; no matcher at all matches everything."""
    return all(matcher.matches(labels) for matcher in matchers)


def format_matchers(matchers: tuple[Matcher, ...]) -> str:
    """
    >>> format_matchers(parse_matchers("service=checkout"))
    '{service="checkout"}'
    """
    return "{" + ", ".join(map(str, matchers)) + "}"


def _split(body: str) -> Iterator[str]:
    """The parts between commas that stand outside quotes; a comma at the very end says nothing."""
    is_quoted = is_escaped = False
    part = ""
    for character in body:
        if character == "," and not is_quoted:
            yield part
            part = ""
            continue
        if character == '"':
            is_quoted = is_quoted if is_escaped else not is_quoted
            is_escaped = False
        elif character == "\\":
            is_escaped = not is_escaped
        elif character != ",":
            is_escaped = False
        part += character
    if rest := part.strip(_ENDS):
        yield rest


def _parse_one(part: str, text: str) -> Matcher:
    found = _ONE.fullmatch(part)
    if found is None:
        raise InvalidInput(
            f'matcher {text!r} cannot be read at {part.strip()!r}: write name="value", with =, !=, =~ or !~'
        )
    return make_matcher(found["name"], MatchOperator(found["op"]), _unquote(found["value"], text))


def _unquote(raw: str, text: str) -> str:
    r"""Quotes around it off; `\n`, `\"` and `\\` are read, any other backslash stands for itself."""
    is_open = raw.startswith('"')
    raw = raw.removeprefix('"')
    value: list[str] = []
    is_escaped = False
    for place, character in enumerate(raw):
        is_last = place == len(raw) - 1
        if is_escaped:
            is_escaped = False
            value.append({"n": "\n", '"': '"', "\\": "\\"}.get(character, "\\" + character))
        elif character == "\\" and not is_last:
            is_escaped = True
        elif character == '"':
            if not (is_open and is_last):
                raise InvalidInput(f'matcher {text!r} cannot be read at {raw!r}: write a quote inside quotes as \\"')
            is_open = False
        else:
            value.append(character)
    if is_open:
        raise InvalidInput(f"matcher {text!r} cannot be read at {raw!r}: the quote does not close")
    return "".join(value)


@lru_cache(maxsize=4096)
def _compiled(value: str) -> Any:
    options = _engine.Options()
    options.log_errors = False  # it would write to stderr by itself
    options.max_mem = _MOST_MEMORY
    return _engine.compile(value, options)
