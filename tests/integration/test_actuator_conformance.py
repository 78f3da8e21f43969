"""Every actuator that Quell brings keeps every promise, on the real thing: HAProxy, HTTP, commands, Alertmanager."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from deployments.sandbox.trial_proxy import GREEN, TrialProxy
from quell.adapters.actuators.command import make_command
from quell.adapters.actuators.configuration import make_configuration
from quell.adapters.actuators.conformance import PROMISES, Promise, PromiseBroken, Trial
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.actuators.hook import make_hook
from quell.adapters.actuators.silence import make_silence
from quell.config.config import Config, Connections
from quell.incidents.mitigation import Step
from quell.incidents.service import Catalog, ConfigRepository, Instance, Service
from tests.alertmanager_server import alertmanager_server
from tests.hook_service import hook_service

pytestmark = pytest.mark.integration

SECRET = "only Quell and the hook know it"
NOWHERE = "http://127.0.0.1:1"
CATALOG = Catalog(
    services={
        "checkout": Service(name="checkout", team="shop", instances=(Instance(name="checkout-2", service="checkout"),))
    }
)
CONFIG = Config(folder=Path("/nowhere"), connections=Connections(store="", prometheus=""), catalog=CATALOG)
HAPROXY_STEPS = {
    "isolate": ("be_checkout/checkout-2", {}, "be_checkout/nobody"),
    "maint": ("be_checkout/checkout-2", {}, "be_checkout/nobody"),
    "weight": ("be_checkout/checkout-2", {"weight": 10}, "be_checkout/nobody"),
    "throttle": ("client:web", {"requests_per_second": 20}, "web"),
    "throttle_all": ("global", {"requests_per_second": 30}, "local"),
    "shed": ("global", {"per_mille": 300}, "local"),
    "adaptive": ("global", {"backend": "be_checkout", "latency_ms": 100, "floor_rps": 20}, "local"),
    "switch": ("route:shop", {"backend": GREEN}, "route:nobody"),
    "split": ("route:shop", {"backend": GREEN, "per_mille": 100}, "route:nobody"),
}


def hook_settings(url: str) -> dict[str, object]:
    action = {
        "description": "Turns a feature off for all but a share of its users.",
        "target": "[a-z/ ü-]+",
        "params": {"share": "[0-9]{1,3}"},
        "expect": {"enabled": "false", "share": "{share}"},
    }
    return {
        "apply": f"{url}/hooks/apply",
        "undo": f"{url}/hooks/undo",
        "state": f"{url}/flags/{{target}}",
        "secret": "env:QUELL_TEST_HOOK_SECRET",
        "actions": {"disable": action},
    }


UNITS = """
import pathlib, sys
verb, unit, *rest = sys.argv[1:]
file = pathlib.Path(unit)
if not pathlib.Path("up").exists():
    sys.exit(69)
if not file.is_file():
    print("no such unit", file=sys.stderr)
    sys.exit(67)
if verb == "state":
    print(f"level={file.read_text()}")
elif verb == "set":
    file.write_text(rest[0])
else:
    sys.exit(int(file.read_text() != rest[0]))
