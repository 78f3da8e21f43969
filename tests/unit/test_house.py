"""The house keeps its shape: imports run one way, the phases are pure, no drawer is called utils."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
TREE = Path(__file__).resolve().parents[2]
PURE = ("incidents", "detection", "triage", "response", "resolution", "prevention")
IMPURE_CALLS = {"now", "utcnow", "today", "open", "getenv", "read_text", "write_text", "monotonic", "perf_counter"}


def pure_files() -> Iterator[Path]:
    for phase in PURE:
        yield from (TREE / "quell" / phase).rglob("*.py")


def impure_calls(source: str) -> list[str]:
    """Calls of the clock, files or the environment that need no import of a forbidden module."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in IMPURE_CALLS:
                found.append(f"line {node.lineno}: {name}()")
    return found


def test_every_import_contract_holds() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", sorted(pure_files()), ids=lambda path: str(path.relative_to(TREE)))
def test_the_phases_ask_no_clock_file_or_environment(path: Path) -> None:
    assert impure_calls(path.read_text()) == []


def test_the_purity_check_sees_a_clock() -> None:
    assert impure_calls("from datetime import datetime\nx = datetime.now()") == ["line 2: now()"]


def test_no_module_is_a_drawer() -> None:
    banned = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    folders = ("quell", "tasks", "flows", "deployments", "benchmarks", "tests")
    names = [path for folder in folders for path in (TREE / folder).rglob("*.py") if path.stem in banned]
    assert names == []


def test_tests_are_no_package() -> None:
    """`tests/tasks/__init__.py` would hide our `tasks` package from pytest."""
    assert list((TREE / "tests").rglob("__init__.py")) == []
