"""Actuators as plugins: found by entry point, configured in actuators.yaml, and every mistake told with its place."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deployments.cli.check_secrets import check_secrets
from quell.adapters.actuators.plugins import open_actuators
from quell.config.config import Config
from quell.config.load import read_config
from quell.config.problem import ConfigError
from tasks.resources import open_resources

pytestmark = pytest.mark.unit

EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
ACTUATORS = """
actuators:
  alertmanager: {}
  flags:
    kind: http
    apply: https://flags.example/quell/apply
    undo: https://flags.example/quell/undo
    state: https://flags.example/quell/{target}
    secret: env:FLAGS_SECRET
    actions:
      disable:
        description: Turns a feature off.
        target: "[a-z-]+"
        params: {share: "[0-9]+"}
        expect: {enabled: "false"}
"""
LAMP = """
from quell.adapters.actuators.plugins import read_settings
from quell.config.schema import Model

class Settings(Model):
    room: str

class Lamp:
    def __init__(self, name, room):
        self.name, self.room = name, room
    def actions(self):
        return {"dim": "Dims the lamp."}
    def parameters(self):
        return {"dim": ("percent",)}

def make(name, settings, config):
    return Lamp(name, read_settings(Settings, settings).room)

def broken(name, settings, config):
    raise RuntimeError("no bulb")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copied = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    (copied / "actuators.yaml").write_text(ACTUATORS)
    return copied


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install a distribution of somebody else's, as pip leaves it: a module and its metadata on the path."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "lamp.py").write_text(LAMP)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "lamp", raising=False)

    def put(package: str, entries: str) -> None:
        info = site / f"{package}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[quell.actuators]\n{entries}\n")

    return put


def spoil(folder: Path, file: str, old: str, new: str) -> int:
    text = (folder / file).read_text()
    assert old in text, f"{old!r} is not in {file}"
    (folder / file).write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


