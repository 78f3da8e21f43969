"""The notifier: a thread beside the responder's rounds that derives notifications and sends them.

Each receiver has its own worker while it has work: one that hangs keeps nobody else waiting. Workers are daemons: a
process that ends in the middle leaves a lease behind, and the next one sends again.
"""

import logging
import os
import random
import socket
import threading
from collections.abc import Callable
from uuid import uuid4

from quell.adapters.notify import send
from quell.incidents.errors import Unavailable
from quell.incidents.notification import NotificationKind, NotificationState
from tasks.notify import queue_due
from tasks.outbox import Parcel, receivers_with_work, record, take
from tasks.resources import Resources

_LOG = logging.getLogger("quell.notifier")
_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0


class Notifier:
    """`fraction` is the dice of the retries' jitter."""

    def __init__(self, res: Resources, *, fraction: Callable[[], float] = random.random) -> None:
        self._res = res
        self._fraction = fraction
        self._workers: dict[str, threading.Thread] = {}
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"

    def round(self) -> None:
        """Queue what is due, and see to it that every receiver with work has a worker. Waits for nobody outside."""
        queue_due(self._res)
        for name in receivers_with_work(self._res):
            worker = self._workers.get(name)
            if worker is None or not worker.is_alive():
                worker = threading.Thread(target=self._work, args=(name,), name=f"notify {name}", daemon=True)
                self._workers[name] = worker
                worker.start()

    def wait(self, seconds: float = 30.0) -> None:
        """Until every worker has nothing left to do now."""
        for worker in tuple(self._workers.values()):
            worker.join(seconds)

    def _work(self, name: str) -> None:
        try:
            while (parcel := take(self._res, name, self._holder)) is not None:
                self._deliver(parcel)
        except Exception:  # noqa: BLE001 - the next round begins again; the lease runs out by itself
            _LOG.exception("notifying %s failed; it is tried again", name)

    def _deliver(self, parcel: Parcel) -> None:
        reached: list[str] = []
        errors: list[str] = []
        for reference in parcel.references:
            try:
                _send(parcel, reference)
                reached.append(reference)
            except Unavailable as error:
                errors.append(str(error))
        state = record(self._res, parcel, reached=reached, errors=errors, fraction=self._fraction())
        one = parcel.notification
        if state is NotificationState.FAILED:
            _LOG.error("%s is given up after %d attempts: %s", one.id, one.attempts, errors[-1])
        elif errors:
            _LOG.warning("%s is tried again: %s", one.id, errors[-1])


def _send(parcel: Parcel, reference: str) -> None:
    one = parcel.notification
    if one.kind is NotificationKind.REPORTER and parcel.contact is None:
        raise Unavailable("the author's address is gone")
    colour = one.kind if one.kind is NotificationKind.RESOLVED else one.severity or "info"
    send(reference, parcel.message, timeout=parcel.timeout, severity=colour, contact=parcel.contact)


def run_notifier(res: Resources, stopping: threading.Event) -> None:
    """Rounds until `stopping`; trouble is logged and tried again with growing pauses."""
    notifier, failures = Notifier(res), 0
    while not stopping.is_set():
        try:
            notifier.round()
            failures = 0
        except Exception as error:  # noqa: BLE001 - a thread that dies would be silence
            failures += 1
            _LOG.warning("notifications wait: %s", error)
        stopping.wait(min(_PAUSE_SECONDS * 2**failures, _LONGEST_PAUSE_SECONDS))
