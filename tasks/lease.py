"""Leases: who works on a mitigation now, over all processes, with a token that tells late comers to stop."""

import os
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from uuid import uuid4

from quell.incidents.errors import Conflict, Unavailable
from quell.incidents.journal import LEASE_TIME, Lease
from quell.ports import Transaction
from tasks.resources import Resources

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A lease that this piece of work holds."""

    id: str
    holder: str
    token: int

    def renew(self, tx: Transaction, now: datetime) -> None:
        """Prove in a writing transaction that the lease is still ours, and prolong it. Raises Conflict when lost."""
        lease = tx.leases.get(self.id)
        if lease is None or lease.holder != self.holder or lease.token != self.token:
            owner = lease.holder if lease else "nobody"
            raise Conflict(f"lease on {self.id} was lost by {self.holder} (token {self.token}); {owner} holds it now")
        tx.leases.put(replace(lease, expires_at=now + LEASE_TIME))


@contextmanager
def hold(res: Resources, id: str, *, wait: timedelta = timedelta(seconds=10)) -> Generator[Hold]:
    """Hold the lease on `id` for the duration of a block; it ends with the block, or LEASE_TIME after a death.

    Raises Conflict when somebody else holds it for longer than `wait`.
    """
    holder = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    give_up = time.monotonic() + wait.total_seconds()
    while (taken := _take(res, id, holder)) is None:
        if time.monotonic() >= give_up:
            raise Conflict(f"somebody else works on {id}; tried for {wait.total_seconds():g} s, try again")
        time.sleep(_POLL_SECONDS)
    try:
        yield taken
    finally:
        _free(res, taken)


@contextmanager
def kept(res: Resources, held: Hold, longest: timedelta) -> Generator[None]:
    """Prolong the lease while a call outside may take `longest`, and no longer: who hangs must lose it."""
    if longest <= LEASE_TIME / 2:
        yield
        return
    is_over, until = Event(), time.monotonic() + longest.total_seconds()

    def prolong() -> None:
        while not is_over.wait(LEASE_TIME.total_seconds() / 4) and time.monotonic() < until:
            with suppress(Unavailable), res.store.writing() as tx:
                held.renew(tx, res.clock())

    thread = Thread(target=_until_lost, args=(prolong,), name=f"lease {held.id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _until_lost(prolong: Callable[[], None]) -> None:
    with suppress(Conflict):  # whoever works under the lease finds out at its next step
        prolong()


def _take(res: Resources, id: str, holder: str) -> Hold | None:
    with res.store.writing() as tx:
        now = res.clock()
        lease = tx.leases.get(id)
        if lease is not None and lease.is_held(now):
            return None
        token = lease.token + 1 if lease else 1
        tx.leases.put(Lease(id=id, holder=holder, token=token, expires_at=now + LEASE_TIME))
        return Hold(id=id, holder=holder, token=token)


def _free(res: Resources, held: Hold) -> None:
    """Let the lease run out, whatever the clock says; the record stays, so that the next token is higher."""
    with res.store.writing() as tx:
        lease = tx.leases.get(held.id)
        if lease is not None and lease.token == held.token and lease.holder == held.holder:
            tx.leases.put(replace(lease, expires_at=_LONG_AGO))


def take_turn(tx: Transaction, id: str, holder: str, *, now: datetime, time_held: timedelta) -> bool:
    """For work that one process does again and again: take or prolong the lease; whether it is ours now."""
    lease = tx.leases.get(id)
    if lease is not None and lease.holder != holder and lease.is_held(now):
        return False
    token = 1 if lease is None else lease.token + (lease.holder != holder)
    tx.leases.put(Lease(id=id, holder=holder, token=token, expires_at=now + time_held))
    return True
