"""The writers of one process stand in line here, before they meet those of other processes in the database."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock, get_ident

from quell.incidents.errors import Unavailable


class WriterLock:
    """One writer among the threads of a process; a writer inside a writer would wait for itself and is refused."""

    def __init__(self, timeout: timedelta) -> None:
        self._lock = Lock()
        self._owner: int | None = None
        self._timeout = timeout

    @contextmanager
    def held(self) -> Generator[None]:
        if self._owner == get_ident():
            raise RuntimeError("this thread already writes to the store; use the transaction that it has")
        if not self._lock.acquire(timeout=self._timeout.total_seconds()):
            raise Unavailable(
                f"store is held by another writer of this process for more than {self._timeout.total_seconds():g} s; "
                "try again, and look for a transaction that calls the outside world"
            )
        self._owner = get_ident()
        try:
            yield
        finally:
            self._owner = None
            self._lock.release()
