"""Proof: tries that failed are counted, and a one-time code works once, whatever it was given for."""

from collections.abc import Iterable
from datetime import datetime

from quell.incidents.attempts import FORGOTTEN_AFTER, Attempts, TooManyTries, count_failure
from quell.incidents.timeline import Event
from quell.ports import Document, Transaction

FREE_TRIES = 5  # in one person's name
FREE_TRIES_OF_ADDRESS = 20  # an office may share one address
_TRIES = "tries"
_CODES = "used codes"
_CODES_KEPT = 20


def spend_try(tx: Transaction, subjects: Iterable[str], now: datetime) -> TooManyTries | None:
    """Count a try against each subject (`person/alice`, `address/10.0.0.7`) before it is looked at.

    So that a hundred tries at once are counted like a hundred in a row. Returns why the try is not looked at, if
    somebody has to wait; it is then not counted either, so that hammering does not lock the person out for good.
    """
    known = {subject: _read(tx, subject) for subject in subjects}
    wait = max((tries.wait(now) for tries in known.values() if tries), default=None)
    if wait:
        return TooManyTries(f"too many wrong tries: wait {_in_words(wait.total_seconds())}, then try again", wait=wait)
    for old in tx.documents.find({"kind": _TRIES}, before=("updated_at", now - FORGOTTEN_AFTER)):
        tx.documents.delete(old.id)
    for subject, tries in known.items():
        free = FREE_TRIES_OF_ADDRESS if subject.startswith("address/") else FREE_TRIES
        counted = count_failure(tries, free=free, now=now)
        _write(tx, subject, counted)
        if counted.locked_until:
            text = f"{counted.failures} tries to prove {subject.replace('/', ' ')}: the next one waits"
            tx.timeline.append(Event(incident=None, at=now, kind="sign-in locked", by="quell", text=text))
    return None


def forgive(tx: Transaction, subjects: Iterable[str]) -> None:
    """The try was right: the person begins anew, an address only gets this one back."""
    for subject in subjects:
        tries = _read(tx, subject)
        if tries is None:
            continue
        if subject.startswith("address/") and tries.failures > 1:
            _write(tx, subject, Attempts(failures=tries.failures - 1, last_at=tries.last_at))
        else:
            tx.documents.delete(_id(subject))


def spent_steps(tx: Transaction, person: str) -> list[int]:
    """The time steps of codes that were given to sign in or to act."""
    document = tx.documents.get(f"codes/{person}")
    return list(document.body["steps"]) if document else []


def spend_code(tx: Transaction, person: str, step: int, now: datetime) -> None:
    steps = [*spent_steps(tx, person), step][-_CODES_KEPT:]
    tx.documents.put(Document(id=f"codes/{person}", kind=_CODES, updated_at=now, body={"steps": steps}))


def _id(subject: str) -> str:
    return f"tries/{subject}"


def _read(tx: Transaction, subject: str) -> Attempts | None:
    document = tx.documents.get(_id(subject))
    if document is None:
        return None
    until = document.body["locked_until"]
    return Attempts(
        failures=document.body["failures"],
        last_at=document.updated_at,
        locked_until=datetime.fromisoformat(until) if until else None,
    )


def _write(tx: Transaction, subject: str, tries: Attempts) -> None:
    until = tries.locked_until.isoformat() if tries.locked_until else ""
    body = {"failures": tries.failures, "locked_until": until}
    tx.documents.put(Document(id=_id(subject), kind=_TRIES, updated_at=tries.last_at, body=body))


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
