"""Guards of a fix: proposed from what the bad commit did, proved on the bad and on every good file, and recorded."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from quell.adapters.bad_change import BadFile, gather
from quell.adapters.documents import FolderFiles
from quell.adapters.git import GitRepository, WorkTree
from quell.adapters.guards import load_guards, write_guard
from quell.incidents.errors import InvalidInput, NotFound
from quell.incidents.fix import Fix, FixState
from quell.incidents.guard_record import GUARD, GuardRecord, guard_body, read_guard
from quell.incidents.service import ConfigRepository
from quell.incidents.timeline import Event
from quell.ports import Document, Transaction
from quell.resolution.gate import check_document, neighbours
from quell.resolution.guard import PROPOSED, Guard
from quell.resolution.proposal import Proposal, common_glob, propose
from tasks.resources import Resources


def check_all(res: Resources, tree: WorkTree, repository: ConfigRepository, file: str) -> None:
    """The mended file, and what refers to it, keep to the repository's guards and to the configuration's own.

    Raises InvalidInput with the first finding.
    """
    files = FolderFiles(root=tree.path.resolve(), without=repository.guards)
    known = (*load_guards(tree.path / repository.guards), *load_guards(Path(res.config.folder) / "guards"))
    for document in (files.read(file), *neighbours(known, [file], files)):
        findings = check_document(known, document, files, res.clock())
        if findings:
            raise InvalidInput(f"the mended file breaks a guard: {findings[0]}")


def propose_guards_of(
    res: Resources, git: GitRepository, tree: WorkTree, repository: ConfigRepository, fix: Fix
) -> tuple[tuple[Proposal, ...], tuple[str, ...]]:
    """Proved guards for the fix, written and staged in its tree; and why there is none for the rest."""
    kind = Path(fix.file).suffix
    peers = [file for file in repository.files.values() if file != fix.file and Path(file).suffix == kind]
    bad = BadFile(service=fix.service, incident=fix.incident, commit=fix.bad_commit, file=fix.file)
    try:
        change, ground = gather(
            git,
            bad,
            root=tree.path,
            guards=repository.guards,
            now=res.clock(),
            globs=(common_glob(fix.file, peers),),
            good_text=(tree.path / fix.file).read_text(),
        )
    except NotFound as error:
        return (), (str(error),)
    found, missing = propose(change, ground)
    folder = tree.path / repository.guards
    named = tuple(replace(one, guard=_name_anew(one.guard, folder)) for one in found)
    for one in named:
        tree.write(f"{repository.guards}/{one.guard.source}", write_guard(one.guard))
    return named, missing


def _name_anew(guard: Guard, folder: Path) -> Guard:
    """An older incident's guard of the same name stays as it is."""
    if not (folder / guard.source).exists():
        return guard
    name = f"{guard.name}-{guard.incident.lower()}"
    return replace(guard, name=name, source=f"{name}.yaml")


def proof_text(found: Sequence[Proposal], missing: Sequence[str]) -> str:
    """Both proofs in one sentence for the fix's record."""
    if not found:
        return f"no guard could be proven: {'; '.join(missing) or 'the commit changed no value'}"
    names = ", ".join(one.guard.name for one in found)
    passed = {name for one in found for name in one.outcome.passed}
    return f"guard {names} fails on the bad file and passes on {len(passed)} good files"


def record_guards(res: Resources, fix: Fix, repository: ConfigRepository, found: Sequence[Proposal]) -> None:
    """Keep both proofs in the store; a guard waits for a person from now on."""
    with res.store.writing() as tx:
        for one in found:
            record = GuardRecord(
                name=one.guard.name,
                incident=fix.incident,
                fix=fix.id,
                service=fix.service,
                repository=fix.repository,
                file=f"{repository.guards}/{one.guard.source}",
                state=PROPOSED,
                bad=one.guard.proof.bad,
                said=one.outcome.said,
                passed=one.outcome.passed,
                proposed_at=res.clock(),
            )
            put_guard(tx, record, res.clock())


def put_guard(tx: Transaction, record: GuardRecord, now: datetime) -> None:
    tx.documents.put(Document(id=f"guard/{record.name}", kind=GUARD, updated_at=now, body=guard_body(record)))


def guard_records(tx: Transaction, incident: str | None = None) -> tuple[GuardRecord, ...]:
    """What was proposed, of one incident or of all."""
    records = [read_guard(document.body) for document in tx.documents.find({"kind": GUARD})]
    return tuple(record for record in records if incident in (None, record.incident))


def guards_waiting(tx: Transaction, incident: str) -> tuple[str, ...]:
    """The incident's guards that nobody has accepted yet; an incident is not closed before one of them is.

    A fix that was taken back took its guards with it.
    """
    waiting = [record for record in guard_records(tx, incident) if record.state == PROPOSED]
    fixes = {record.fix: tx.fixes.get(record.fix) for record in waiting}
    gone = {id for id, fix in fixes.items() if fix is not None and fix.state is FixState.REVERTED}
    return tuple(record.name for record in waiting if record.fix not in gone)


def note_acceptance(res: Resources, name: str, by: str, *, is_edited: bool, commit: str) -> GuardRecord | None:
    """Write down who accepted the guard; None when Quell did not propose it (a guard that people wrote)."""
    now = res.clock()
    with res.store.writing() as tx:
        document = tx.documents.get(f"guard/{name}")
        if document is None:
            return None
        record = replace(read_guard(document.body), state="accepted", accepted_by=by, accepted_at=now)
        put_guard(tx, record, now)
        text = f"{by} accepted guard {name}{' after editing it' if is_edited else ''}"
        evidence = {"guard": record.file, "commit": commit, "proof": record.proof}
        tx.timeline.append(
            Event(
                incident=record.incident,
                at=now,
                kind="guard accepted",
                by=by,
                text=text,
                subject=record.fix,
                evidence=evidence,
            )
        )
    return record
