"""A service's deployment document and deployment log: what the record knows of deploying it, for its own repository."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.incidents.change import Change
from quell.incidents.drill import Drill, Mark
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import Incident
from quell.incidents.service import Service

BEGIN = "<!-- quell: from here to the end mark this is kept by Quell; write above or below it -->"
END = "<!-- quell: end -->"
QUARTER = timedelta(days=91)  # how long a drill's proof is good for, as for playbooks


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardFact:
    """One guard of the service's repository."""

    name: str
    incident: str
    asks: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployments:
    """Everything that is on record about deploying one service."""

    service: Service
    changes: Sequence[Change] = ()
    incidents: Sequence[Incident] = ()
    fixes: Sequence[Fix] = ()
    guards: Sequence[GuardFact] = ()
    watched: Sequence[tuple[str, str]] = ()  # (signal, what it says) that show whether a deployment went well
    proved_rollback: Fix | None = None  # the last undo that was carried out and held
    drills: Sequence[Drill] = ()  # newest first; those of other services do no harm
    now: datetime


def render_document(facts: Deployments) -> str:
    """The document's kept part: checks before, deploying, checks after, rolling back, known failure modes."""
    service = facts.service
    parts = [
        BEGIN,
        f"## Before {service.name} is deployed\n\n{_before(facts)}",
        f"## Deploying\n\n{_deploying(facts)}",
        f"## After it is deployed\n\n{_after(facts)}",
        f"## Rolling back\n\n{_rolling_back(facts)}",
        f"## Known failure modes\n\n{_failure_modes(facts)}",
        END,
    ]
    return "\n\n".join(parts) + "\n"


def render_log(facts: Deployments) -> str:
    """The log's kept part: every change and every fix, newest first, with what came of it."""
    rows = [(change.at, _change_row(facts, change)) for change in facts.changes]
    rows += [(fix.updated_at, _fix_row(fix)) for fix in facts.fixes]
    rows.sort(key=lambda row: row[0], reverse=True)
    header = ("when (UTC)", "what", "where", "who", "commit", "what came of it")
    return "\n\n".join((BEGIN, _table(header, [row for _, row in rows]), END)) + "\n"


def splice(existing: str | None, kept: str, title: str) -> str:
    """The document with its kept part brought up to date; what people wrote around it stays as it is.

    >>> splice(f"# Mine\\n\\nnote\\n\\n{BEGIN}\\nold\\n{END}\\nmore\\n", f"{BEGIN}\\nnew\\n{END}\\n", "x") == (
    ...     f"# Mine\\n\\nnote\\n\\n{BEGIN}\\nnew\\n{END}\\nmore\\n")
    True
    """
    if not existing:
        return f"# {title}\n\n{kept}"
    start, end = existing.find(BEGIN), existing.find(END)
    if start < 0 or end < start:
        return f"{existing.rstrip()}\n\n{kept}"
    return existing[:start] + kept.rstrip() + existing[end + len(END) :]


def _before(facts: Deployments) -> str:
    repository = facts.service.repository
    steps = [f"- `quell guard .` in the repository: {len(facts.guards)} guards, each taught by an incident"]
    if repository and repository.validate:
        steps.append(f"- `{_command(repository.validate)}` accepts each changed file")
    rows = [(guard.name, guard.asks, guard.incident, guard.state) for guard in facts.guards]
    return "\n".join(steps) + "\n\n" + _table(("guard", "what it asks", "taught by", "state"), rows)


def _deploying(facts: Deployments) -> str:
    repository = facts.service.repository
    if repository is None:
        return "_no repository is configured for this service_"
    files = [(name, file) for name, file in repository.files.items()]
    reload = f"`{_command(repository.reload)}`, one instance after the other" if repository.reload else "_by hand_"
    return f"Merge to `{repository.branch}`, then {reload}.\n\n" + _table(("instance", "file"), files)


def _after(facts: Deployments) -> str:
    return _table(("signal", "what it says"), facts.watched)


def _rolling_back(facts: Deployments) -> str:
    repository = facts.service.repository
    if repository is None:
        return "_no repository is configured for this service_"
    commands = ["git revert --no-edit COMMIT"]
    if repository.reload:
        commands.append(_command(repository.reload))
    proof = facts.proved_rollback
    if proof is None:
        proved = "It was never carried out on this service: nothing proves it. Try it in a drill."
    else:
        where = proof.instance or proof.service
        proved = (
            f"Last carried out on {_day(proof.updated_at)} by {proof.id} on {where}, for {proof.incident}: "
            f"commit {proof.bad_commit[:12]} was taken back by {(proof.fix_commit or '')[:12]}, and it held."
        )
    return "```sh\n" + "\n".join(commands) + f"\n```\n\n{proved}\n\n{_proven_by_drill(facts)}"


