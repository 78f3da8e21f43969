"""How the tests are shared between workers, on real ones: a small tree of tests that write down when they ran."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import lanes

pytestmark = pytest.mark.integration
TREE = Path(__file__).parents[2]
_CONFTEST = """
import json, os, sys, time
from pathlib import Path
import pytest

sys.path.insert(0, {tree!r})
from tests import lanes

lanes.ALONE, lanes.LONG, lanes.TOGETHER = {alone}, {long}, {together}
DYING = Path("dying")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    lanes.shorten_folder(config)


def pytest_xdist_make_scheduler(config, log):
    return lanes.Lanes(config, log)


@pytest.fixture(autouse=True)
def written_down(request):
    began = time.time()
    yield
    line = [request.node.path.name, os.environ["PYTEST_XDIST_WORKER"], began, time.time()]
    with open("diary", "a") as diary:
        diary.write(json.dumps(line) + "\\n")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        lanes.fail_if_left_undone(session)
    elif DYING.exists():
        DYING.unlink()
        os._exit(9)
"""
_TESTS = """
import time, pytest
@pytest.mark.parametrize("n", range({count}))
def test_it(n):
    time.sleep({seconds})
"""


class Ran:
    """One run of files, each with its number of tests and the seconds that one of them takes."""

    def __init__(
        self,
        folder: Path,
        files: dict[str, tuple[int, float]],
        alone: tuple[str, ...] = (),
        long: tuple[str, ...] = (),
        together: tuple[str, ...] = (),
        workers: int = 2,
        arguments: tuple[str, ...] = (),
    ) -> None:
        (folder / "pytest.ini").write_text("[pytest]\n")
        conftest = _CONFTEST.format(tree=str(TREE), alone=alone, long=long, together=together)
        (folder / "conftest.py").write_text(conftest)
        for name, (count, seconds) in files.items():
            (folder / name).write_text(_TESTS.format(count=count, seconds=seconds))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "xdist", "-n", str(workers)]
        command += ["--max-worker-restart=0", *arguments]
        env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        for name in [name for name in env if name.startswith("PYTEST_XDIST")]:
            del env[name]  # this test is itself run by a worker
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False)
        self.code, self.said = done.returncode, done.stdout + done.stderr
        diary = folder / "diary"
        self.tests = [json.loads(line) for line in diary.read_text().splitlines()] if diary.exists() else []

    def of(self, *files: str) -> list[list[float]]:
        return sorted(times for name, _, *times in self.tests if name in files)

    def workers(self, *files: str) -> set[str]:
        return {worker for name, worker, *_ in self.tests if name in files}


def overlap(one: list[list[float]], other: list[list[float]]) -> bool:
    return any(a < d and c < b for a, b in one for c, d in other)


SHARED = {"test_a.py": (6, 0.1), "test_b.py": (6, 0.1), "test_c.py": (4, 0.1), "test_d.py": (1, 1.5)}
ALONE = {"test_too.py": (3, 0.05), "test_alone.py": (9, 0.05)}  # in this order, whatever their numbers


def test_two_workers_share_the_files_and_what_measures_time_runs_when_all_else_has_ended(tmp_path: Path) -> None:
    ran = Ran(tmp_path, {**ALONE, **SHARED}, alone=tuple(ALONE), long=("test_d.py",))
    assert ran.code == 0 and len(ran.tests) == 17 + 12, ran.said
    assert ran.workers(*SHARED) == {"gw0", "gw1"} and all(len(ran.workers(file)) == 1 for file in SHARED)
    assert overlap(ran.of("test_d.py"), ran.of("test_a.py", "test_b.py")), "what takes long is begun first"
    assert max(end for _, end in ran.of(*SHARED)) <= min(begin for begin, _ in ran.of(*ALONE))
    assert len(ran.workers(*ALONE)) == 1
    assert max(end for _, end in ran.of("test_too.py")) <= min(begin for begin, _ in ran.of("test_alone.py"))


SLOW = {"test_slow1.py": (2, 0.6), "test_slow2.py": (2, 0.6)}
TOGETHER = {"test_with1.py": (2, 0.2), "test_with2.py": (9, 0.05), "test_with3.py": (1, 0.5)}  # in this order too
SHORT = {f"test_short{n}.py": (3, 0.15) for n in range(8)}


@pytest.mark.parametrize("workers", [2, 3])
def test_what_shares_one_thing_runs_in_one_worker_which_has_ended_before_time_is_measured(
    tmp_path: Path, workers: int
) -> None:
    """The whole of `quell up` lives as long as its worker."""
    files = {**SHORT, **ALONE, **TOGETHER, **SLOW}
    ran = Ran(tmp_path, files, tuple(ALONE), tuple(SLOW), together=tuple(TOGETHER), workers=workers)
    assert ran.code == 0 and len(ran.tests) == 4 + 12 + 24 + 12, ran.said
    assert len(ran.workers(*files)) == workers and len(ran.workers(*TOGETHER)) == 1
    ends = [max(end for _, end in ran.of(file)) for file in TOGETHER]
    assert ends == sorted(ends)
    if workers > 2:
        assert overlap(ran.of(*TOGETHER), ran.of(*SHORT)), "the others work on meanwhile"
    last = [name for name, worker, *_ in ran.tests if {worker} == ran.workers(*TOGETHER)][-1]
    assert last == "test_with3.py", "what it shared ends with the worker"
    assert max(end for _, end in ran.of(*SLOW, *TOGETHER, *SHORT)) <= min(begin for begin, _ in ran.of(*ALONE))
    assert len(ran.workers(*ALONE)) == 1 and ran.workers(*ALONE) != ran.workers(*TOGETHER)


def test_files_that_measure_time_run_one_after_another_when_only_they_are_asked_for(tmp_path: Path) -> None:
    ran = Ran(tmp_path, {**ALONE, **SHARED}, alone=tuple(ALONE), arguments=tuple(ALONE))
    assert ran.code == 0 and len(ran.tests) == 12 and len(ran.workers(*ALONE)) == 1, ran.said


def test_a_worker_that_dies_in_a_test_fails_the_run_by_the_name_of_that_test(tmp_path: Path) -> None:
    (tmp_path / "test_dies.py").write_text("import os\n\ndef test_it():\n    os._exit(9)\n")
    ran = Ran(tmp_path, {**SHARED, **ALONE}, alone=tuple(ALONE), long=("test_dies.py",))
    assert ran.code == 1 and "crashed while running 'test_dies.py::test_it'" in ran.said, ran.said


def test_a_worker_that_dies_between_two_tests_fails_the_run_too(tmp_path: Path) -> None:
    """No test failed; those that nobody ran any more are the failure."""
    (tmp_path / "dying").touch()
    alone = {"test_too.py": (12, 0.4), "test_alone.py": (1, 0.0)}  # its death is noticed long before the second's turn
    ran = Ran(tmp_path, {**SHARED, **alone}, alone=tuple(alone))
    assert ran.code == pytest.ExitCode.INTERNAL_ERROR and "test_alone.py" not in {name for name, *_ in ran.tests}
    assert re.search("a worker died and nobody was left to run test_alone.py", ran.said), ran.said


def test_a_selection_of_nothing_is_an_error(tmp_path: Path) -> None:
    assert Ran(tmp_path, SHARED, arguments=("-k", "nowhere")).code == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_workers_folders_are_hardly_deeper_than_those_of_one_process(tmp_path: Path) -> None:
    """With `popen-gw0` in it the path of HAProxy's socket was too long in some tests, in a worker only."""
    (tmp_path / "test_folder.py").write_text("def test_it(tmp_path):\n    assert tmp_path.parent.name in ('0', '1')\n")
    ran = Ran(tmp_path, SHARED)
    assert ran.code == 0 and "18 passed" in ran.said, ran.said


def test_every_file_that_is_named_exists() -> None:
    named = [*lanes.LONG, *lanes.TOGETHER, *lanes.ALONE]
    assert [file for file in named if not (TREE / file).is_file()] == []
    assert len(named) == len(set(named)), "a file has one place"
