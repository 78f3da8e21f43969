"""Drills in a row over all faults of the sandbox: how the whole path deals with each, scored by `quell drill` itself.

`python -m benchmarks.drills [--times N] [--faults a,b] [--json]`

Everything is real: HAProxy, Prometheus, Alertmanager, the shop, `quell up`. Approvals are given as people give them,
with a one-time code, by a thread that looks for questions. The sandbox's configuration is the example's, but for the
times between two incidents: one is over after 20 s of quiet, alerts more than 20 s apart are not related, and a target
may be mitigated again at once; otherwise thirty drills would take a day.
"""

import re
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pyotp.totp import TOTP

from benchmarks.report import parser, print_json, print_table
from benchmarks.running_shop import fit_baselines, quell_up
from benchmarks.shop_containment import CALM_SECONDS
from deployments.sandbox.layout import find_base_port
from deployments.sandbox.sandbox import Sandbox
from quell.config.load import load_config
from quell.incidents.drill import Drill, Mark
from quell.incidents.errors import QuellError, Refused
from quell.incidents.mitigation import MitigationState
from tasks.approval import decide
from tasks.drill import Patience, ground_of, look_for_steady_state, run_drill
from tasks.resources import Resources, open_resources

# Two instances where one can be struck: what is struck again has had time to be forgotten.
STRIKES: Sequence[tuple[str, dict[str, str | float | bool]]] = (
    ("errors", {"instance": "checkout-2"}),
    ("noisy-client", {}),
    ("latency", {"instance": "catalog-1"}),
    ("bad-config", {"instance": "checkout-3"}),
    ("surge", {}),
    ("errors", {"instance": "checkout-1", "share": 0.9}),
    ("cpu", {"instance": "payment-1"}),
    ("dependency-down", {"service": "payment"}),
)
_STEADY_SECONDS = 240
_APPROVERS = ("bob", "alice")


def run(times: int, only: Sequence[str] = ()) -> dict[str, Any]:
    strikes = [strike for strike in STRIKES if not only or strike[0] in only]
    with tempfile.TemporaryDirectory(prefix="qd-") as name:
        folder, base = Path(name), find_base_port()
        with Sandbox(folder / "shop", base_port=base) as sandbox:
            _configure(sandbox.config_folder)
            began = time.monotonic()
            with quell_up(sandbox, folder, base):
                time.sleep(max(CALM_SECONDS - (time.monotonic() - began), 0))
                fit_baselines(base)
                res = open_resources(load_config(sandbox.config_folder))
                with _approving(res, sandbox.layout.secrets):
                    drills = [_hold(res, *strikes[n % len(strikes)]) for n in range(times)]
                res.store.close()
    return _figures([drill for drill in drills if drill is not None], times)


def _configure(config: Path) -> None:
    routing = config / "routing.yaml"
    text = routing.read_text().replace("window: 10m", "window: 20s").replace("reopen: 5m", "reopen: 1s")
    routing.write_text(text.replace("quiet: 2m", "quiet: 20s").replace("after_change: 10m", "after_change: 20s"))
    for book in (config / "playbooks").glob("*.yaml"):
        text = re.sub(r"cooldown: \w+", "cooldown: 1s", book.read_text())
        book.write_text(re.sub(r"per_hour: \d+", "per_hour: 100", text))
    toml = config / "quell.toml"
    toml.write_text(toml.read_text().replace("per_hour = 20", "per_hour = 1000"))


def _hold(res: Resources, fault: str, parameters: dict[str, str | float | bool]) -> Drill | None:
    """None where the world did not come to rest before it."""
    ground, deadline = ground_of(res), time.monotonic() + _STEADY_SECONDS
    while (reasons := look_for_steady_state(res, ground)) and time.monotonic() < deadline:
        time.sleep(2)
    try:
        drill = run_drill(res, ground, fault, parameters, "benchmark", patience=Patience())
    except Refused as error:
        print(f"{fault}: {error} ({'; '.join(reasons)})", flush=True)
        return None
    print(drill.sentence, flush=True)
    for part, said in drill.parts.items():
        print(f"   {part:10} {said.mark:9} {said.seconds or '':6.6} {said.words[:140]}", flush=True)
    return drill


@contextmanager
def _approving(res: Resources, secrets: Path) -> Iterator[None]:
    is_over = threading.Event()

    def approve() -> None:
        while not is_over.wait(1):
            with suppress(QuellError):
                _approve_all(res, secrets)

    thread = threading.Thread(target=approve)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _approve_all(res: Resources, secrets: Path) -> None:
    with res.store.reading() as tx:
        waiting = tx.mitigations.find({"state": MitigationState.AWAITING_APPROVAL})
    for mitigation in waiting:
        for person in _APPROVERS:
            code = TOTP((secrets / f"{person}.totp").read_text().strip()).at(datetime.now(UTC))
            with suppress(Refused):  # a code counts once, and one person may be enough
                decide(
                    res,
                    subject=mitigation.id,
                    plan_hash=mitigation.plan_hash,
                    person=person,
                    code=code,
                    answer="approve",
                    comment="benchmark",
                    channel="cli",
                )


def _figures(drills: Sequence[Drill], asked: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"drills": len(drills), "asked": asked, "aborted": sum(bool(d.aborted) for d in drills)}
    for part in drills[0].parts if drills else ():
        marks = [drill.parts[part].mark for drill in drills if drill.parts[part].mark is not Mark.NOT_ASKED]
        figures[part] = f"{sum(mark is Mark.YES for mark in marks)} of {len(marks)}"
        seconds = [s for drill in drills if (s := drill.parts[part].seconds) is not None]
        if seconds:
            figures[f"{part}_median_s"], figures[f"{part}_worst_s"] = float(np.median(seconds)), max(seconds)
    figures["failed"] = [drill.sentence for drill in drills if not drill.is_passed]
    return figures


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--times", type=int, default=30)
    asked.add_argument("--faults", default="", help="only these, with commas between")
    options = asked.parse_args()
    figures = run(options.times, [name for name in options.faults.split(",") if name])
    if options.json:
        print_json(figures)
        return
    print_table("drills", ("figure", "value"), [(name.replace("_", " "), value) for name, value in figures.items()])


if __name__ == "__main__":
    main()
