"""A guard: a rule that a configuration file must keep to, because an incident taught it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any

from quell.resolution.assertion import Assertion
from quell.resolution.document import KeyPath
from quell.resolution.reference import Reference
from quell.resolution.schema import make_validator, problems_in

PROPOSED = "proposed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRule:
    """Every certificate in the file is valid now and for `days_left` more; the first one is for all of `names`."""

    days_left: int = 14
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the guard was proved on: `COMMIT:FILE` that it fails on, and the commit whose files it passes."""

    bad: str = ""
    good: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """`files` is a glob on the path in the repository (`*` also crosses folders); at least one kind of check.

    A proposed guard is in force like any other; it waits for a person to edit and accept it.
    """

    name: str
    incident: str
    files: str
    message: str
    schema: Mapping[str, Any] = field(default_factory=dict[str, Any])
    text: tuple[Assertion, ...] = ()
    references: tuple[Reference, ...] = ()
    certificate: CertificateRule | None = None
    state: str = "accepted"
    accepted_by: str = ""
    proof: Proof = Proof()
    source: str = ""  # the guard's own file
    validator: Any = field(init=False, repr=False, compare=False)
    _is_covered: Callable[[str], object] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "validator", make_validator(self.schema))
        object.__setattr__(self, "_is_covered", re.compile(translate(self.files)).match)

    def covers(self, file: str) -> bool:
        return self._is_covered(file) is not None

    def leans_on(self, file: str) -> bool:
        """Whether a change of this file could make files that the guard covers wrong."""
        return any(re.match(translate(reference.files), file) for reference in self.references)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One place where a file breaks a guard; `line` is 1-based. `path` is empty for text and for whole files."""

    file: str
    path: KeyPath
    problem: str
    guard: Guard
    line: int = 1

    def __str__(self) -> str:
        where = f"{'.'.join(str(part) for part in self.path)}: " if self.path else ""
        taught = f"taught by {self.guard.incident}, {self.guard.source or self.guard.name}"
        waits = ", proposed" if self.guard.state == PROPOSED else ""
        return f"{self.file}:{self.line}: {where}{self.problem}; {self.guard.message} ({taught}{waits})"


def check_content(guards: Sequence[Guard], file: str, content: object) -> tuple[Finding, ...]:
    """What the schemas of the guards that cover `file` say against its parsed content; empty when it keeps to all."""
    findings = [
        Finding(file=file, path=path, problem=problem, guard=guard)
        for guard in guards
        if guard.schema and guard.covers(file)
        for path, problem in problems_in(guard.validator, content)
    ]
    return tuple(sorted(findings, key=lambda f: ([str(p) for p in f.path], f.guard.name)))
