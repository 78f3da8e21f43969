"""A shop in which drills are held: the sandbox, `quell up`, short times between incidents, and people who approve."""

import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pyotp.totp import TOTP

from benchmarks.running_shop import fit_baselines, quell_up
from deployments.sandbox.layout import find_base_port
from deployments.sandbox.sandbox import Sandbox
from quell.config.load import load_config
from quell.incidents.drill import Drill
from quell.incidents.errors import QuellError, Refused
from quell.incidents.fix import FixState
from quell.incidents.mitigation import MitigationState
from tasks.approval import decide
from tasks.drill import Patience, ground_of, look_for_steady_state, run_drill
from tasks.question import question_about
from tasks.resources import Resources, open_resources

Parameters = Mapping[str, str | float | bool]
# The only time of a row of drills that is surely normal: suspects are ranked by metrics beside it, and leave a minute
# before an onset out.
_CALM_SECONDS = 180
_STEADY_SECONDS = 240
_APPROVERS = ("bob", "alice")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillingShop:
    """`res` opens what `quell up` works on."""

    res: Resources
    sandbox: Sandbox

    def hold(self, fault: str, parameters: Parameters) -> Drill | None:
        """One drill, with its scorecard printed; None where the world did not come to rest before it."""
        ground, deadline = ground_of(self.res), time.monotonic() + _STEADY_SECONDS
        while (reasons := look_for_steady_state(self.res, ground)) and time.monotonic() < deadline:
            time.sleep(2)
        try:
            drill = run_drill(self.res, ground, fault, parameters, "benchmark", patience=Patience())
        except Refused as error:
            print(f"{fault}: {error} ({'; '.join(reasons)})", flush=True)
            return None
        print(drill.sentence, flush=True)
        for part, said in drill.parts.items():
            print(f"   {part:10} {said.mark:9} {said.seconds or '':6.6} {said.words[:140]}", flush=True)
        return drill


@contextmanager
def drilling_shop() -> Iterator[DrillingShop]:
    with tempfile.TemporaryDirectory(prefix="qd-") as name:
        folder, base = Path(name), find_base_port()
        with Sandbox(folder / "shop", base_port=base) as sandbox:
            _configure(sandbox.config_folder)
            began = time.monotonic()
            with quell_up(sandbox, folder, base):
                time.sleep(max(_CALM_SECONDS - (time.monotonic() - began), 0))
                fit_baselines(base)
                res = open_resources(load_config(sandbox.config_folder))
                try:
                    with _approving(res, sandbox.layout.secrets):
                        yield DrillingShop(res=res, sandbox=sandbox)
                finally:
                    res.store.close()


def _configure(config: Path) -> None:
    """Short times between two incidents: with the example's, thirty drills would take a day."""
    routing = config / "routing.yaml"
    text = routing.read_text().replace("window: 10m", "window: 20s").replace("reopen: 5m", "reopen: 1s")
    routing.write_text(text.replace("quiet: 2m", "quiet: 20s").replace("after_change: 10m", "after_change: 20s"))
    for book in (config / "playbooks").glob("*.yaml"):
        text = re.sub(r"cooldown: \w+", "cooldown: 1s", book.read_text())
        book.write_text(re.sub(r"per_hour: \d+", "per_hour: 100", text))
    toml = config / "quell.toml"
    toml.write_text(toml.read_text().replace("per_hour = 20", "per_hour = 1000"))


@contextmanager
def _approving(res: Resources, secrets: Path) -> Iterator[None]:
    is_over = threading.Event()
    answered: set[str] = set()

    def approve() -> None:
        while not is_over.wait(1):
            with suppress(QuellError):
                _approve_all(res, secrets, answered)

    thread = threading.Thread(target=approve)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _approve_all(res: Resources, secrets: Path, answered: set[str]) -> None:
    """`answered` are the ids of those that wait for nobody any more; they are added to."""
    with res.store.reading() as tx:
        waiting = [m.id for m in tx.mitigations.find({"state": MitigationState.AWAITING_APPROVAL})]
        waiting += [fix.id for fix in tx.fixes.find({"state": FixState.VALIDATED})]
        questions = [question_about(res, tx, id) for id in waiting if id not in answered]
    for question in questions:
        for person in _APPROVERS:
            code = TOTP((secrets / f"{person}.totp").read_text().strip()).at(datetime.now(UTC))
            try:
                decide(
                    res,
                    subject=question.subject,
                    plan_hash=question.plan_hash,
                    person=person,
                    code=code,
                    answer="approve",
                    comment="benchmark",
                    channel="cli",
                )
            except Refused as error:  # a code counts once: then again in a second
                if error.rule == "open question":
                    answered.add(question.subject)
                    break
