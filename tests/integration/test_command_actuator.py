"""The command runner's own promises: an allow-list, no shell, no option smuggled in, a limit, short texts."""

import sys
from pathlib import Path
from typing import Any

import pytest

from quell.adapters.actuators.command import CommandActuator, CommandFailed, make_command
from quell.adapters.actuators.plugins import InvalidSettings
from quell.config.config import Config, Connections
from quell.incidents.errors import InvalidInput, QuellError, Unavailable
from quell.incidents.mitigation import Step

pytestmark = pytest.mark.integration


def python(code: str, *words: str) -> list[str]:
    return [sys.executable, "-c", code, *words]


def make(folder: Path, *, timeout: str = "10s", **more: Any) -> CommandActuator:
    """An action whose `apply` writes its words, one on a line, into the file `said`."""
    action: dict[str, Any] = {
        "description": "Writes down what it was given.",
        "target": ".+",
        "params": {"reason": ".*"},
        "state": python("print('level=5')"),
        "apply": python("import sys; open('said', 'w').write('\\n'.join(sys.argv[1:]))", "{target}", "--why={reason}"),
        "verify": python("pass"),
        "undo": python("pass", "{before.level}"),
    }
    settings = {"folder": str(folder), "timeout": timeout, "actions": {"note": {**action, **more}}}
    return make_command("ops", settings, Config(folder=folder, connections=Connections(store="", prometheus="")))


def step(target: str = "api", reason: str = "x") -> Step:
    return Step(actuator="ops", action="note", target=target, params={"reason": reason}, key="MIT-7/1")


@pytest.mark.parametrize(
    "evil", ["a; touch pwned", "$(touch pwned)", "`touch pwned`", "a b", "{reason}", "a|b>c", "'\"", "*"]
)
def test_no_shell_ever_reads_a_value(tmp_path: Path, evil: str) -> None:
    make(tmp_path).apply(step(evil, evil))
    assert (tmp_path / "said").read_text() == f"{evil}\n--why={evil}"
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("evil", ["--force", "-rf", "-"])
def test_a_value_never_becomes_an_option(tmp_path: Path, evil: str) -> None:
    with pytest.raises(InvalidInput, match="would read as an option"):
        make(tmp_path).apply(step(evil))
    assert not (tmp_path / "said").exists()


@pytest.mark.parametrize("evil", ["a\nb", "a\0b", "x" * 1001])
def test_a_value_that_no_line_could_show_is_refused(tmp_path: Path, evil: str) -> None:
    with pytest.raises(InvalidInput, match="printable"):
        make(tmp_path).apply(step(evil))


def test_a_pattern_must_match_the_whole_value(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"target is 'api-1x', it must match api-\[0-9\]"):
        make(tmp_path, target="api-[0-9]").apply(step("api-1x"))


@pytest.mark.parametrize(
    ("code", "kind"), [(64, InvalidInput), (67, InvalidInput), (69, Unavailable), (75, Unavailable), (1, CommandFailed)]
)
def test_exit_codes_say_what_to_do_next(tmp_path: Path, code: int, kind: type[QuellError]) -> None:
    fails = python(f"import sys; print('y' * 5000); print('because', file=sys.stderr); sys.exit({code})")
    with pytest.raises(kind, match=f"exits {code} on note of 'api': .*because") as caught:
        make(tmp_path, apply=fails).apply(step())
    assert type(caught.value) is kind and len(str(caught.value)) < 500


def test_verify_takes_one_for_no_and_anything_else_for_trouble(tmp_path: Path) -> None:
    assert not make(tmp_path, verify=python("raise SystemExit(1)")).verify(step())
    with pytest.raises(CommandFailed, match="exits 2"):
        make(tmp_path, verify=python("raise SystemExit(2)")).verify(step())


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    hangs = python("import subprocess, sys, time; subprocess.Popen(['sleep', '60']); time.sleep(60)")
    with pytest.raises(Unavailable, match=r"longer than 0\.3 s and was killed"):
        make(tmp_path, timeout="300ms", apply=hangs).apply(step())


def test_an_undo_that_could_not_be_filled_in_is_found_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="the state has no 'levle'"):
        make(tmp_path, undo=python("pass", "{before.levle}")).read_state(step())
    with pytest.raises(InvalidInput, match="would read as an option"):
        make(tmp_path, state=python("print('level=-rf')")).read_state(step())


@pytest.mark.parametrize("printed", ["'no equals sign'", "'a=' + 'x' * 2000", '"a=1\\n" * 101', "'a=\\x1b[2J'"])
def test_a_state_that_is_too_long_or_no_state_is_refused(tmp_path: Path, printed: str) -> None:
    with pytest.raises(InvalidInput, match="printed"):
        make(tmp_path, state=python(f"print({printed})")).read_state(step())


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"apply": ["{target}"]}, "must name its program outright"),
        ({"apply": ["true", "{traget}"]}, "apply names {traget}, which is not defined"),
        ({"apply": ["true", "{before.level}"]}, "apply names {before.level}"),
        ({"apply": []}, "at least 1 item"),
        ({"target": "("}, "is not a regular expression"),
        ({"shell": "rm -rf /"}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_they_are_read(
    tmp_path: Path, more: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidSettings, match=says):
        make(tmp_path, **more)


def test_a_doubled_brace_is_a_brace(tmp_path: Path) -> None:
    """`kubectl -o jsonpath={.spec}` and awk have braces of their own."""
    state = python("import sys; print('path=' + sys.argv[1])", "{{.spec.{target}}}")
    assert make(tmp_path, state=state, undo=python("pass")).read_state(step()) == {"path": "{.spec.api}"}


def test_the_steps_key_reaches_the_command(tmp_path: Path) -> None:
    writes = python(
        "import os, sys; open('key', 'w').write(os.environ['QUELL_IDEMPOTENCY_KEY'] + sys.argv[1])", "{key}"
    )
    make(tmp_path, apply=writes).apply(step())
    assert (tmp_path / "key").read_text() == "MIT-7/1MIT-7/1"
