"""Drills in a row over all faults of the sandbox: how the whole path deals with each, scored by `quell drill` itself.

`python -m benchmarks.drills [--times N] [--faults a,b] [--json]`

Everything is real: HAProxy, Prometheus, Alertmanager, the shop, `quell up`. Approvals are given as people give them,
with a one-time code, by a thread that looks for questions. The sandbox's configuration is the example's, but for the
times between two incidents: one is over after 20 s of quiet, alerts more than 20 s apart are not related, and a target
may be mitigated again at once; otherwise thirty drills would take a day.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.drilling_shop import Parameters, drilling_shop
from benchmarks.report import parser, print_json, print_table
from quell.incidents.drill import Drill, Mark

# Two instances where one can be struck: what is struck again has had time to be forgotten.
STRIKES: Sequence[tuple[str, Parameters]] = (
    ("errors", {"instance": "checkout-2"}),
    ("noisy-client", {}),
    ("latency", {"instance": "catalog-1"}),
    ("bad-config", {"instance": "checkout-3"}),
    ("surge", {}),
    ("errors", {"instance": "checkout-1", "share": 0.9}),
    ("cpu", {"instance": "payment-1"}),
    ("misconfiguration", {"instance": "checkout-2", "mistake": "wrong-port"}),
    ("dependency-down", {"service": "payment"}),
    ("latency", {"instance": "checkout-1"}),
)


def run(times: int, only: Sequence[str] = ()) -> dict[str, Any]:
    strikes = [strike for strike in STRIKES if not only or strike[0] in only]
    with drilling_shop() as shop:
        drills = [shop.hold(*strikes[n % len(strikes)]) for n in range(times)]
    return _figures([drill for drill in drills if drill is not None], times)


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
