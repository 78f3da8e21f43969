"""Setting one value in a configuration file: only its characters change, comments and order stay."""

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from quell.adapters.documents import parse_all
from quell.config.problem import did_you_mean
from quell.incidents.errors import InvalidInput
from quell.resolution.document import KeyPath
from quell.resolution.key_change import changed_keys

_YAML_KINDS = ("yaml", "yml", "json")
_TOML_QUOTED = r"\"(?:[^\"\\]|\\.)*\"" + "|'[^']*'"
_TOML_KEY = re.compile(
    rf"""^(?P<head>\s*(?P<name>[\w"'.-]+)\s*=\s*)(?P<value>{_TOML_QUOTED}|[^"'#\s].*?)(?P<tail>\s*(?:\#.*)?)$"""
)
_TOML_TABLE = re.compile(r"^\s*\[\s*(?P<name>[^\[\]]+?)\s*\]\s*(?:#.*)?$")
_COMMENT = re.compile(r"(?:^|\s)#")


def set_value(text: str, *, file: str, key: str, value: str) -> str:
    """The text with another value at one key that it has; the rest is as it was, character for character.

    `key` is a path with dots in YAML, JSON and TOML (`upstreams.payment.port`, places of lists by number), and the
    words before the value in any other text (`timeout server`, `max_connections`). A quoted value stays quoted.

    Raises InvalidInput with file, line, key and what to do: a key that is missing, has several places or holds more
    than one value, a value of another type, or one that is there already.
    """
    if not value.strip() or len(value.splitlines()) > 1:
        raise InvalidInput(f"{file}: {key}: the new value is {value!r}; it must be one line and not empty")
    kind = file.rpartition(".")[2].lower()
    if kind not in (*_YAML_KINDS, "toml"):
        return _set_in_lines(text, file=file, key=key, value=value.strip())
    change = _set_in_toml if kind == "toml" else _set_in_yaml
    edited = change(text, file=file, key=key, value=value.strip())
    _check_only(text, edited, file=file, key=key, value=value.strip())
    return edited


def _set_in_yaml(text: str, *, file: str, key: str, value: str) -> str:
    parse_all(text, name=file)  # says what is wrong with a file that cannot be read
    is_json = file.lower().endswith(".json")
    loader: Any = yaml.SafeLoader  # the C one counts bytes in its marks
    roots = list(cast(Iterator[Node | None], yaml.compose_all(text.replace("\t", " "), Loader=loader)))
    if len(roots) != 1:
        raise InvalidInput(f"{file}: it holds {len(roots)} documents: set the value by a commit of your own")
    known = {_dotted(path): node for path, node in _leaves(roots[0], ())}
    node = known.get(key)
    if node is None:
        raise _missing(file, key, list(known))
    start, end = node.start_mark.index, node.end_mark.index
    return text[:start] + _scalar(node, value, is_json=is_json, place=_place(file, text, start, key)) + text[end:]


def _scalar(node: ScalarNode, value: str, *, is_json: bool, place: str) -> str:
    """As the old one was written: in the same quotes, or plain."""
    if node.style in ("|", ">"):
        raise InvalidInput(f"{place}: it is a text of several lines: set it by a commit of your own")
    if node.style == '"':
        return json.dumps(value, ensure_ascii=False)
    if node.style == "'":
        doubled = value.replace("'", "''")
        return f"'{doubled}'"
    if is_json:
        try:
            json.loads(value)
        except json.JSONDecodeError as error:
            raise InvalidInput(f"{place}: {value} is no number, true, false or null, as the value there is") from error
    return value


def _set_in_toml(text: str, *, file: str, key: str, value: str) -> str:
    parse_all(text, name=file)
    known: dict[str, int] = {}
    table: str | None = ""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.lstrip().startswith("[["):
            table = None  # one of several of the same name: its keys are not to be told apart
        elif header := _TOML_TABLE.match(line.rstrip("\n")):
            table = f"{header['name']}."
        elif table is not None and (found := _TOML_KEY.match(line.rstrip("\n"))):
            known[f"{table}{found['name']}"] = number
    if key not in known:
        raise _missing(file, key, list(known))
    number = known[key]
    found = _TOML_KEY.match(lines[number].rstrip("\n"))
    assert found is not None
    old = found["value"]
    new = json.dumps(value, ensure_ascii=False) if old.startswith(('"', "'")) else value
    ending = "\n" if lines[number].endswith("\n") else ""
    lines[number] = f"{found['head']}{new}{found['tail']}{ending}"
    return "".join(lines)