"""


def command_settings(folder: Path) -> dict[str, object]:
    """A program that keeps the level of units in files, and says in its exit codes what is wrong."""
    (folder / "unit.py").write_text(UNITS)
    run = [sys.executable, "unit.py"]
    action = {
        "description": "Sets the level of one unit.",
        "target": "[a-z]+",
        "params": {"level": "[0-9]"},
        "state": [*run, "state", "{target}"],
        "apply": [*run, "set", "{target}", "{level}"],
        "verify": [*run, "is", "{target}", "{level}"],
        "undo": [*run, "set", "{target}", "{before.level}"],
    }
    return {"folder": str(folder), "actions": {"set_level": action}}


def haproxy_trial(action: str) -> Callable[[ExitStack, Path], Trial]:
    target, params, unknown = HAPROXY_STEPS[action]

    def make(running: ExitStack, folder: Path) -> Trial:
        proxy = running.enter_context(TrialProxy(folder))
        actuator = HAProxyActuator(socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file)
        away = HAProxyActuator(socket=f"{folder}/nobody.sock", maps=None, state_file=None, timeout=timedelta(seconds=1))
        step = Step(actuator="haproxy", action=action, target=target, params=params)
        return Trial(actuator=actuator, step=step, unknown_target=unknown, away=away)

    return make


def hook_trial(running: ExitStack, folder: Path) -> Trial:
    running.enter_context(pytest.MonkeyPatch.context()).setenv("QUELL_TEST_HOOK_SECRET", SECRET)
    service = running.enter_context(hook_service(SECRET))
    return Trial(
        actuator=make_hook("flags", hook_settings(service.url), CONFIG),
        step=Step(actuator="flags", action="disable", target="a/b ü", params={"share": 5}, key="MIT-1/1"),
        unknown_target="nobody",
        away=make_hook("flags", hook_settings(NOWHERE), CONFIG),
        effects=lambda: dict(service.flags),
    )


def command_trial(running: ExitStack, folder: Path) -> Trial:
    (folder / "api").write_text("5")
    (folder / "up").touch()
    away = folder / "away"
    away.mkdir()
    return Trial(
        actuator=make_command("units", command_settings(folder), CONFIG),
        step=Step(actuator="units", action="set_level", target="api", params={"level": 2}),
        unknown_target="nobody",
        away=make_command("units", command_settings(away), CONFIG),
        effects=lambda: (folder / "api").read_text(),
    )


def silence_trial(running: ExitStack, folder: Path) -> Trial:
    url = running.enter_context(alertmanager_server(folder))

    def in_force() -> list[tuple[object, ...]]:
        silences = httpx.get(f"{url}/api/v2/silences", trust_env=False).json()
        return sorted((s["comment"], str(s["matchers"])) for s in silences if s["status"]["state"] == "active")

    return Trial(
        actuator=make_silence("alertmanager", {"url": url}, CONFIG),
        step=Step(actuator="alertmanager", action="silence", target="checkout-2", params={"duration": "1h"}),
        unknown_target="checkout-9",
        away=make_silence("alertmanager", {"url": NOWHERE}, CONFIG),
        effects=in_force,
    )


def configuration_trial(running: ExitStack, folder: Path) -> Trial:
    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=dana", "-c", "user.email=dana@example.org", *words]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=20).stdout

    git("init", "--quiet", "-b", "main")
    for text in ("timeout: 800\n", "timeout: 5\n"):
        (folder / "checkout-2.yaml").write_text(text)
        git("add", "checkout-2.yaml")
        git("commit", "--quiet", "-m", f"checkout-2: {text.strip()}")
    (folder / "running").write_text("timeout: 5\n")
    repository = ConfigRepository(
        path=str(folder),
        files={"checkout-2": "checkout-2.yaml"},
        validate=("grep", "-q", "timeout", "{file}"),
        reload=("cp", "{file}", "running"),
    )
    service = Service(name="checkout", team="shop", repository=repository)
    config = replace(CONFIG, catalog=Catalog(services={"checkout": service}))
    first = git("rev-parse", "HEAD~1").strip()
    return Trial(
        actuator=make_configuration("configuration", {}, config),
        step=Step(actuator="configuration", action="restore", target="checkout-2", params={"commit": first}),
        unknown_target="checkout-9",
        effects=lambda: ((folder / "checkout-2.yaml").read_text(), (folder / "running").read_text()),
    )


TRIALS: dict[str, Callable[[ExitStack, Path], Trial]] = {
    **{f"haproxy {action}": haproxy_trial(action) for action in HAPROXY_STEPS},
    "http": hook_trial,
    "command": command_trial,
    "alertmanager": silence_trial,
    "git": configuration_trial,
}


@pytest.fixture(scope="module", params=TRIALS)
def trial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """One real thing for all promises: each of them leaves it as it was. The key is new for each, as in production."""
    with ExitStack() as running:
        yield TRIALS[request.param](running, tmp_path_factory.mktemp("trial"))


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_every_actuator_keeps_every_promise(promise: Promise, trial: Trial) -> None:
    promise(replace(trial, step=replace(trial.step, key=f"{promise.__name__}/1")))


class Careless(HAProxyActuator):
    """What an actuator does that was never tried: it forgets the undo, and believes itself."""

    def verify(self, step: Step) -> bool:
        return True

    def undo(self, step: Step, state_before: object) -> None:
        pass

    def verify_undone(self, step: Step, state_before: object) -> bool:
        return True


def test_the_suite_finds_a_careless_actuator_out(tmp_path: Path) -> None:
    with TrialProxy(tmp_path) as proxy:
        careless = Careless(socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file)
        step = Step(actuator="haproxy", action="isolate", target="be_checkout/checkout-2")
        trial = Trial(actuator=careless, step=step, unknown_target="be_checkout/nobody")
        broken: list[str] = []
        for promise in PROMISES:
            try:
                promise(trial)
            except PromiseBroken:
                broken.append(promise.__name__)
    assert broken == [
        "describes_in_one_sentence_without_doing_it",
        "undo_restores_the_state_before",
        "undoing_twice_is_harmless",
        "undo_without_apply_is_harmless",
    ]
