"""A guard: a rule that a configuration file must keep to, because an incident taught it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from quell.incidents.errors import InvalidInput

KeyPath = tuple[str | int, ...]
_FIELDS = ("name", "incident", "files", "schema", "message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """`files` is a glob on the path in the repository, `schema` a JSON Schema for the parsed file."""

    name: str
    incident: str
    files: str
    schema: Mapping[str, Any]
    message: str
    source: str = ""  # the guard's own file

    def covers(self, file: str) -> bool:
        return fnmatchcase(file, self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One place where a file breaks a guard; `line` is 1-based, filled in where the text is known."""

    file: str
    path: KeyPath
    problem: str
    guard: Guard
    line: int = 1

    def __str__(self) -> str:
        where = ".".join(str(part) for part in self.path) or "the file"
        taught = f"taught by {self.guard.incident}, {self.guard.source or self.guard.name}"
        return f"{self.file}:{self.line}: {where}: {self.problem}; {self.guard.message} ({taught})"


def parse_guard(content: object, *, source: str) -> Guard:
    """A guard from the parsed content of its file.

    Raises InvalidInput that names file and key: a guard that cannot be read must stop the pipeline, not pass it.
    """
    if not isinstance(content, dict):
        raise InvalidInput(f"guard {source} is not a mapping; it needs {', '.join(_FIELDS)}")
    values = {str(key): value for key, value in cast(dict[object, Any], content).items()}
    missing = [name for name in _FIELDS if name not in values]
    unknown = sorted(set(values) - set(_FIELDS))
    if missing or unknown:
        faults = [f"lacks {name}" for name in missing] + [f"has the unknown key {name}" for name in unknown]
        raise InvalidInput(f"guard {source} {', '.join(faults)}; it needs {', '.join(_FIELDS)}")
    if not isinstance(values["schema"], dict):
        raise InvalidInput(f"guard {source}: schema is not a mapping")
    schema = cast(dict[str, Any], values["schema"])
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InvalidInput(f"guard {source}: schema is not JSON Schema: {error.message}") from error
    texts = {name: str(values[name]) for name in ("name", "incident", "files", "message")}
    return Guard(schema=schema, source=source, **texts)


def guard_content(guard: Guard) -> dict[str, Any]:
    """What the guard's file holds; `parse_guard` reads it back."""
    return {name: getattr(guard, name) for name in _FIELDS}


def check_content(guards: Sequence[Guard], file: str, content: object) -> tuple[Finding, ...]:
    """What the guards that cover `file` say against its parsed content; empty when it keeps to all of them."""
    findings: list[Finding] = []
    for guard in guards:
        if not guard.covers(file):
            continue
        validator: Any = Draft202012Validator(guard.schema)  # its stubs know neither instance nor errors
        for error in validator.iter_errors(content):
            path: KeyPath = tuple(error.absolute_path)
            findings.append(Finding(file=file, path=path, problem=error.message, guard=guard))
    return tuple(sorted(findings, key=lambda f: ([str(p) for p in f.path], f.guard.name)))
