"""What a PromQL query asks for: the names of its metrics, found without a parser of the language."""

import re

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
