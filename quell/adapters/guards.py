"""Guards on disk, and what they say about files and texts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from quell.adapters.documents import FolderFiles, HeldFiles, TextDocument, parse_all, read_document
from quell.incidents.errors import InvalidInput
from quell.resolution.gate import check_document
from quell.resolution.guard import PROPOSED, Finding, Guard
from quell.resolution.guard_file import guard_content, parse_guard


def parse_yaml(text: str, *, name: str) -> Any:
    """The parsed text; the first of several documents. Raises InvalidInput with `name:line`."""
    return parse_all(text, name=name)[0]


def read_guard(text: str, *, source: str) -> Guard:
    """A guard from its file's text. Raises InvalidInput with file, line and key."""
    document = TextDocument(name=source, text=text)
    contents = document.contents()
    if len(contents) > 1:
        raise InvalidInput(f"{source}:1: guard has {len(contents)} documents; one guard per file")
    return parse_guard(contents[0], source=source, line_of=document.line_of)


def write_guard(guard: Guard) -> str:
    """The guard as its file's text; `read_guard` reads it back."""
    head = f"# Taught by {guard.incident}. Checked by `quell guard FILE...` before a change goes out.\n"
    if guard.state == PROPOSED:
        head += f"# Proposed by Quell: edit it, then accept it with `quell guard accept {guard.name}`.\n"
    return head + yaml.safe_dump(guard_content(guard), sort_keys=False, allow_unicode=True, width=110)


def load_guards(folder: Path) -> tuple[Guard, ...]:
    """All guards of a folder, by name of file; empty when there is no such folder.

    Raises InvalidInput, also for two guards of one name: nobody could say which one is meant.
    """
    paths = sorted(path for path in folder.glob("*.y*ml") if path.suffix in (".yaml", ".yml"))
    guards: dict[str, Guard] = {}
    for path in paths:
        source = f"{folder.name}/{path.name}"
        guard = read_guard(read_document(path, source).text, source=source)
        if guard.name in guards:
            raise InvalidInput(f"{source}:1: guard {guard.name} exists already in {guards[guard.name].source}")
        guards[guard.name] = guard
    return tuple(guards.values())


def check_text(
    guards: Sequence[Guard],
    file: str,
    text: str,
    *,
    others: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> tuple[Finding, ...]:
    """What the guards say against a file's text, with lines, among the texts of `others`.

    Raises InvalidInput when a guard covers it and it cannot be parsed.
    """
    held = HeldFiles(texts={**(others or {}), file: text})
    return check_document(guards, held.read(file), held, now or datetime.now(UTC))


def check_file(guards: Sequence[Guard], root: Path, path: Path) -> tuple[Finding, ...]:
    """`check_text` for a file on disk; guards' globs are relative to `root`. Raises InvalidInput."""
    files = FolderFiles(root=root.resolve())
    document = files.read(path.resolve().relative_to(files.root).as_posix())
    return check_document(guards, document, files, datetime.now(UTC))
