"""Guards and the files they check, as YAML: read, written, and every finding given its line."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from quell.incidents.errors import InvalidInput
from quell.resolution.guard import Finding, Guard, KeyPath, check_content, guard_content, parse_guard


def parse_yaml(text: str, *, name: str) -> Any:
    """The parsed text. Raises InvalidInput with `name:line`."""
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidInput(f"{name}:{line}: this is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"{name}:1: this is not YAML: {error}") from error


def read_guard(text: str, *, source: str) -> Guard:
    """A guard from its file's text. Raises InvalidInput."""
    return parse_guard(parse_yaml(text, name=source), source=source)


def write_guard(guard: Guard) -> str:
    """The guard as its file's text; `read_guard` reads it back."""
    head = f"# Taught by {guard.incident}. Checked by `quell guard FILE...` before a change goes out.\n"
    return head + yaml.safe_dump(guard_content(guard), sort_keys=False, allow_unicode=True, width=110)


def load_guards(folder: Path) -> tuple[Guard, ...]:
    """All guards of a folder, by name of file; empty when there is no such folder. Raises InvalidInput."""
    paths = sorted(path for path in folder.glob("*.y*ml") if path.suffix in (".yaml", ".yml"))
    return tuple(read_guard(_read(path), source=f"{folder.name}/{path.name}") for path in paths)


def check_text(guards: Sequence[Guard], file: str, text: str) -> tuple[Finding, ...]:
    """What the guards that cover `file` say against its text, with lines. Raises InvalidInput when it is not YAML.

    A file that no guard covers is not parsed: it may be of any kind.
    """
    if not any(guard.covers(file) for guard in guards):
        return ()
    content = parse_yaml(text, name=file)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return tuple(replace(f, line=line_of(root, f.path)) for f in check_content(guards, file, content))


def check_file(guards: Sequence[Guard], root: Path, path: Path) -> tuple[Finding, ...]:
    """`check_text` for a file on disk; guards' globs are relative to `root`. Raises InvalidInput."""
    return check_text(guards, path.resolve().relative_to(root.resolve()).as_posix(), _read(path))


def line_of(root: Node | None, path: KeyPath) -> int:
    """The 1-based line of a key; of the nearest key above it where the path leaves the text (merged or missing)."""
    node, line = root, 1
    for part in path:
        if isinstance(node, MappingNode):
            found = next(((k, v) for k, v in node.value if isinstance(k, ScalarNode) and k.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}:1: it cannot be read: {error}") from error