def _set_in_lines(text: str, *, file: str, key: str, value: str) -> str:
    """A keyword at the beginning of a line, and its value after blanks, `=` or `:`."""
    _refuse_comment(file, key, value)
    words = r"\s+".join(re.escape(word) for word in key.split())
    pattern = re.compile(rf"^(?P<head>\s*{words}(?:\s*[=:]\s*|\s+))(?P<value>[^\s#].*?)(?P<tail>\s*(?:#.*)?)$")
    lines = text.splitlines(keepends=True)
    places = [number for number, line in enumerate(lines) if pattern.match(line.rstrip("\n"))]
    if not places:
        raise _missing(file, key, [name for line in lines for name in _beginnings(line)])
    if len(places) > 1:
        where = ", ".join(str(number + 1) for number in places)
        raise InvalidInput(f"{file}: {key}: it stands on lines {where}: set the value by a commit of your own")
    number = places[0]
    found = pattern.match(lines[number].rstrip("\n"))
    assert found is not None
    if found["value"] == value:
        raise InvalidInput(f"{file}:{number + 1}: {key}: it is {value} already: there is nothing to set")
    ending = "\n" if lines[number].endswith("\n") else ""
    lines[number] = f"{found['head']}{value}{found['tail']}{ending}"
    return "".join(lines)


def _beginnings(line: str) -> Iterator[str]:
    """What a value could follow: `timeout`, `timeout server`."""
    words = [] if line.lstrip().startswith("#") else line.split()
    yield from (" ".join(words[:count]) for count in range(1, len(words)))


def _refuse_comment(file: str, key: str, value: str) -> None:
    if _COMMENT.search(value):
        raise InvalidInput(f"{file}: {key}: in {value!r} everything after # would be a comment: leave that out")


def _check_only(before: str, after: str, *, file: str, key: str, value: str) -> None:
    """That exactly this key has another value, the one that is wanted, of the same type."""
    old, new = parse_all(before, name=file), parse_all(after, name=file)
    changes = [one for good, bad in zip(old, new, strict=True) for one in changed_keys(good, bad)]
    if not changes:
        raise InvalidInput(f"{file}: {key}: the value is there already: there is nothing to set")
    if len(changes) > 1 or changes[0].dotted != key:
        others = ", ".join(change.dotted for change in changes if change.dotted != key)
        raise InvalidInput(f"{file}: {key}: setting it would also change {others}: set it by a commit of your own")
    was, will = changes[0].good, changes[0].bad
    if will != value:  # a text is what was typed, unless something in it ended the value
        _refuse_comment(file, key, value)
    if was is not None and not _is_same_kind(was, will):
        raise InvalidInput(f"{file}: {key}: the value is {was!r}, a {_kind(was)}; {will!r} is a {_kind(will)}")


def _is_same_kind(one: object, other: object) -> bool:
    numbers = (int, float)
    if isinstance(one, bool) or isinstance(other, bool):
        return type(one) is type(other)
    return type(one) is type(other) or (isinstance(one, numbers) and isinstance(other, numbers))


def _kind(value: object) -> str:
    names: dict[type[object], str] = {bool: "switch", int: "number", float: "number", str: "text", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def _leaves(node: Node | None, path: KeyPath) -> Iterator[tuple[KeyPath, ScalarNode]]:
    if isinstance(node, MappingNode):
        for name, value in node.value:
            if isinstance(name, ScalarNode):
                yield from _leaves(value, (*path, name.value))
    elif isinstance(node, SequenceNode):
        for number, value in enumerate(node.value):
            yield from _leaves(value, (*path, number))
    elif isinstance(node, ScalarNode):
        yield path, node


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)


def _place(file: str, text: str, index: int, key: str) -> str:
    return f"{file}:{text.count(chr(10), 0, index) + 1}: {key}"


def _missing(file: str, key: str, known: list[str]) -> InvalidInput:
    return InvalidInput(f"{file}: {key}: no single value stands there{did_you_mean(key, known)}")
