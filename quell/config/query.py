"""What a PromQL query asks for: the names of its metrics, how far it looks back; found without a parser."""

import re
from datetime import timedelta

from quell.config.value import parse_duration
from quell.incidents.errors import InvalidInput

_STRING = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`""")
_COMMENT = re.compile(r"#[^\n]*")
_NO_METRICS = (
    re.compile(r"\{[^}]*\}"),
    re.compile(r"\[[^\]]*\]"),
    re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", re.IGNORECASE),
    re.compile(r"\boffset\s+-?\w+", re.IGNORECASE),
)
_NAME = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?![\w:])(?!\s*\()")
_KEYWORDS = frozenset(
    {"and", "or", "unless", "bool", "inf", "nan", "by", "without", "on", "ignoring", "group_left", "group_right"}
    | {"offset", "start", "end", "atan2"}
)


def metrics_of(query: str) -> tuple[str, ...]:
    """The metrics that a query names, in order, once each.

    >>> metrics_of('sum by (le) (rate(requests_total{code=~"5.."}[10s])) / on (le) sum(requests_total)')
    ('requests_total',)
    """
    text = _COMMENT.sub(" ", _STRING.sub('""', query))
    for pattern in _NO_METRICS:
        text = pattern.sub(" ", text)
    return tuple(dict.fromkeys(name for name in _NAME.findall(text) if name.lower() not in _KEYWORDS))


_RANGE = re.compile(r"\[\s*(\w+)\s*(:?)[^\]]*\]")
_RULE_OF = re.compile(r":\w*?rate(\d+[smhdw])(?!\w)")  # a recording rule by Prometheus's naming: job:errors:rate5m


def window_of(query: str) -> timedelta:
    """How far the query looks back: so long it still shows what was before. Nothing where it looks at the moment only.

    The longest range counts, subqueries on top of it; a recording rule tells its range by its name, if at all.

    >>> str(window_of("sum(rate(errors_total[5m])) / sum(rate(requests_total[1m]))")), str(window_of("up"))
    ('0:05:00', '0:00:00')
    >>> str(window_of("max_over_time(service:errors:ratio_rate5m[10m:30s])"))
    '0:15:00'
    """
    text = _COMMENT.sub(" ", _STRING.sub('""', query))
    found = _RANGE.findall(text)
    plain = [_length(length) for length, colon in found if not colon]
    rules = [_length(length) for length in _RULE_OF.findall(text)]
    nested = sum((_length(length) for length, colon in found if colon), timedelta(0))
    return max([*plain, *rules], default=timedelta(0)) + nested


def _length(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except InvalidInput:
        return timedelta(0)  # the server says so
