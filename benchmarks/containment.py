"""From a webhook to a changed load balancer, without a person: the automatic path on a real HAProxy.

`python -m benchmarks.containment [--store URL] [--times N] [--json]`
`python -m benchmarks.containment --shop alertmanager|sweeps [--times N] [--json]`

Each time another client floods HAProxy and Alertmanager's webhook names it. The evidence is real: the alert, and
HAProxy's own count of the client. The playbook is trusted, so that no person is asked. The clock starts before the
request to the gateway and stops when HAProxy's runtime API shows the limit (asked every 2 ms). Afterwards the
mitigation ends by itself (nothing tells of users here, so it is inconclusive and undone), which also proves the undo.

With --shop the whole sandbox runs instead, and the clock runs from a fault to the last error that users see: see
benchmarks/shop_containment.py.
"""

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import shop_containment
from benchmarks.report import parser, print_json, print_table
from benchmarks.running_quell import WAIT_SECONDS, Quell, running
from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.incidents.mitigation import MitigationState

LIMIT = 20  # requests a second
FLOOD = 60  # requests a second of the noisy client

_PLAYBOOK = f"""
name: throttle-noisy-client
description: Limit one client at the load balancer.
owner: platform
match: '{{alertname="NoisyClient"}}'
target_kind: client
steps: [{{actuator: haproxy, action: throttle, target: "client:{{client}}", params: {{requests_per_second: {LIMIT}}}}}]
recovery: {{signal: errors, below: 0.5, hold: 1s, deadline: 2s}}
approval: {{above_capacity_share: 1.0}}
limits: {{capacity_floor: 0.5, cooldown: 1s, per_hour: 1000}}
autonomy: {{level: automatic, successes: 0}}
"""


def run(store: str | None, times: int) -> dict[str, Any]:
    def write(folder: Path) -> None:
        (folder / "playbooks").mkdir()
        (folder / "playbooks" / "throttle.yaml").write_text(_PLAYBOOK)
        services = [f"  shop-{n}: {{team: t, user_facing: true}}" for n in range(times + 1)]
        (folder / "services.yaml").write_text("\n".join(["services:", *services, ""]))
        signal = "  errors: {kind: error_ratio, unit: ratio, step: 1s, query: up, user_facing: true}"
        (folder / "signals.yaml").write_text(f"signals:\n{signal}\n")

    with tempfile.TemporaryDirectory(prefix="quell-proxy-") as name, TrialProxy(Path(name)) as proxy:
        lines = f'haproxy_socket = "{proxy.socket}"\nhaproxy_maps = "{proxy.maps}"\n'
        lines += "[response]\nmost_active = 1000\nper_hour = 10000\n"
        with running(store, write, connections=lines) as quell:
            seconds = list(_contain(quell, proxy, times))
            ends = _ends(quell)
    known = [one for one in seconds if np.isfinite(one)]
    return {
        "store": "postgresql" if store and store.startswith("postgresql") else "sqlite",
        "times": len(seconds),
        "contained": len(known),
        "median_s": float(np.median(known)) if known else None,
        "p95_s": float(np.percentile(known, 95)) if known else None,
        "worst_s": max(known, default=None),
        "undone_by_itself": ends.get(MitigationState.UNDONE, 0),
        "ended_otherwise": sum(count for state, count in ends.items() if state != MitigationState.UNDONE),
    }


def _contain(quell: Quell, proxy: TrialProxy, times: int) -> Iterator[float]:
    """Seconds of each; the first, which imports and compiles, is left out."""
    client = RuntimeClient(proxy.socket, timedelta(seconds=5))
    for number in range(times + 1):
        seconds = _contain_one(quell, proxy, client, number)
        if number:
            yield seconds


def _contain_one(quell: Quell, proxy: TrialProxy, client: RuntimeClient, number: int) -> float:
    noisy = f"noisy-{number}"
    with proxy.flooding(noisy, FLOOD):
        time.sleep(1)
        began = time.perf_counter()
        quell.post([_alert(noisy, f"shop-{number}")])
        while time.perf_counter() - began < WAIT_SECONDS:
            if client.map_entries(client.map_ids()["limits.map"]).get(noisy) == str(LIMIT):
                return time.perf_counter() - began
            time.sleep(0.002)
    return float("inf")


def _alert(client: str, service: str) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "NoisyClient", "service": service, "client": client, "severity": "critical"},
        "annotations": {"summary": f"{client} sends too much"},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
    }


def _ends(quell: Quell) -> dict[str, int]:
    """How many mitigations ended in which state, once all have ended."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with quell.store.reading() as tx:
            states = [mitigation.state for mitigation in tx.mitigations.find()]
        if set(states) <= {MitigationState.UNDONE} or time.monotonic() > deadline:
            return {state: states.count(state) for state in set(states)}
        time.sleep(0.5)


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--store", metavar="URL", help="an empty database; default: SQLite in a temporary folder")
    asked.add_argument("--shop", choices=("alertmanager", "sweeps"), help="from a fault in the sandbox to calm users")
    asked.add_argument("--times", type=int, default=50)
    options = asked.parse_args()
    figures = shop_containment.run(options.shop, options.times) if options.shop else run(options.store, options.times)
    if options.json:
        print_json(figures)
        return
    rows = [(name.replace("_", " "), value) for name, value in figures.items()]
    title = f"fault to calm users, {options.shop}" if options.shop else "webhook accepted to HAProxy's state changed"
    print_table(title, ("figure", "value"), rows)


if __name__ == "__main__":
    main()
