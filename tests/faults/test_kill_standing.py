"""kill -9 anywhere while standing limits are put in force or taken back: finished or undone, and all agree."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quell.adapters.actuators import haproxy_files
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.adapters.store.sql import SqlStore
from quell.incidents.threshold import ThresholdState
from tasks.limiter import intended
from tasks.resources import Resources
from tasks.standing_keep import keep_standing
from tasks.thresholds import promote_decided, promote_threshold, revert_threshold
from tests.limited_shop import World, limited_shop, resources_of

pytestmark = [pytest.mark.fault, pytest.mark.timeout(400)]


def die_at(boundary: int) -> None:
    """From now on this process kills itself at the nth boundary: around a command, a commit, a written file."""
    passed = 0

    def pass_one() -> None:
        nonlocal passed
        passed += 1
        if passed == boundary:
            os.kill(os.getpid(), signal.SIGKILL)

    ask, write, writing = RuntimeClient.ask, haproxy_files._replace, SqlStore.writing

    def asked(self: RuntimeClient, *words: str) -> str:
        pass_one()
        reply = ask(self, *words)
        pass_one()
        return reply

    def written(file: Path, text: str) -> None:
        pass_one()
        write(file, text)
        pass_one()

    @contextmanager
    def committed(self: SqlStore) -> Iterator[Any]:
        with writing(self) as tx:
            yield tx
        pass_one()

    RuntimeClient.ask, haproxy_files._replace, SqlStore.writing = asked, written, committed  # type: ignore[method-assign]


def in_a_process_that_dies(world: World, boundary: int, work: Callable[[Resources], object]) -> bool:
    """Whether it died; False when it came to its end before."""
    if (child := os.fork()) == 0:
        code = 1
        try:
            res = replace(resources_of(world.proxy.folder, world.proxy), clock=world.res.clock)
            die_at(boundary)
            work(res)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def settle(world: World, res: Resources) -> None:
    """What the responder does every few seconds; the dead process's lease runs out meanwhile."""
    late = replace(res, clock=lambda: res.clock() + timedelta(minutes=2))
    for _ in range(2):
        keep_standing(late)
        promote_decided(late)
    with res.store.reading() as tx:
        assert intended(tx) is None
    assert world.in_force() == world.on_disk()


def test_a_promotion_that_is_killed_anywhere_is_finished(tmp_path: Path) -> None:
    """Between two promotions the limits are taken back; what was put in force twice would show as two entries."""
    with limited_shop(tmp_path) as world:
        ready = world.shadowed()
        world.res = ready
        fresh = world.version()
        boundary, died = 0, True
        while died:
            boundary += 1
            died = in_a_process_that_dies(world, boundary, lambda res: promote_threshold(res, "THR-1", "carol"))
            partly = world.in_force()
            assert partly in ({}, {name: str(n) for name, n in (fresh.clients or {}).items()}), "all of them or none"
            settle(world, ready)
            assert world.version().state is ThresholdState.ACTIVE and len(world.in_force()) == 4
            late = replace(ready, clock=lambda: ready.clock() + timedelta(minutes=4))
            revert_threshold(late, "THR-1", "dave", "again")
            assert world.in_force() == {}
            with ready.store.writing() as tx:
                tx.thresholds.put(fresh)
                tx.leases.delete("threshold clients:standing")
        assert boundary > 20


def test_a_revert_that_is_killed_anywhere_is_finished_or_has_not_begun(tmp_path: Path) -> None:
    with limited_shop(tmp_path) as world:
        ready = world.shadowed()
        world.res = ready
        waiting = world.version()
        boundary, died, finished = 0, True, 0
        while died:
            promote_decided(ready)
            assert world.version().state is ThresholdState.ACTIVE
            boundary += 1
            died = in_a_process_that_dies(world, boundary, lambda res: revert_threshold(res, "THR-1", "dave", "why"))
            late = replace(ready, clock=lambda: ready.clock() + timedelta(minutes=2))
            keep_standing(late)
            state = world.version().state
            assert (state, len(world.in_force())) in ((ThresholdState.ACTIVE, 4), (ThresholdState.REVERTED, 0))
            assert world.in_force() == world.on_disk()
            finished += state is ThresholdState.REVERTED
            if state is ThresholdState.ACTIVE:
                revert_threshold(replace(ready, clock=lambda: ready.clock() + timedelta(minutes=4)), "THR-1", "d", "x")
            with ready.store.writing() as tx:
                tx.thresholds.put(waiting)
                tx.leases.delete("threshold clients:standing")
        assert boundary > 12 and finished > 8
