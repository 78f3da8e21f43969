"""Matchers: Alertmanager's syntax, used everywhere a selection of label sets is written."""

import re
from dataclasses import dataclass
from enum import StrEnum

from quell.incidents.errors import InvalidInput
from quell.incidents.labels import Labels


class MatchOperator(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; a missing label counts as the empty string, as in Alertmanager."""

    name: str
    operator: MatchOperator
    value: str

    def matches(self, labels: Labels) -> bool:
        actual = labels.get(self.name, "")
        match self.operator:
            case MatchOperator.EQUAL:
                return actual == self.value
            case MatchOperator.NOT_EQUAL:
                return actual != self.value
            case MatchOperator.REGEX:
                return re.fullmatch(self.value, actual) is not None
            case MatchOperator.NOT_REGEX:
                return re.fullmatch(self.value, actual) is None

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{self.name}{self.operator}"{escaped}"'


_ONE = re.compile(
    r"""\s*(?P<name>[a-zA-Z_][a-zA-Z0-9_:]*)\s*(?P<op>=~|!~|!=|=)\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s",}]*))\s*(?P<end>,|$)"""
)


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Parse `{service="checkout", instance=~"checkout-.*"}`; braces are optional, values may stand unquoted.

    Raises InvalidInput with the position of the first part that cannot be read.

    >>> [str(m) for m in parse_matchers('{service="checkout", severity!=info}')]
    ['service="checkout"', 'severity!="info"']
    """
    body = text.strip()
    if body.startswith("{"):
        if not body.endswith("}"):
            raise InvalidInput(f'matcher {text!r} opens with "{{" and does not close')
        body = body[1:-1].strip()
    found: list[Matcher] = []
    position = 0
    while position < len(body):
        part = _ONE.match(body, position)
        if part is None:
            raise InvalidInput(
                f'matcher {text!r} cannot be read at {body[position:]!r}: write name="value", with =, !=, =~ or !~'
            )
        quoted = part["quoted"]
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else part["bare"]
        found.append(_matcher(part["name"], MatchOperator(part["op"]), value, text))
        position = part.end()
    return tuple(found)


def _matcher(name: str, operator: MatchOperator, value: str, text: str) -> Matcher:
    if operator in (MatchOperator.REGEX, MatchOperator.NOT_REGEX):
        try:
            re.compile(value)
        except re.error as error:
            raise InvalidInput(f"matcher {text!r}: {value!r} is not a regular expression: {error}") from error
    return Matcher(name, operator, value)


def matches_all(matchers: tuple[Matcher, ...], labels: Labels) -> bool:
    """Whether every matcher holds; no matcher at all matches everything."""
    return all(matcher.matches(labels) for matcher in matchers)
