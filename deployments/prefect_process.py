"""Prefect's command line, `python -m deployments.prefect_process server start ...`, with garbage collected in a thread.

Python's collector runs in whichever thread allocates. When it finds a dead cursor of SQLite it resets the cursor's
statement, and waits for the connection. One that itself waits for the write lock keeps it waiting, in Prefect's server
up to 60 s. If the collecting thread is the event loop's, whoever holds the write lock cannot go on either: the server
says nothing for a minute. In a thread of its own the collector waits alone.
"""

import gc
import runpy
import threading
import time

_YOUNG_SECONDS, _ALL_SECONDS = 1.0, 15.0


def collect_in_a_thread(young_seconds: float = _YOUNG_SECONDS, all_seconds: float = _ALL_SECONDS) -> None:
    """From now on no other thread of this process collects: the young often, everything now and then."""

    def collect() -> None:
        rounds = 0
        while True:
            time.sleep(young_seconds)
            rounds += 1
            gc.collect(2 if rounds % max(1, round(all_seconds / young_seconds)) == 0 else 1)

    gc.disable()
    threading.Thread(target=collect, name="garbage", daemon=True).start()


if __name__ == "__main__":
    collect_in_a_thread()
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
