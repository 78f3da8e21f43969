"""Where incidents stand with their guards, and acceptances that git knows of and the record does not yet."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from quell.adapters.guard_folder import GuardFolder
from quell.incidents.errors import QuellError
from quell.incidents.guard_record import ACCEPTED, GuardRecord
from quell.incidents.timeline import Event
from quell.ports import Transaction
from quell.prevention.guard_standing import GuardStanding, guard_standing
from quell.resolution.guard import Guard
from quell.resolution.proving import Outcome
from tasks.guards import guard_records, note_acceptance, put_guard
from tasks.resources import Resources

_LOG = logging.getLogger("quell.reviews")


def standing_of(tx: Transaction, incident: str) -> GuardStanding:
    return standings_of(tx, [incident])[incident]


def standings_of(tx: Transaction, incidents: Iterable[str]) -> Mapping[str, GuardStanding]:
    """The same of several; the guards are read once."""
    by_incident: dict[str, list[GuardRecord]] = {}
    for record in guard_records(tx):
        by_incident.setdefault(record.incident, []).append(record)
    return {id: guard_standing(tx.fixes.find({"incident": id}), by_incident.get(id, ())) for id in incidents}


def take_up_acceptances(res: Resources, waiting: Iterable[GuardRecord]) -> list[str]:
    """Guards that were accepted in git alone (a pull request, a machine without the configuration) are on record from
    now on, when both of their proofs hold; a sentence for each."""
    said: list[str] = []
    for record in waiting:
        try:
            said += _take_up(res, record)
        except QuellError as error:
            _LOG.warning("guard %s of %s cannot be looked at: %s", record.name, record.incident, error)
    return said


def _take_up(res: Resources, record: GuardRecord) -> list[str]:
    path = Path(record.repository) / record.file
    folder = GuardFolder(root=Path(record.repository), name=str(Path(record.file).parent))
    if not path.is_file():  # its fix was taken back, or a reviewer removed what taught nothing
        return []
    guard = folder.find(record.name)
    if guard.state != ACCEPTED or not guard.accepted_by or folder.is_edited(guard):
        return []
    outcome = folder.prove(guard)
    if not outcome.is_proved:
        return [f"{record.incident}: guard {guard.name} says that {guard.accepted_by} accepted it: {outcome.wrong}"]
    commit = folder.git.git("log", "-1", "--format=%H", "--", record.file).strip()
    note_acceptance(res, guard.name, guard.accepted_by, is_edited=False, commit=commit)
    return [f"{record.incident}: guard {guard.name} was accepted in git by {guard.accepted_by}"]


def note_written_guard(
    res: Resources, guard: Guard, outcome: Outcome, *, by: str, commit: str, root: Path, at: datetime
) -> GuardRecord | None:
    """A guard that people wrote for an incident counts for it once it is proved and accepted; None where the record
    knows no such incident."""
    with res.store.writing() as tx:
        incident = tx.incidents.get(guard.incident)
        if incident is None:
            return None
        record = GuardRecord(
            name=guard.name,
            incident=incident.id,
            fix="",
            service=incident.service,
            repository=str(root.resolve()),
            file=guard.source,
            state=ACCEPTED,
            bad=guard.proof.bad,
            said=outcome.said,
            passed=outcome.passed,
            proposed_at=at,
            accepted_by=by,
            accepted_at=at,
        )
        put_guard(tx, record, at)
        tx.timeline.append(
            Event(
                incident=incident.id,
                at=at,
                kind="guard accepted",
                by=by,
                text=f"{by} wrote and accepted guard {guard.name}",
                subject=incident.id,
                evidence={"guard": guard.source, "commit": commit, "proof": record.proof},
            )
        )
    return record
