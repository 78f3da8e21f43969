"""What charts are drawn from: fetched beside the page, once for all who look at the same, and not waited for long."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from quell.gateway.deps import ChartData
from quell.incidents.errors import QuellError

PATIENCE = timedelta(seconds=1)  # how long a page waits
FRESH_FOR = timedelta(seconds=3)
MOST_KEPT = 200


@dataclass(frozen=True, slots=True)
class _Fetch:
    asked_at: datetime
    data: "Future[ChartData | None]"


class ChartFetches:
    def __init__(self, patience: timedelta = PATIENCE) -> None:
        self._patience = patience
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="chart")
        self._fetches: dict[str, _Fetch] = {}
        self._lock = Lock()

    def ask(self, key: str, fetch: Callable[[], ChartData | None], now: datetime) -> None:
        """Start the fetch, unless one is on its way or has just come back."""
        with self._lock:
            known = self._fetches.get(key)
            if known and (not known.data.done() or now - known.asked_at < FRESH_FOR):
                return
            while len(self._fetches) >= MOST_KEPT:
                self._fetches.pop(next(iter(self._fetches)))
            self._fetches[key] = _Fetch(now, self._pool.submit(fetch))

    def wait_for(self, key: str) -> tuple[ChartData | None, str]:
        """What was asked for and "", or None and why there is nothing to draw."""
        with self._lock:
            known = self._fetches.get(key)
        try:
            data = known.data.result(self._patience.total_seconds()) if known else None
        except NotYet:
            seconds = self._patience.total_seconds()
            return None, f"the metrics have not answered within {seconds:g} s; it appears when they do"
        except QuellError as error:
            return None, str(error)
        if data is None or not len(data.timestamps):
            return None, "no series is known for this incident"
        return data, ""
