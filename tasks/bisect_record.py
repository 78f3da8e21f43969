"""The record of a bisection: kept with its evidence, and the commit that it found put first."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from quell.adapters.git import GitRepository
from quell.incidents.change import Change, ChangeKind
from quell.incidents.errors import Conflict
from quell.incidents.incident import Incident
from quell.incidents.service import ConfigRepository
from quell.incidents.suspect import Suspect
from quell.incidents.timeline import Event
from quell.ports import Document, Transaction
from quell.resolution.bisection import BISECTION, Bisection, Outcome, trials_in_words
from quell.resolution.candidate import Candidate, confirmed_first, rank_candidates
from tasks.record import get_incident
from tasks.resources import Resources


def ranked_candidates(tx: Transaction, incident: Incident) -> tuple[Candidate, ...]:
    """The commits that could have done it, likeliest first; one that was confirmed before all others."""
    changes = [change for id in incident.changes if (change := tx.changes.get(id)) is not None]
    ranked = rank_candidates(incident, changes)
    found = find_bisection(tx, incident)
    if found is None or found.commit is None:
        return ranked
    return confirmed_first(ranked, found.commit, "it flips the check from good to bad")


def find_bisection(tx: Transaction, incident: Incident) -> Bisection | None:
    """The last one of this trouble; what was found before the incident was reopened says nothing."""
    document = tx.documents.get(_id(incident.id))
    if document is None:
        return None
    found = msgspec.convert(document.body, Bisection)
    return found if found.life == incident.reopened else None


def keep_bisection(
    res: Resources, found: Bisection, git: GitRepository, repository: ConfigRepository, *, by: str
) -> None:
    """On the timeline with its evidence; a confirmed commit becomes the first suspect's change, in one transaction.

    A commit that nobody had announced is linked as a change. Raises Conflict when the incident was reopened meanwhile.
    """
    change = None if found.commit is None else _change_of(res, found, git, repository)
    with res.store.writing() as tx:
        incident = get_incident(tx, found.incident)
        if incident.reopened != found.life:
            raise Conflict(f"{incident.id} was reopened while it was bisected: what was found is of the trouble before")
        body: dict[str, Any] = msgspec.to_builtins(asdict(found))
        tx.documents.put(Document(id=_id(incident.id), kind=BISECTION, updated_at=found.at, body=body))
        is_confirmed = found.outcome is Outcome.CONFIRMED
        kind = "cause confirmed" if is_confirmed else "cause not confirmed"
        tx.timeline.append(
            Event(
                incident=incident.id,
                at=found.at,
                kind=kind,
                by=by,
                text=_text(found, change),
                subject=incident.id,
                evidence=_evidence(found, git),
            )
        )
        if change is not None:
            _put_first(tx, incident, change, found)


def _text(found: Bisection, change: Change | None) -> str:
    if change is None:
        return f"{found.outcome} after {len(found.trials)} trials: {found.reason}"
    return f"commit {(found.commit or '')[:12]} ({change.summary}) did it: {found.reason}; {len(found.trials)} trials"


def _evidence(found: Bisection, git: GitRepository) -> Mapping[str, str]:
    evidence = {"check": found.check, "trials": trials_in_words(found.trials), "seconds": f"{found.seconds:.1f}"}
    if found.commit is not None:
        commit = git.commit(found.commit)
        evidence |= {"commit": commit.id, "author": commit.author, "made at": commit.at.isoformat()}
    return evidence


def _change_of(res: Resources, found: Bisection, git: GitRepository, repository: ConfigRepository) -> Change:
    """The commit as a change; where it touched one instance's file alone, of that instance."""
    commit = git.commit(found.commit or "")
    touched = set(git.files_of(commit.id))
    instances = [name for name, file in repository.files.items() if file in touched]
    is_instance = len(instances) == 1 and res.config.catalog.instance(instances[0]) is not None
    return Change(
        id=f"GIT-{commit.id[:12]}",
        kind=ChangeKind.CONFIG,
        service=found.service,
        instance=instances[0] if is_instance else None,
        at=commit.at,
        summary=commit.subject,
        author=commit.author,
        commit=commit.id,
        received_at=found.at,
        url=f"file://{Path(repository.path).resolve()}#{commit.id}",
    )


def _put_first(tx: Transaction, incident: Incident, change: Change, found: Bisection) -> None:
    """The change as it was announced, where it was; its node is the first suspect, accused of it."""
    linked = [one for id in incident.changes if (one := tx.changes.get(id)) is not None]
    commit = change.commit or ""
    announced = [one for one in linked if one.commit and len(one.commit) >= 7 and commit.startswith(one.commit)]
    accused = announced[0] if announced else change
    if not announced:
        tx.changes.put(change)
        said = f"{change.summary} ({change.author}): nobody had announced it; found by bisection"
        tx.timeline.append(
            Event(incident=incident.id, at=found.at, kind="change linked", by="quell", text=said, subject=change.id)
        )
    node = accused.instance or accused.service
    before = next((suspect for suspect in incident.suspects if suspect.node == node), None)
    reason = f"commit {commit[:12]} flips the check from good to bad"
    if before is None:  # nothing but the check speaks against it: enough to mend, not enough to isolate
        first = Suspect(node=node, metric="", score=1.0, reason=reason, change=accused.id, is_alerted=False)
    else:
        score = max([1.0, *(suspect.score for suspect in incident.suspects)])
        first = replace(before, score=score, change=accused.id, reason=f"{reason}; {before.reason}".rstrip("; "))
    others = tuple(suspect for suspect in incident.suspects if suspect.node != node)
    changes = tuple(dict.fromkeys((*incident.changes, accused.id)))
    tx.incidents.put(replace(incident, suspects=(first, *others), changes=changes, updated_at=found.at))


def _id(incident: str) -> str:
    return f"bisection/{incident}"
