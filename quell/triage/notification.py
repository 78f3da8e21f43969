"""The message: what is wrong for users, since when, how bad, what is suspected, what was done, and where to look.

It is written twice, as plain text and as markdown, and its title fits the lock screen of a phone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from quell.incidents.incident import Incident, Severity
from quell.incidents.notification import NotificationKind
from quell.incidents.suspect import Suspect

LONGEST_TITLE = 80
_LONGEST_LINE = 600
_KIND = NotificationKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    title: str
    text: str
    markdown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """An incident as somebody has to be told of it. Empty text means: not known.

    `users` says how users are seen to suffer, `reach` through which service they could; `did` and `proposes` are
    sentences about mitigations and fixes; `runbook` is an address or the name of one.
    """

    incident: Incident
    users: str = ""
    reach: str = ""
    did: tuple[str, ...] = ()
    proposes: tuple[str, ...] = ()
    runbook: str = ""
    owner: str = ""
    team: str = ""
    alerts: int = 0
    reports: int = 0
    links: tuple[tuple[str, str], ...] = ()

    @property
    def suspect(self) -> Suspect | None:
        return self.incident.suspects[0] if self.incident.suspects else None


def missing_from(situation: Situation) -> str:
    """Why nobody could act on it; empty where there is something to act on."""
    if situation.users or situation.suspect or situation.did or situation.proposes or situation.runbook:
        return ""
    return "no users are seen to suffer, and no suspect, no proposal and no runbook is known"


def write_message(kind: NotificationKind, situation: Situation, *, cause: str, now: datetime) -> Message:
    """The message about one incident."""
    incident = situation.incident
    lines = [
        ("What", incident.title),
        ("Now", cause if kind is not _KIND.OPENED else ""),
        ("Users", _users(situation)),
        ("Since", f"{_clock(incident.onset_at, now)} ({_span(incident, now)})"),
        ("How bad", f"{incident.severity}, {_count(situation.alerts, 'alert')}, {_count(situation.reports, 'report')}"),
        ("Suspect", _suspect(situation)),
        ("Quell", " ".join((*situation.did, *situation.proposes)) or "has done nothing and proposes nothing"),
        ("Runbook", situation.runbook or "none is written"),
        ("Owner", _owner(situation)),
    ]
    written = [(name, _one_line(value)) for name, value in lines if value]
    return Message(
        title=title_of(kind, incident),
        text="\n".join(
            [*(f"{name}: {value}" for name, value in written), *(f"{n}: {url}" for n, url in situation.links)]
        ),
        markdown="\n".join(
            [
                *(f"- **{name}:** {plain(value)}" for name, value in written),
                *(f"- [{plain(name)}]({url})" for name, url in situation.links),
            ]
        ),
    )


def write_short(kind: NotificationKind, subject: str, *, cause: str, links: Sequence[tuple[str, str]]) -> Message:
    """The message about something that belongs to no incident: a proposed threshold, a manual mitigation."""
    title = _cut(f"{_WORDS[kind]} {subject}: {cause}", LONGEST_TITLE)
    text = "\n".join([_one_line(cause), *(f"{name}: {url}" for name, url in links)])
    markdown = "\n\n".join([plain(_one_line(cause)), *(f"[{plain(name)}]({url})" for name, url in links)])
    return Message(title=title, text=text, markdown=markdown)


def write_digest(lines: Sequence[str], *, why: str, link: str) -> Message:
    """Several notifications as one: a line each, in the order in which they came."""
    title = _cut(f"{_count(len(lines), 'notification')}: {why}", LONGEST_TITLE)
    shown = [_one_line(line) for line in lines[:_LONGEST_DIGEST]]
    rest = [f"and {len(lines) - len(shown)} more"] if len(lines) > len(shown) else []
    text = "\n".join([*(f"- {line}" for line in (*shown, *rest)), f"All incidents: {link}"])
    markdown = "\n".join([*(f"- {plain(line)}" for line in (*shown, *rest)), "", f"[All incidents]({link})"])
    return Message(title=title, text=text, markdown=markdown)


_LONGEST_DIGEST = 40
_WORDS = {
    _KIND.OPENED: "",
    _KIND.REOPENED: "Back:",
    _KIND.SEVERITY: "Now",
    _KIND.APPROVAL: "Approve",
    _KIND.ESCALATION: "Nobody answers: approve",
    _KIND.PAGE: "Look at",
    _KIND.APPLIED: "Applied:",
    _KIND.EFFECTIVE: "It helped:",
    _KIND.INEFFECTIVE: "It did not help:",
    _KIND.INCONCLUSIVE: "Not known to have helped:",
    _KIND.UNDONE: "Undone:",
    _KIND.REFUSED: "Refused:",
    _KIND.EXPIRED: "Nobody answered:",
    _KIND.UNDO_FAILED: "UNDO FAILED:",
    _KIND.SWEEPS_STOPPED: "Quell is blind:",
    _KIND.RESOLVED: "Resolved:",
    _KIND.DIGEST: "Digest",
    _KIND.REPORTER: "Your report",
    _KIND.REVIEW: "Post-mortem",
}


def title_of(kind: NotificationKind, incident: Incident) -> str:
    """Short enough for a phone, with what matters first.

    The id stands at the end and is never cut off.
    """
    mark = {Severity.CRITICAL: "CRITICAL", Severity.MAJOR: "MAJOR", Severity.MINOR: "minor"}[incident.severity]
    is_over = kind is _KIND.RESOLVED
    start = " ".join(part for part in ("" if is_over else mark, _WORDS[kind]) if part)
    tail = f" ({incident.id})"
    return _cut(f"{start} {incident.title}".strip(), LONGEST_TITLE - len(tail)) + tail


def plain(text: str) -> str:
    """Text of users and alerts as markdown that says it literally: no link, no mention, no markup comes of it.

    >>> plain("see [this](http://x) @channel <b>")
    'see \\\\[this\\\\](http://x) @\\u200bchannel &lt;b&gt;'
    """
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"([\\`*_\[\]|])", r"\\\1", escaped)
    return re.sub(r"@(?=channel|here|everyone|all\b)", "@\u200b", escaped)


def _users(situation: Situation) -> str:
    if situation.users:
        return situation.users
    if situation.reach:
        return f"none are seen to suffer so far; they would through {situation.reach}"
    return "none are seen to suffer"


def _suspect(situation: Situation) -> str:
    best = situation.suspect
    return f"{best.node}: {best.reason}" if best else "nothing stands out"


def _owner(situation: Situation) -> str:
    if not situation.team:
        return situation.owner or "nobody is named"
    return f"{situation.owner}, team {situation.team}" if situation.owner else f"team {situation.team}"


def _span(incident: Incident, now: datetime) -> str:
    seconds = max(((incident.resolved_at or now) - incident.onset_at).total_seconds(), 0)
    words = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else ""
    words = words or f"{seconds / 3600:.1f} h"
    return f"lasted {words}" if incident.resolved_at else f"for {words}"


def _clock(at: datetime, now: datetime) -> str:
    return f"{at:%H:%M:%S} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _count(number: int, noun: str) -> str:
    """
    >>> _count(1, "alert"), _count(0, "report")
    ('1 alert', '0 reports')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _one_line(text: str) -> str:
    return _cut(" ".join(text.split()), _LONGEST_LINE)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"
