"""Care for playbooks: which of them nobody has exercised or cannot work any more, each with a proposed diff."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from quell.incidents.outcome import Outcomes

QUARTER = timedelta(weeks=13)
# What a playbook may still do once it is found wanting; below observe there is nothing.
_LOWER = {"automatic": "approve", "approve": "suggest", "suggest": "observe"}
_BLOCK = re.compile(r"^autonomy:[ \t]*(?:#.*)?$", re.MULTILINE)
_INLINE = re.compile(r"^autonomy:[ \t]*\{.*\}", re.MULTILINE)
_LEVEL = re.compile(r"(\blevel:[ \t]*)([a-z]+)")


class AilmentKind(StrEnum):
    SIGNAL = "signal"  # what recovery is judged by is gone
    TARGET = "target"  # nothing is left that it could act on
    COMMAND = "command"  # the lever, or what it calls, is gone
    FILE = "file"  # the file says something that the configuration does not have
    UNUSED = "unused"  # neither used nor drilled for a quarter


@dataclass(frozen=True, slots=True, kw_only=True)
class Ailment:
    """`diff` is what is proposed, as a unified diff of the playbook's file; empty where only a person can know."""

    kind: AilmentKind
    text: str
    diff: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """One playbook: who owns it, when it was exercised, and what is wrong with it.

    `known_since` is when Quell first saw it; `gaps` are targets that it answers for and cannot act on.
    """

    playbook: str
    owner: str
    known_since: datetime
    last_used_at: datetime | None = None
    last_drilled_at: datetime | None = None
    outcomes: Outcomes = field(default_factory=Outcomes)
    ailments: tuple[Ailment, ...] = ()
    gaps: tuple[str, ...] = ()

    @property
    def last_exercised_at(self) -> datetime | None:
        return max((at for at in (self.last_used_at, self.last_drilled_at) if at), default=None)


def find_unused(care: Care, *, now: datetime, level: str, file: str, text: str, acts: bool = True) -> Ailment | None:
    """It was neither used nor drilled for a quarter; one that is younger than that has time left.

    What nobody has tried for so long should not act by itself: the diff takes one rung of its autonomy away, until a
    drill or a use shows that it works. One that only pages people (`acts` is false) has nothing to take away.
    """
    last = care.last_exercised_at
    since = last or care.known_since
    if now - since <= QUARTER:
        return None
    told = f"last exercised {since:%Y-%m-%d}" if last else f"never exercised, and known since {since:%Y-%m-%d}"
    drill = f"{told}: drill it (`quell playbook drilled {care.playbook}` records that)"
    if not acts or level not in _LOWER:
        return Ailment(kind=AilmentKind.UNUSED, text=drill)
    diff = propose_level(file, text, _LOWER[level], f"not exercised since {since:%Y-%m-%d}")
    return Ailment(kind=AilmentKind.UNUSED, text=f"{drill}, or let it do less", diff=diff)


def propose_level(file: str, text: str, level: str, why: str) -> str:
    """The diff that sets `autonomy.level`; empty where it stands at that already."""
    after = _with_level(text, level, why)
    return unified_diff(file, text, after)


def propose_name(file: str, text: str, line: int, wrong: str, right: str) -> str:
    """The diff that writes the nearest known name in place of one that nothing carries; lines count from 1."""
    lines = text.splitlines(keepends=True)
    if not 0 < line <= len(lines) or wrong not in lines[line - 1]:
        return ""
    lines[line - 1] = lines[line - 1].replace(wrong, right)
    return unified_diff(file, text, "".join(lines))


def unified_diff(file: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{file}", f"b/{file}", n=2
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _with_level(text: str, level: str, why: str) -> str:
    """YAML is edited as text, so that the comments of the people who wrote it stay."""
    comment = f" # {why}"
    inline = _INLINE.search(text)
    if inline:
        return _in_braces(text, inline, level)
    block = _BLOCK.search(text)
    if block is None:
        return f"{text.rstrip()}\nautonomy:\n  level: {level}{comment}\n"
    start = block.end() + 1
    body = re.match(r"(?:[ \t]+.*\n?|[ \t]*#.*\n?|[ \t]*\n)*", text[start:])
    end = start + (body.end() if body else 0)
    found = re.search(r"^(?P<indent>[ \t]+)level:[ \t]*(?P<level>[a-z]+)(?P<rest>.*)$", text[start:end], re.MULTILINE)
    if found is None:
        return f"{text[:start]}  level: {level}{comment}\n{text[start:]}"
    if found["level"] == level:
        return text
    return f"{text[: start + found.start()]}{found['indent']}level: {level}{comment}{text[start + found.end() :]}"


def _in_braces(text: str, inline: re.Match[str], level: str) -> str:
    whole = inline.group()
    if _LEVEL.search(whole):
        changed = _LEVEL.sub(rf"\g<1>{level}", whole, count=1)
    else:
        changed = whole.replace("{", f"{{level: {level}, ", 1)
    return text[: inline.start()] + changed + text[inline.end() :]


def is_ill(cares: Sequence[Care]) -> bool:
    return any(care.ailments for care in cares)
