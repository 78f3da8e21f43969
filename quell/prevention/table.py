"""A markdown table whose cells cannot break it."""

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The table; pipes, line breaks and angle brackets in cells are escaped, an empty one says so.

    >>> print(markdown_table(["rule", "value"], [["a|b", "one\\ntwo"]]))
    | rule | value |
    | --- | --- |
    | a\\|b | one two |
    """
    if not rows:
        return "_none_"
    lines = [f"| {' | '.join(header)} |", f"| {' | '.join('---' for _ in header)} |"]
    lines += [f"| {' | '.join(cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines)


def cell(value: object) -> str:
    """One value as the text of a cell, or of a sentence. What others wrote loads no picture from elsewhere.

    >>> cell("down![x](https://elsewhere.example/p.png)")
    'down!\\\\[x](https://elsewhere.example/p.png)'
    """
    text = " ".join(str(value).split())
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;").replace("![", "!\\[")
