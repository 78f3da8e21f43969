"""A process that asks for an export and makes it, to be killed: `python -m tests.export_process STORE URL`."""

import os
import sys
from datetime import timedelta
from pathlib import Path

from quell.adapters.store.sql import SqlStore
from quell.config.config import Tracker
from tests.postmortem_room import Room, at


def main() -> None:
    store, url = sys.argv[1:]
    tracker = Tracker(
        kind="github", url=url, project="shop/ops", token="env:TRACKER_TOKEN", timeout=timedelta(minutes=1)
    )
    room = Room(SqlStore(store), Path(os.devnull).parent, now=at(400), tracker=tracker)
    room.act("alice", "export", subject="INC-1/A1")


if __name__ == "__main__":
    main()
