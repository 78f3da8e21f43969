"""A problem in the user's files: where it is, what is wrong, and what was probably meant."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from quell.incidents.errors import InvalidInput

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One line for a person: `file:line: key: what is wrong; did you mean "nearest"?`."""

    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        return f"{where}: {self.key}: {self.text}" if self.key else f"{where}: {self.text}"


class ConfigError(InvalidInput):
    """The configuration has problems; each line names file, line and key. Correct them, then run `quell check`."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems), key=lambda p: (p.file, p.line, p.key, p.text)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def format_key(path: KeyPath) -> str:
    """A path as people write it.

    >>> format_key(("services", "checkout", "depends_on", 0))
    'services.checkout.depends_on[0]'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message: the nearest known name, or nothing when none is near.

    >>> did_you_mean("paymnt", ["payment", "catalog"])
    '; did you mean "payment"?'
    """
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


def not_defined(kind: str, name: str, known: Iterable[str]) -> str:
    """What is said of a name that nothing carries: the nearest one, or the whole list where it is short."""
    names = sorted(known)
    hint = did_you_mean(name, names)
    if not hint:
        hint = f" (defined: {', '.join(names)})" if 0 < len(names) <= 8 else "" if names else " (none is defined)"
    return f'{kind} "{name}" is not defined{hint}'
