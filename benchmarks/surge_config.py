"""Quell's configuration for `benchmarks.surge`: the playbook that answers the overload, and what it is judged by."""

from pathlib import Path

from benchmarks.limited_service import BACKEND
from quell.incidents.mitigation import Step

LATENCY_MS = 150
FLOOR = 10
ADAPTIVE = Step(
    actuator="haproxy",
    action="adaptive",
    target="global",
    params={"backend": BACKEND, "latency_ms": LATENCY_MS, "floor_rps": FLOOR},
)

_PLAYBOOK = f"""
name: adaptive-throttle
description: Limit an overloaded service to what it can do.
owner: platform
match: '{{alertname="Overload"}}'
target_kind: service
steps:
  - actuator: haproxy
    action: adaptive
    target: global
    params: {{backend: {BACKEND}, latency_ms: {LATENCY_MS}, floor_rps: {FLOOR}}}
recovery: {{signal: time, below: 0.3, hold: 5s, deadline: 60s, preventive: true}}
approval: {{above_capacity_share: 1.0}}
limits: {{capacity_floor: 0.0, cooldown: 1s, per_hour: 100}}
autonomy: {{level: automatic, successes: 0}}
"""
_WARM_UP = """
name: warm-up
description: What a process does for the first time is slow.
owner: platform
match: '{alertname="WarmUp"}'
target_kind: client
steps: [{actuator: haproxy, action: throttle, target: "client:{client}", params: {requests_per_second: 1000}}]
recovery: {signal: time, below: 0.0, hold: 1s, deadline: 2s}
approval: {above_capacity_share: 1.0}
limits: {capacity_floor: 0.0, cooldown: 1s, per_hour: 100}
autonomy: {level: automatic, successes: 0}
"""
_SERVICES = "services:\n  shop: {team: t, user_facing: true}\n  other: {team: t, user_facing: true}\n"
_SIGNALS = (
    "signals:\n  time: {kind: latency, unit: seconds, step: 1s, user_facing: true,"
    f" query: 'haproxy_backend_total_time_average_seconds{{proxy=\"{BACKEND}\"}}'}}\n"
)


def write_config(folder: Path) -> None:
    (folder / "playbooks").mkdir()
    (folder / "playbooks" / "adaptive-throttle.yaml").write_text(_PLAYBOOK)
    (folder / "playbooks" / "warm-up.yaml").write_text(_WARM_UP)
    (folder / "services.yaml").write_text(_SERVICES)
    (folder / "signals.yaml").write_text(_SIGNALS)
