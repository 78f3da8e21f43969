"""A process that adjusts adaptive throttles, to be killed: `python -m tests.adaptive_process DATABASE SOCKET MAPS`."""

import sys
import threading
from pathlib import Path

from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.incidents.service import Catalog
from tasks.adaptive import run_adaptive
from tasks.resources import Resources, utc_now


def main(database: str, socket: str, maps: str) -> None:
    res = Resources(
        config=Config(folder=Path(), connections=Connections(store="", prometheus=""), catalog=Catalog(services={})),
        store=SqlStore(database),
        metrics=None,  # type: ignore[arg-type]
        actuators={"haproxy": HAProxyActuator(socket=socket, maps=Path(maps), state_file=None)},
        clock=utc_now,
    )
    run_adaptive(res, threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
