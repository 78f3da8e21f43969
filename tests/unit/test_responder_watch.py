"""The responder looks after the sweeps, also while Prefect is away."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from deployments.responder import Responder
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections, Intervals
from tasks.resources import Resources

pytestmark = pytest.mark.unit

T0 = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_sweeps_that_never_begin_are_raised_after_three_intervals_of_watching() -> None:
    now = T0
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus=""),
        intervals=Intervals(sweep=timedelta(seconds=30)),
    )
    store = MemoryStore()
    res = Resources(config=config, store=store, metrics=None, actuators={}, clock=lambda: now)  # type: ignore[arg-type]
    responder = Responder(res, cast(ThreadPoolExecutor, None))
    for second in range(0, 100, 2):
        now = T0 + timedelta(seconds=second)
        responder.watch()
        with store.reading() as tx:
            told = [item.payload["labels"]["alertname"] for item in tx.inbox.find()]
        assert told == (["SweepsStopped"] if second >= 96 else [])  # it looks every 5 s; 90 s are allowed
