"""The story of a fix in markdown: what is asked of the person who owns the service."""

from collections.abc import Sequence
from datetime import datetime

from quell.incidents.fix import Fix

_MOST_LINES = 60  # of the diff: the form must stay in reach


def tell_fix_question(
    fix: Fix, *, owners: Sequence[str], roles: Sequence[str], deadline: datetime, incident: str = "", failed: int = 0
) -> str:
    """What the owner must know, above the form: what changes and why, the guard's proof, the diff.

    `incident` is its markdown link, `failed` the answers that were not accepted so far.
    """
    who = " or ".join(owners) or f"anybody who is {' or '.join(roles)}"
    lines = [
        f"**{fix.id}: {fix.deed} in `{fix.file}`**",
        f"- **For** {incident or fix.incident}, asked by {fix.requested_by}{f': {fix.reason}' if fix.reason else ''}",
        f"- **Proof** {fix.guard_proof}",
        "- **Then** a canary beside its siblings; promoted or taken back by itself",
        f"- **Until** {deadline:%Y-%m-%d %H:%M} UTC, by {who}; otherwise it is taken back",
    ]
    if failed:
        lines.append(f"- **Not accepted so far: {failed}** (this run's log says why)")
    said = "\n".join(lines[1:])
    return f"{lines[0]}\n\n{said}\n\n````diff\n{shorten(fix.diff)}\n````"


def shorten(diff: str) -> str:
    """The beginning of a long diff, with how much is missing.

    >>> shorten("+ a\\n" * 3)
    '+ a\\n+ a\\n+ a'
    """
    lines = diff.rstrip().splitlines()
    rest = len(lines) - _MOST_LINES
    return "\n".join(lines if rest <= 0 else [*lines[:_MOST_LINES], f"... {rest} more lines: see the incident's page"])
