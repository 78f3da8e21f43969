"""What a person reads about a resolution: the fix as a diff with its guard and canary, and how the incident stands."""

from quell.incidents.fix import Fix
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.timeline import TimelineEntry
from tasks.artifacts import incident_link, publish, table
from tasks.fix import get_fix
from tasks.record import get_incident
from tasks.resources import Resources
from tasks.rollback import HANDED_OVER
from tasks.runs import tag_run


def show_fix(res: Resources, fix: Fix) -> None:
    """The validated fix as the artifact `FIX-1 diff`, before anything is touched."""
    with res.store.reading() as tx:
        incident = get_incident(tx, fix.incident)
    tag_run(incident.id, incident.service, incident.severity, "resolution")
    text = fix_markdown(fix, incident_link(res.config, incident))
    publish(f"{fix.id} diff", text, "What is undone, and the guard")


def show_resolution(res: Resources, incident_id: str, fix_id: str | None = None) -> None:
    """How it ended, as the artifact `resolve INC-1`: resolved, or why a person has to take over."""
    with res.store.reading() as tx:
        incident = get_incident(tx, incident_id)
        fix = get_fix(tx, fix_id) if fix_id else None
        entries = tx.timeline.of(incident_id)
    tag_run(incident.id, incident.service, incident.severity, "resolution")
    head = f"## {incident_link(res.config, incident)}"
    parts = [
        head,
        _verdict(incident, entries),
        fix_markdown(fix, incident_link(res.config, incident.id)) if fix else "",
    ]
    markdown = "\n\n".join(part for part in parts if part)
    publish(f"resolve {incident_id}", markdown, "How it ended; the fix, its guard and its canary")


def fix_markdown(fix: Fix, incident: str) -> str:
    """The fix as people read it: what is undone, the diff, the guard's proof, the canary."""
    rows = [
        ("incident", incident),
        ("does", f"{fix.deed} in `{fix.file}`"),
        ("asked for by", f"{fix.requested_by}{f': {fix.reason}' if fix.reason else ''}"),
        ("approved by", fix.approved_by or ("not yet" if fix.approval_deadline else "nobody has to")),
        ("state", fix.state),
        ("commit", f"`{fix.fix_commit[:12]}`" if fix.fix_commit else "not yet"),
        ("guard", fix.guard or "none"),
        ("proof", fix.guard_proof or "none yet"),
        ("canary", fix.canary_result or "none yet"),
    ]
    if fix.has_followers:
        rows.insert(2, ("first on", fix.pilot))
    title = f"### {fix.id} for {fix.instance or fix.service}"
    return f"{title}\n\n{table(('', ''), rows)}\n\n````diff\n{fix.diff.rstrip()}\n````\n"


def _verdict(incident: Incident, entries: list[TimelineEntry]) -> str:
    if incident.state in (IncidentState.RESOLVED, IncidentState.REVIEWED, IncidentState.CLOSED):
        kind, head = "incident resolved", "**Resolved.**"
    else:
        kind, head = HANDED_OVER, f"**Handed to a person; {incident.id} is {incident.state}.**"
    why = next((entry.text for entry in reversed(entries) if entry.kind == kind), "")
    return f"{head} {why}".strip()
