"""False positives: alerts that accuse healthy instances, and what they cost before Quell gives the instances back.

`python -m benchmarks.false_positives [--store URL] [--times N] [--every SECONDS] [--json]`

Each accusation names a healthy server, through the gateway's webhook, together with a change of that server, so that
two kinds of evidence speak for it and Quell isolates it by itself. Each has an alert name of its own, because a
failure demotes the playbook for that kind of alert. Some come as a burst: two or all three servers of a service at one
moment. (Where all three are accused, it is the service that is in trouble, and Quell asks a person.) All is real:
HAProxy with checks, Prometheus on its exporter (1 s), Prefect, gateway, responder, and users who send requests all the
time through HAProxy. What is measured is HAProxy's own state, read every few milliseconds.
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accused_shop import FLOOR, SERVERS, AccusedShop, Watch, users
from benchmarks.live_prometheus import live_prometheus
from benchmarks.report import parser, print_json, print_table
from benchmarks.running_quell import Quell, running
from quell.incidents.mitigation import HOLDING_STATES, Mitigation, MitigationState

ALLOWED_SECONDS = 120
BURSTS = (3, 3, 2, 2, 2)  # servers of one service that are accused at one moment, of three; then one by one
_CALM_SECONDS = 8
_PLAYBOOK = f"""
name: isolate
description: Take one server out of the load balancer.
owner: platform
match: '{{service=~".+"}}'
target_kind: instance
steps: [{{actuator: haproxy, action: isolate, target: "{{server}}"}}]
recovery: {{signal: errors, below: 0.02, hold: 5s, deadline: 60s}}
approval: {{above_capacity_share: 1.0}}
limits: {{capacity_floor: {FLOOR}, cooldown: 1s, per_hour: 1000}}
autonomy: {{level: automatic, successes: 0}}
"""
_QUERY = (
    'label_replace(sum by (proxy) (rate(haproxy_backend_http_responses_total{code="5xx"}[4s])) '
    '/ sum by (proxy) (rate(haproxy_backend_http_responses_total[4s])), "service", "$1", "proxy", "be_(.*)")'
)


def run(store: str | None, times: int, every: float) -> dict[str, Any]:
    bursts = BURSTS if times > 2 * sum(BURSTS) else BURSTS[-1:]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quell-false-")))
        services = times - sum(bursts) + len(bursts)
        shop = stack.enter_context(AccusedShop(folder / "haproxy", services=services))
        prometheus = stack.enter_context(live_prometheus(folder / "prometheus"))
        shop.be_scraped_by(prometheus.url, folder / "prometheus" / "prometheus.yml")
        lines = f'haproxy_socket = "{shop.socket}"\nhaproxy_state = "{shop.state_file}"\n'
        lines += '[intervals]\nreconcile = "20s"\n[response]\nmost_active = 1000\nper_hour = 10000\n'
        quell = stack.enter_context(running(store, _writer(shop, prometheus.url), connections=lines))
        load, watch = stack.enter_context(users(shop)), stack.enter_context(Watch(shop))
        time.sleep(_CALM_SECONDS)
        accused = _accuse_all(quell, shop, bursts, every)
        left = _wait_until_over(quell, watch)
        return _figures(quell, watch, accused, left, load.figures())


def _writer(shop: AccusedShop, prometheus: str) -> Any:
    def write(folder: Path) -> None:
        toml = folder / "quell.toml"
        toml.write_text(toml.read_text().replace("http://127.0.0.1:9", prometheus))
        (folder / "playbooks").mkdir()
        (folder / "playbooks" / "isolate.yaml").write_text(_PLAYBOOK)
        (folder / "services.yaml").write_text(shop.services_yaml())
        head = "kind: error_ratio, unit: ratio, step: 1s, user_facing: true"
        (folder / "signals.yaml").write_text(f"signals:\n  errors: {{{head}, query: '{_QUERY}'}}\n")

    return write


def _accuse_all(quell: Quell, shop: AccusedShop, bursts: Sequence[int], every: float) -> dict[str, float]:
    """Server -> when it was accused."""
    accused: dict[str, float] = {}
    for number, service in enumerate(shop.services):
        count = bursts[number] if number < len(bursts) else 1
        names = [f"{service}-{1 + (number + n) % SERVERS}" for n in range(count)]
        for name in names:
            change = {"service": service, "instance": name, "summary": f"{name} got a new build", "kind": "deploy"}
            quell.client.post("/api/v1/changes", json=change).raise_for_status()
        quell.post([_alert(service, name, f"Accused{number}") for name in names])
        accused |= {f"be_{service}/{name}": time.monotonic() for name in names}
        time.sleep(every)
    return accused


def _alert(service: str, instance: str, name: str) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": name, "service": service, "instance": instance, "severity": "critical"},
        "annotations": {"summary": f"{instance} fails", "value": "0.4", "expected": "0.01"},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
    }


def _wait_until_over(quell: Quell, watch: Watch) -> int:
    """How many servers are still out when nothing moves any more, or after the time that is allowed."""
    deadline, quiet = time.monotonic() + ALLOWED_SECONDS, 0
    while time.monotonic() < deadline and quiet < 5:
        time.sleep(1)
        quiet = quiet + 1 if not watch.out and not _unsettled(quell) else 0
    return len(watch.out)


def _unsettled(quell: Quell) -> bool:
    states = (*HOLDING_STATES, MitigationState.PLANNED)
    with quell.store.reading() as tx:
        return tx.mitigations.count({"state": states}) > 0 or tx.inbox.count({"processed_at": None}) > 0


def _figures(quell: Quell, watch: Watch, accused: dict[str, float], left: int, load: dict[str, int]) -> dict[str, Any]:
    with quell.store.reading() as tx:
        mitigations = tx.mitigations.find()
    lasted = [back - out for out, back in watch.periods()]
    return {
        "accused": len(accused),
        "acted_on": len({server for server in watch.seen if server in accused}),
        "others_touched": len({server for server in watch.seen if server not in accused}),
        "called_false_isolation": sum(m.recovery_reason.startswith("false isolation") for m in mitigations),
        "returned_within_2_min": sum(seconds <= ALLOWED_SECONDS for seconds in lasted),
        "out_median_s": float(np.median(lasted)) if lasted else None,
        "out_worst_s": max(lasted, default=None),
        "still_isolated_at_the_end": left,
        "floor_crossed": watch.crossed,
        "least_capacity": watch.least,
        "looks_at_haproxy": watch.looks,
        "longest_between_looks_s": watch.longest,
        "ended": _ends(mitigations),
        **load,
    }


def _ends(mitigations: list[Mitigation]) -> str:
    states = [f"{m.recovery or 'unjudged'}, {m.state}" for m in mitigations]
    return "; ".join(f"{states.count(one)} {one}" for one in sorted(set(states)))


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--store", metavar="URL", help="an empty database; default: SQLite in a temporary folder")
    asked.add_argument("--times", type=int, default=100, help="servers accused")
    asked.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="between accusations")
    options = asked.parse_args()
    figures = run(options.store, options.times, options.every)
    if options.json:
        print_json(figures)
        return
    rows = [(name.replace("_", " "), value) for name, value in figures.items()]
    print_table("healthy instances accused", ("figure", "value"), rows)


if __name__ == "__main__":
    main()
