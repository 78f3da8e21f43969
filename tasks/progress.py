"""Progress: how far long work of a run is, as an artifact that moves in the Prefect UI."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext, TaskRunContext

from tasks.artifacts import artifact_key
from tasks.runs import log

_UPDATES = 10  # each is a request


@contextmanager
def shown_progress(what: str, total: int) -> Generator[Callable[[], None]]:
    """Hands out a function to call after each of `total` pieces of work. Outside a run it does nothing.

    A server that does not take it must not fail the work: the failure is logged once.
    """
    if FlowRunContext.get() is None and TaskRunContext.get() is None:
        yield lambda: None
        return
    shown = _Shown(what, total)
    yield shown.advance


class _Shown:
    def __init__(self, what: str, total: int) -> None:
        self._done, self._total = 0, max(total, 1)
        self._artifact: UUID | None = None
        try:
            made = create_progress_artifact(progress=0.0, key=artifact_key(what), description=f"{what}: {total} in all")
            self._artifact = made if isinstance(made, UUID) else None
        except Exception as error:  # noqa: BLE001 - whatever the server says, the work goes on
            log().warning("progress of %s cannot be shown: %s", what, error)

    def advance(self) -> None:
        self._done += 1
        stretch = max(self._total // _UPDATES, 1)
        if self._artifact is None or (self._done % stretch and self._done < self._total):
            return
        try:
            update_progress_artifact(artifact_id=self._artifact, progress=100.0 * self._done / self._total)
        except Exception as error:  # noqa: BLE001 - as above
            log().warning("progress cannot be shown any more: %s", error)
            self._artifact = None
