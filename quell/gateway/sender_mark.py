"""A mark of where a report came from: the same for the same sender, and no address for whoever reads the record."""

import hashlib
import hmac
import secrets

from quell.ports import Clock, Document, Store
from quell.triage.report_text import name_of

_SALT = "report-salt"


class SenderMark:
    """Made with a salt of this installation, which is drawn once and kept in the store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._salt = b""

    def of(self, address: str) -> str:
        """The mark of a visitor. Raises Unavailable where the salt is not known yet and the store is away."""
        return self._digest(address)

    def of_reporter(self, source: str, reporter: str) -> str:
        """The mark of whom a source names, which holds within that source. Raises Unavailable like the other.

        Empty where it names nobody: such a source is not one voice, it passes on what many say.
        """
        name = name_of(reporter)
        return f"{source}:{self._digest(f'{source}:{name}')}" if name else ""

    def _digest(self, text: str) -> str:
        self._salt = self._salt or self._kept_salt()
        return hmac.new(self._salt, text.encode(), hashlib.sha256).hexdigest()[:16]

    def _kept_salt(self) -> bytes:
        with self._store.reading() as tx:
            kept = tx.documents.get(_SALT)
        if kept is None:
            kept = self._draw()
        return bytes.fromhex(str(kept.body["salt"]))

    def _draw(self) -> Document:
        drawn = Document(id=_SALT, kind=_SALT, updated_at=self._clock(), body={"salt": secrets.token_hex(32)})
        with self._store.writing() as tx:
            kept = tx.documents.get(_SALT)  # another gateway may have been first
            if kept is None:
                tx.documents.put(drawn)
        return kept or drawn
