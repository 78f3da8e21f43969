"""Sessions: who is signed in, kept in the store so that every gateway knows it and a restart changes nothing.

The browser holds a random token, the store only its hash: who reads the database cannot sign in with what it holds.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.incidents.decision import Person
from quell.ports import Document, Transaction

LONGEST = timedelta(hours=12)  # after signing in
IDLE = timedelta(hours=1)  # after the last page that the person asked for
NOTED_EVERY = timedelta(minutes=1)  # how exactly the last page is remembered: a page costs no write
_KIND = "session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    id: str  # the token's hash
    person: str
    began_at: datetime
    seen_at: datetime

    @property
    def ends_at(self) -> datetime:
        return min(self.began_at + LONGEST, self.seen_at + IDLE)


def open_session(tx: Transaction, person: Person, now: datetime) -> str:
    """A new session; returns the token for the browser, which is kept nowhere else. Old sessions are swept out."""
    for old in tx.documents.find({"kind": _KIND}, before=("updated_at", now - IDLE)):
        tx.documents.delete(old.id)
    token = secrets.token_urlsafe(32)
    body = {"person": person.name, "began_at": now.isoformat(), "credential": _credential(person)}
    tx.documents.put(Document(id=_id(token), kind=_KIND, updated_at=now, body=body))
    return token


def find_session(tx: Transaction, token: str, people: Mapping[str, Person], now: datetime) -> Session | None:
    """The session, if it has not ended, and its person is still there with the same password."""
    document = tx.documents.get(_id(token)) if token else None
    if document is None or document.kind != _KIND:
        return None
    session = Session(
        id=document.id,
        person=document.body["person"],
        began_at=datetime.fromisoformat(document.body["began_at"]),
        seen_at=document.updated_at,
    )
    person = people.get(session.person)
    if person is None or not person.password_hash or _credential(person) != document.body["credential"]:
        return None
    return session if now < session.ends_at else None


def note_visit(tx: Transaction, session: Session, now: datetime) -> None:
    """Somebody is there: the idle time begins anew."""
    document = tx.documents.get(session.id)
    if document is not None:
        tx.documents.put(Document(id=document.id, kind=_KIND, updated_at=now, body=document.body))


def close_session(tx: Transaction, token: str) -> None:
    tx.documents.delete(_id(token))


def _id(token: str) -> str:
    return f"session/{hashlib.sha256(token.encode('utf-8', 'replace')).hexdigest()}"


def _credential(person: Person) -> str:
    """Changes with the password, so that a changed one ends what was opened with the old one."""
    return hashlib.sha256(person.password_hash.encode()).hexdigest()[:32]
