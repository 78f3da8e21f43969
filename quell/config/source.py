"""One file of the user's as read: plain data, and the line on which every key stands."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from quell.config.problem import KeyPath, Problem, format_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """`data` is empty where the file is missing, empty or unreadable; `problems` says so."""

    file: str
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lines: Mapping[KeyPath, int] = field(default_factory=dict[KeyPath, int])
    problems: tuple[Problem, ...] = ()

    @property
    def is_read(self) -> bool:
        """False where the file could not be read at all: nothing can be said about the names in it."""
        return bool(self.data) or not self.problems

    def line(self, path: KeyPath) -> int:
        """The line of the key, or of the nearest key around it that is written down."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: KeyPath, text: str) -> Problem:
        return Problem(file=self.file, line=self.line(path), key=format_key(path), text=text)


def read_yaml(path: Path) -> Source:
    """Parse a YAML file, keeping line numbers; a key written twice is a problem, not a silent overwrite."""
    file = str(path)
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:
            return Source(file=file)
        lines: dict[KeyPath, int] = {}
        problems = tuple(_walk(node, (), lines, file, ()))
        data: object = loader.construct_document(node)  # pyright: ignore[reportUnknownMemberType] -- untyped in the stubs
    except (yaml.MarkedYAMLError, yaml.reader.ReaderError, OSError, ValueError, RecursionError) as error:
        return _unreadable(file, error)
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(data, dict):
        text = f"expected keys and values at the top, found {type(data).__name__}"
        return Source(file=file, problems=(Problem(file=file, line=1, key="", text=text),))
    return Source(file=file, data=cast(dict[str, Any], data), lines=lines, problems=problems)


def _walk(
    node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], file: str, above: tuple[int, ...]
) -> Iterator[Problem]:
    """Note the line of every key below `node`; yields keys written twice and anchors that contain themselves."""
    lines.setdefault(path, node.start_mark.line + 1)
    if id(node) in above:
        yield Problem(file=file, line=lines[path], key=format_key(path), text="the anchor contains itself")
        return
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, (*path, index), lines, file, (*above, id(node)))
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            here = (*path, name)
            if name in seen:
                text = f"is written twice (first on line {seen[name]}); the second would silently win"
                yield Problem(file=file, line=line, key=format_key(here), text=text)
            seen.setdefault(name, line)
            lines[here] = line
            yield from _walk(value, here, lines, file, (*above, id(node)))


def _unreadable(file: str, error: Exception) -> Source:
    line, text = 1, f"cannot be read: {error}"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        line, text = error.problem_mark.line + 1, f"is not YAML: {error.problem}"
    elif isinstance(error, FileNotFoundError):
        text = "does not exist; copy it from deployments/config.example"
    return Source(file=file, problems=(Problem(file=file, line=line, key="", text=text),))


_TABLE = re.compile(r"\s*\[\[?\s*(?P<name>[^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""\s*(?P<name>[\w\-."' ]+?)\s*=""")


def read_toml(path: Path) -> Source:
    """Parse a TOML file; line numbers of keys come from scanning its text, since tomllib keeps none."""
    file = str(path)
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+)", str(error))
        line = int(place.group(1)) if place else 1 if "end of document" not in str(error) else _last_line(path)
        why = re.sub(r" \(at .*\)$", "", str(error))
        return Source(file=file, problems=(Problem(file=file, line=line, key="", text=f"is not TOML: {why}"),))
    except (OSError, UnicodeDecodeError) as error:
        return _unreadable(file, error)
    return Source(file=file, data=data, lines=toml_lines(text))


def toml_lines(text: str) -> dict[KeyPath, int]:
    """The line of every key, found by scanning; the entries of an array of tables are counted from 0."""
    lines: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            table = _toml_path(header["name"])
            lines.setdefault(table, number)
            if line.lstrip().startswith("[["):
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
                lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_toml_path(key["name"])), number)
    return lines


def _toml_path(name: str) -> KeyPath:
    return tuple(part.strip().strip("\"'") for part in name.split("."))


def _last_line(path: Path) -> int:
    return max(len(path.read_text(encoding="utf-8").splitlines()), 1)
