"""Two workers share the tests, file by file; what measures time has the machine to itself at the end."""

from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

# Begun first, so that both workers end at about the same time.
LONG: tuple[str, ...] = (
    "tests/faults/test_kill_boundaries.py",
    "tests/faults/test_world_falls_over.py",
    "tests/integration/test_flows_response.py",
    "tests/faults/test_kill_colours.py",
    "tests/integration/test_dask.py",
    "tests/integration/test_blue_green.py",
    "tests/faults/test_kill_standing.py",
    "tests/integration/test_check_live.py",
    "tests/integration/test_standing_limits_shop.py",
    "tests/integration/test_weekly.py",
    "tests/browser/test_signed_in_pages.py",
    "tests/integration/test_attacks_prefect.py",
    "tests/faults/test_kill_fix.py",
    "tests/faults/test_kill_pilot.py",
    "tests/integration/test_pilot.py",
    "tests/integration/test_demo_closing.py",
    "tests/faults/test_kill_mitigate.py",
    "tests/faults/test_kill_adaptive.py",
    "tests/faults/test_prefect_dies.py",
    "tests/integration/test_store_concurrency.py",
)

# The first three hold a pace, a rate of events and a hot loop to limits of seconds; the others need the whole of
# `quell up`, which works on while they wait for a page or for a process to come back.
ALONE: tuple[str, ...] = (
    "tests/integration/test_sweeper.py",
    "tests/faults/test_kill_intake.py",
    "tests/integration/test_sandbox.py",
    "tests/browser/test_prefect_ui.py",
    "tests/browser/test_fix_page.py",
    "tests/scenarios/test_running.py",
)


class Lanes(LoadFileScheduling):
    """A file's tests run one after another in one worker; the files of ALONE begin when only one worker is left."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        file = min(self.workqueue, key=self._turn)
        if file in ALONE and self._must_wait(node):
            return
        self.workqueue.move_to_end(file, last=False)
        super()._assign_work_unit(node)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        for other in self.nodes:
            if self.workqueue and other is not node:
                self._reschedule(other)  # it may have waited for this one

    def _turn(self, file: str) -> tuple[bool, int, int]:
        order = ALONE if file in ALONE else LONG
        place = order.index(file) if file in order else len(order)
        return file in ALONE, place, -len(self.workqueue[file])

    def _must_wait(self, node: WorkerController) -> bool:
        others = [other for other in self.nodes if other is not node]
        if any(not other.shutting_down for other in others):
            node.shutdown()  # the last one that is left runs them
            return True
        return any(self._pending_of(self.assigned_work[other]) for other in others)


def shorten_folder(config: pytest.Config) -> None:
    """A worker's folders are in `.../pytest-1/0` and not in `.../pytest-1/popen-gw0`.

    Unix sockets are in them, whose whole path may have 107 bytes.
    """
    worker = getattr(config, "workerinput", {}).get("workerid")
    if worker and config.option.basetemp:
        config.option.basetemp = str(Path(config.option.basetemp).with_name(worker.removeprefix("gw")))


def fail_if_left_undone(session: pytest.Session) -> None:
    """A run that ended because a worker died between two tests has no failed test: what nobody ran is the failure."""
    scheduler = getattr(session.config.pluginmanager.get_plugin("dsession"), "sched", None)
    if isinstance(scheduler, Lanes) and scheduler.workqueue and session.exitstatus == pytest.ExitCode.OK:
        files = ", ".join(sorted(scheduler.workqueue))
        session.config.get_terminal_writer().line(f"\na worker died and nobody was left to run {files}", red=True)
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
