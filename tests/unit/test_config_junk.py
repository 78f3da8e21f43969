"""Whatever stands in the files, the loader ends with a configuration or with problems that name a line."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from quell.config.load import read_config
from quell.config.problem import ConfigError, Problem

pytestmark = pytest.mark.unit

EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
FILES = sorted(path.relative_to(EXAMPLE).as_posix() for path in EXAMPLE.rglob("*.yaml"))
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=True) | st.text(max_size=5) | st.just("{a}"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=2),
    max_leaves=4,
)


def problems(folder: Path) -> tuple[Problem, ...]:
    """Anything but a ConfigError escapes and fails the test."""
    try:
        read_config(folder)
    except ConfigError as error:
        return error.problems
    return ()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    changed = value.copy()
    changed[path[0]] = replaced(value[path[0]], path[1:], junk)
    return changed


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_junk_anywhere_is_a_problem_with_a_line_and_never_a_crash(data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(FILES))
    content = yaml.safe_load((EXAMPLE / file).read_text())
    path = data.draw(st.sampled_from(places(content)))
    spoiled = yaml.safe_dump(replaced(content, path, data.draw(JUNK)), allow_unicode=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(EXAMPLE, Path(folder) / "config"))
        (copy / file).write_text(spoiled)
        assert all(problem.line >= 1 and problem.text for problem in problems(copy))


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="abkey=[]{}\"'.:,-#&*!|>% \n\t0123", max_size=60), st.sampled_from(["quell.toml", *FILES]))
def test_text_that_is_no_configuration_is_a_problem_and_never_a_crash(text: str, file: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(EXAMPLE, Path(folder) / "config"))
        (copy / file).write_text(text)
        assert all(problem.line >= 1 and problem.text for problem in problems(copy))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_junk_in_the_toml_file_is_a_problem_and_never_a_crash(data: st.DataObject) -> None:
    text = (EXAMPLE / "quell.toml").read_text()
    lines = [n for n, line in enumerate(text.splitlines()) if "=" in line and not line.startswith("#")]
    number = data.draw(st.sampled_from(lines))
    junk = data.draw(
        st.sampled_from(["1", "-1", "0.5", '"x"', "[]", "{}", "true", "nan", "1979-05-27", '["a", 1]', ""])
    )
    changed = text.splitlines()
    changed[number] = f"{changed[number].split('=')[0]}= {junk}"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(EXAMPLE, Path(folder) / "config"))
        (copy / "quell.toml").write_text("\n".join(changed))
        assert {problem.line for problem in problems(copy) if problem.file.endswith(".toml")} <= {number + 1}
