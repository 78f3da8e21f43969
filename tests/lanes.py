"""Three workers share the tests, file by file; what measures time has the machine to itself at the end."""

from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

# Begun first, so that the workers end at about the same time: what is left for two of them while the third one is busy
# with TOGETHER takes about as long as that.
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
    "tests/integration/test_sweeper.py",
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
    "tests/integration/test_review_export.py",
    "tests/browser/test_postmortem_page.py",
    "tests/faults/test_intake_slow_disk.py",
    "tests/integration/test_intake_wire.py",
    "tests/faults/test_intake_refuses.py",
    "tests/integration/test_attacks.py",
    "tests/integration/test_store_concurrency.py",
    "tests/integration/test_notify.py",
    "tests/integration/test_sign_in.py",
    "tests/integration/test_bisect.py",
    "tests/integration/test_anomalies.py",
    "tests/integration/test_adaptive.py",
    "tests/integration/test_standing_limits.py",
)

# They need the whole of `quell up`, which works on while they wait for a page or for a process to come back: one worker
# runs them when the long ones are begun, and ends with them, and so does `quell up`.
TOGETHER: tuple[str, ...] = (
    "tests/browser/test_prefect_ui.py",
    "tests/browser/test_fix_page.py",
    "tests/scenarios/test_running.py",
)

# They hold a pace, a rate of events and a hot loop to limits of seconds.
ALONE: tuple[str, ...] = (
    "tests/integration/test_sweeper_pace.py",
    "tests/faults/test_kill_intake.py",
    "tests/integration/test_sandbox.py",
)


class Lanes(LoadFileScheduling):
    """A file's tests run one after another in one worker, and so do the files of TOGETHER; those of ALONE begin when
    only one worker is left."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self._together: WorkerController | None = None

    def remove_node(self, node: WorkerController) -> str | None:
        crashed_in = super().remove_node(node)
        for other in self.nodes:
            if self.workqueue:
                self._reschedule(other)  # it may have waited for this one to end
        return crashed_in

    def _assign_work_unit(self, node: WorkerController) -> None:
        others = [other for other in self.nodes if other is not node]
        files = [file for file in self.workqueue if not others or self._is_for(file, node)]
        file = min(files, key=self._turn, default=None)
        if file is None or (file in ALONE and any(self._may_run_alone(other) for other in others)):
            node.shutdown()
        elif file not in ALONE or not others:
            if file in TOGETHER:
                self._together = node
            self.workqueue.move_to_end(file, last=False)
            super()._assign_work_unit(node)

    def _is_for(self, file: str, node: WorkerController) -> bool:
        if self._together not in self.nodes:
            return True
        return (file in TOGETHER) == (node is self._together)

    def _may_run_alone(self, node: WorkerController) -> bool:
        return node is not self._together and not node.shutting_down

    def _turn(self, file: str) -> tuple[int, int, int]:
        rest = 2 if self.numnodes > 2 else 1  # the only other worker shall not be left with all of it
        for lane, order in ((0, LONG), (3 - rest, TOGETHER), (3, ALONE)):
            if file in order:
                return lane, order.index(file), 0
        return rest, 0, -len(self.workqueue[file])


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