def problems(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        open_actuators(read_config(folder))
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def with_step(folder: Path, step: str) -> None:
    spoil(folder, "playbooks/throttle-noisy-client.yaml", "steps:\n", f"steps:\n  - {step}\n")


def test_the_example_opens_and_haproxy_comes_by_its_socket_alone() -> None:
    assert list(open_actuators(read_config(EXAMPLE))) == ["haproxy", "configuration"]


def test_what_the_example_shows_in_comments_is_right_when_it_is_taken_in(folder: Path) -> None:
    text = (EXAMPLE / "actuators.yaml").read_text().replace("actuators: {}", "actuators:").replace("\n  # ", "\n  ")
    (folder / "actuators.yaml").write_text(text)
    assert list(open_actuators(read_config(folder))) == ["haproxy", "configuration", "alertmanager", "flags", "batch"]


def test_every_action_that_is_built_in_stands_in_the_documentation_with_its_own_sentence() -> None:
    documentation = (EXAMPLE.parents[1] / "docs" / "actuators.md").read_text()
    built_in = open_actuators(read_config(EXAMPLE)).values()
    rows = [line.strip("| ").split(" | ") for line in documentation.splitlines() if line.startswith("| `")]
    actions = {name: text for actuator in built_in for name, text in actuator.actions().items()}
    parameters = {name: list(given) for actuator in built_in for name, given in actuator.parameters().items()}
    assert {row[0].strip("`"): row[-1] for row in rows} == actions
    named = {row[0].strip("`"): re.findall(r"`([a-z_]+)`", row[-2]) for row in rows}
    assert named == parameters


def test_what_actuators_yaml_names_is_opened_without_reading_a_secret(folder: Path) -> None:
    """A machine without the secrets can check the configuration; nothing is contacted."""
    config = read_config(folder)
    assert list(open_actuators(config)) == ["haproxy", "configuration", "alertmanager", "flags"]
    assert [actuator.name for actuator in open_actuators(config).values()] == [
        "haproxy",
        "configuration",
        "alertmanager",
        "flags",
    ]


def test_a_process_has_the_same_actuators_among_its_resources(folder: Path, tmp_path: Path) -> None:
    spoil(folder, "quell.toml", "sqlite:///.quell/sandbox/quell.db", f"sqlite:///{tmp_path}/quell.db")
    assert list(open_resources(read_config(folder)).actuators) == ["haproxy", "configuration", "alertmanager", "flags"]


MISTAKES = {
    "unknown kind": (
        "kind: http", "kind: htpt",
        'actuators.flags.kind: kind "htpt" is not defined; did you mean "http"?; '
        "is the package that brings it installed beside Quell?",
    ),
    "unknown key": (
        "    secret: env:FLAGS", "    secrets: 1\n    secret: env:FLAGS",
        'actuators.flags.secrets: unknown key; did you mean "secret"?',
    ),
    "unknown key of an action": (
        '        target: "[a-z-]+"', '        tagret: x\n        target: "[a-z-]+"',
        'actuators.flags.actions.disable.tagret: unknown key; did you mean "target"?',
    ),
    "literal secret": (
        "secret: env:FLAGS_SECRET", "secret: hunter2",
        "actuators.flags.secret: holds a secret; write env:NAME or file:PATH, and keep the secret there",
    ),
    "bad pattern": (
        '{share: "[0-9]+"}', '{share: "[0-9"}',
        'actuators.flags.actions.disable.params.share: "[0-9" is not a regular expression of RE2: missing ]: [0-9',
    ),
    "placeholder": (
        '{enabled: "false"}', '{enabled: "{shaer}"}',
        "actuators.flags.actions.disable: expect names {shaer}, which is not defined (defined: target, share)",
    ),
    "bad name": (
        "  flags:", "  Flags:",
        "actuators.Flags: string should match pattern '^[a-z][a-z0-9_-]{0,63}$' (is 'Flags')",
    ),
    "haproxy": (
        "  alertmanager: {}", "  haproxy: {}",
        "actuators.haproxy: haproxy is configured in quell.toml, by connections.haproxy_socket: take it out here",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_file_line_and_key(folder: Path, mistake: str) -> None:
    old, new, text = MISTAKES[mistake]
    line = spoil(folder, "actuators.yaml", old, new)
    if mistake == "placeholder":  # what holds between two keys is told where both stand
        line = (folder / "actuators.yaml").read_text().split("disable:")[0].count("\n") + 1
    assert problems(folder) == [f"actuators.yaml:{line}: {text}"]


STEPS = {
    "{actuator: flags, action: disabel, target: search}": (
        'steps[0].action: action of actuator flags "disabel" is not defined; did you mean "disable"?'
    ),
    "{actuator: flags, action: disable, target: search}": "steps[0].params: action disable needs the parameter share",
    "{actuator: flag, action: disable, target: search}": (
        'steps[0].actuator: actuator "flag" is not defined; did you mean "flags"?'
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_playbook_that_asks_for_what_an_actuator_has_not_is_told(folder: Path, step: str) -> None:
    with_step(folder, step)
    (problem,) = problems(folder)
    assert problem.startswith("playbooks/throttle-noisy-client.yaml:") and problem.endswith(STEPS[step])


def test_a_plugin_of_somebody_else_is_found_by_its_entry_point(
    folder: Path, install: Callable[[str, str], None]
) -> None:
    install("acme-lamp", "lamp = lamp:make")
    (folder / "actuators.yaml").write_text("actuators:\n  hall:\n    kind: lamp\n    room: hall\n")
    with_step(folder, "{actuator: hall, action: dim, target: hall, params: {percent: 5}}")
    assert open_actuators(read_config(folder))["hall"].name == "hall"
    spoil(folder, "actuators.yaml", "room: hall", "romo: hall")
    assert problems(folder) == [
        "actuators.yaml:2: actuators.hall.room: is required and missing",
        'actuators.yaml:4: actuators.hall.romo: unknown key; did you mean "room"?',
    ]


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("lamp:nobody", "AttributeError: module 'lamp' has no attribute 'nobody'"),
        ("no_such_lamp:make", "ModuleNotFoundError: No module named 'no_such_lamp'"),
        ("lamp:broken", "RuntimeError: no bulb"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_named_with_its_package(
    folder: Path, install: Callable[[str, str], None], entry: str, why: str
) -> None:
    install("acme-lamp", f"lamp = {entry}")
    (folder / "actuators.yaml").write_text("actuators:\n  lamp: {}\n")
    assert problems(folder) == [
        f'actuators.yaml:2: actuators.lamp.kind: plugin "lamp" ({entry}, from acme-lamp 1.2) cannot be loaded: '
        f"{why}; repair or uninstall it"
    ]


def test_a_kind_that_two_packages_register_is_refused(folder: Path, install: Callable[[str, str], None]) -> None:
    """Whichever came first would move something in production."""
    install("acme-lamp", "lamp = lamp:make")
    install("other-lamp", "lamp = lamp:make")
    (folder / "actuators.yaml").write_text("actuators:\n  lamp: {room: hall}\n")
    (problem,) = problems(folder)
    assert "from acme-lamp 1.2" in problem and "from other-lamp 1.2" in problem
    assert problem.endswith(": uninstall all but one")


def test_an_alertmanager_that_is_named_nowhere_is_told(folder: Path) -> None:
    spoil(folder, "quell.toml", 'alertmanager = "http', '# alertmanager = "http')
    assert problems(folder) == [
        "actuators.yaml:3: actuators.alertmanager: url is missing, and so is connections.alertmanager in quell.toml: "
        "give one of them"
    ]


def test_a_secret_of_an_actuator_that_cannot_be_read_is_told_by_the_live_check(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLAGS_SECRET", raising=False)
    found = [f for f in check_secrets(read_config(folder)) if f.subject.startswith("actuators")]
    assert [(f.subject, f.is_ok) for f in found] == [("actuators.flags.secret", False)]
    assert "FLAGS_SECRET is not set" in found[0].text


def test_the_configuration_keeps_settings_out_of_its_repr(folder: Path) -> None:
    config: Config = read_config(folder)
    assert "flags.example" not in repr(config)