def _proven_by_drill(facts: Deployments) -> str:
    """The last drill in which these commands mended the service, and what the ones since then came to."""
    tried = [(drill, fix) for drill in facts.drills if (fix := _fix_of(facts, drill)) is not None]
    proven = next(((drill, fix) for drill, fix in tried if _is_proof(drill, fix)), None)
    since = [pair for pair in tried if proven is None or pair[0].began_at > proven[0].began_at]
    lines = [_proof_line(facts, *proven) if proven else "It was never proven by a drill: hold one, `quell drill run`."]
    if since:
        drill, fix = since[0]
        lines.append(
            f"**The last drill did not prove it**: {drill.sentence}, {_day(drill.began_at)}; {fix.id} is {fix.state}."
        )
    return "\n\n".join(lines)


def _proof_line(facts: Deployments, drill: Drill, fix: Fix) -> str:
    took = (fix.updated_at - fix.created_at).total_seconds()
    resolved = drill.parts["resolved"].seconds
    after = f", and the incident was over {resolved:.0f} s after the fault" if resolved is not None else ""
    line = (
        f"Last proven by a drill on {_day(drill.began_at)}: {drill.id}, {drill.strike.words}. {fix.id} took commit"
        f" {fix.bad_commit[:12]} back in {took:.0f} s{after}."
    )
    if facts.now - drill.began_at > QUARTER:
        line += " **That is more than a quarter ago**: hold another, `quell drill run`."
    return line


def _fix_of(facts: Deployments, drill: Drill) -> Fix | None:
    """What took a commit of the service back in the drill; None where the drill did not come to that."""
    of_drill = [fix for fix in facts.fixes if drill.incident is not None and fix.incident == drill.incident]
    return next((fix for fix in of_drill if fix.state is FixState.PROMOTED), of_drill[0] if of_drill else None)


def _is_proof(drill: Drill, fix: Fix) -> bool:
    """A drill that was ended early, or after which users were not well, proves nothing."""
    resolved = drill.parts.get("resolved")
    is_over = resolved is not None and resolved.mark is Mark.YES
    return fix.state is FixState.PROMOTED and not drill.aborted and is_over


def _failure_modes(facts: Deployments) -> str:
    rows: list[tuple[str, ...]] = []
    for incident in sorted(facts.incidents, key=lambda one: one.onset_at, reverse=True):
        accused = next((change for change in facts.changes if change.id == incident.accused_change), None)
        fix = next((f for f in facts.fixes if f.incident == incident.id and f.state is FixState.PROMOTED), None)
        cause = f"{accused.summary} ({(accused.commit or accused.id)[:12]})" if accused else "not known"
        mended = f"{fix.id}: commit {(fix.fix_commit or '')[:12]}" if fix else "by a person"
        rows.append(
            (incident.id, _day(incident.onset_at), incident.title, cause, mended, (fix.guard if fix else "") or "none")
        )
    return _table(("incident", "when", "what happened", "change behind it", "mended by", "guard"), rows)


def _change_row(facts: Deployments, change: Change) -> tuple[str, ...]:
    blamed = [incident.id for incident in facts.incidents if incident.accused_change == change.id]
    undone = [f.id for f in facts.fixes if f.undoes == change.commit and f.state is FixState.PROMOTED]
    outcome = "; ".join(
        filter(None, (f"caused {', '.join(blamed)}" if blamed else "", *(f"undone by {f}" for f in undone)))
    )
    where = change.instance or change.service
    return (_moment(change.at), change.summary, where, change.author, (change.commit or "")[:12], outcome)


def _fix_row(fix: Fix) -> tuple[str, ...]:
    does = f"takes back {fix.undoes[:12]}" if fix.undoes else f"sets {fix.deed}"
    what, by = f"{fix.id} {does} for {fix.incident}", fix.approved_by or "quell"
    commit = (fix.fix_commit or "")[:12]
    return (_moment(fix.updated_at), what, fix.instance or fix.service, by, commit, fix.state.value)


def _command(words: Sequence[str]) -> str:
    return " ".join(word if "{" in word else shlex.quote(word) for word in words)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return "_none on record_"
    lines = [f"| {' | '.join(header)} |", f"| {' | '.join('---' for _ in header)} |"]
    return "\n".join([*lines, *(f"| {' | '.join(_cell(value) for value in row)} |" for row in rows)])


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")
