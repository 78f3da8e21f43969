"""Many at once: 50 plans for one pool from several processes, and 200 deliveries of one webhook. One effect each.

While the plans are made and carried out, HAProxy's own state is asked every few milliseconds: the capacity floor holds
at every instant, not only at the end.
"""

import multiprocessing
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.kill_ground import SERVERS, Ground, resources
from benchmarks.running_quell import WAIT_SECONDS, running
from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.incidents.errors import QuellError, Refused
from quell.incidents.mitigation import MitigationState
from quell.response.playbook import Limits, StepTemplate
from tasks.effect import apply_mitigation
from tasks.planning import plan_manual
from tasks.resources import Resources

FLOOR = 0.6  # of three servers: one may be taken out, two may not
_LOOK_SECONDS = 0.003


@dataclass(slots=True)
class Watch:
    """What HAProxy itself said, all the time."""

    looks: int = 0
    lowest: float = 1.0


@contextmanager
def watching(socket: str) -> Iterator[Watch]:
    """The share of the pool that serves, asked until the block ends."""
    watch, is_over = Watch(), threading.Event()
    client = RuntimeClient(socket, timedelta(seconds=5))

    def look() -> None:
        while not is_over.wait(_LOOK_SECONDS):
            servers = client.servers()
            watch.looks += 1
            watch.lowest = min(watch.lowest, sum(servers[name].serving_share for name in SERVERS) / len(SERVERS))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        is_over.set()
        thread.join()


def _instances(res: Resources) -> Resources:
    """The same, with a playbook that isolates one instance and keeps the floor."""
    book = replace(
        res.config.playbooks["drain-zone"],
        name="isolate",
        target_kind="instance",
        steps=(StepTemplate(actuator="haproxy", action="isolate", target="{server}"),),
        limits=Limits(capacity_floor=FLOOR, cooldown=timedelta(0), per_hour=100_000),
    )
    return replace(res, config=replace(res.config, playbooks={book.name: book}))


def worker(ground: Ground, number: int, plans: int, start: Any, answers: Any) -> None:
    """Plan and carry out for one instance after the other; what was refused is told by its rule."""
    res = _instances(resources(ground))
    start.wait()
    said: list[str] = []
    for n in range(plans):
        target = f"checkout-{(number + n) % 3 + 1}"
        try:
            planned = plan_manual(res, "isolate", "checkout", target, None, f"person-{number}", "all at once")
            said.append(apply_mitigation(res, planned.id).state)
        except Refused as error:
            said.append(error.rule)
        except QuellError as error:
            said.append(type(error).__name__)
    answers.put(said)
    res.store.close()


def concurrent_plans(store: str, proxy: TrialProxy, *, processes: int = 10, plans: int = 50) -> dict[str, Any]:
    """How many of the plans took effect, by what the others were refused, and the lowest capacity ever seen."""
    ground = Ground(store=store, folder=proxy.folder, socket=proxy.socket)
    resources(ground).store.close()  # the tables are there before they all come
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.concurrent_plans"])
    start, answers = context.Event(), context.Queue()
    each = plans // processes
    workers = [context.Process(target=worker, args=(ground, n, each, start, answers)) for n in range(processes)]
    for one in workers:
        one.start()
    with watching(proxy.socket) as watch:
        time.sleep(1.0)
        start.set()
        said = [word for _ in workers for word in answers.get(timeout=120)]
        for one in workers:
            one.join()
    res = resources(ground)
    with res.store.reading() as tx:
        holding = [m for m in tx.mitigations.find() if m.is_holding]
        effects = [entry for entry in tx.timeline.entries() if entry.kind == "effect done"]
    res.store.close()
    return {
        "plans": len(said),
        "took_effect": said.count(MitigationState.APPLIED),
        "holding": len(holding),
        "effects": len(effects),
        "refused_by": {word: said.count(word) for word in sorted(set(said) - {MitigationState.APPLIED})},
        "looks": watch.looks,
        "lowest_capacity": round(watch.lowest, 3),
        "floor": FLOOR,
    }


_THROTTLE = """
name: throttle-noisy-client
description: Limit one client at the load balancer.
owner: platform
match: '{alertname="NoisyClient"}'
target_kind: client
steps: [{actuator: haproxy, action: throttle, target: "client:{client}", params: {requests_per_second: 20}}]
recovery: {signal: errors, below: 0.5, hold: 60s, deadline: 2m}
approval: {above_capacity_share: 1.0}
autonomy: {level: automatic, successes: 0}
"""


def redeliveries(store: str | None, proxy: TrialProxy, *, deliveries: int = 200) -> dict[str, Any]:
    """One webhook, delivered again and again by several senders at once, through the running gateway."""

    def write(folder: Path) -> None:
        (folder / "playbooks").mkdir()
        (folder / "playbooks" / "throttle.yaml").write_text(_THROTTLE)
        (folder / "services.yaml").write_text("services:\n  shop: {team: t, user_facing: true}\n")
        signal = "  errors: {kind: error_ratio, unit: ratio, step: 1s, query: up, user_facing: true}"
        (folder / "signals.yaml").write_text(f"signals:\n{signal}\n")

    alert = {
        "status": "firing",
        "labels": {"alertname": "NoisyClient", "service": "shop", "client": "robot", "severity": "critical"},
        "annotations": {"summary": "robot sends too much"},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
    }
    lines = f'haproxy_socket = "{proxy.socket}"\nhaproxy_maps = "{proxy.maps}"\n[response]\nevidence_kinds = 1\n'
    with running(store, write, connections=lines) as quell:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: quell.post([alert]), range(deliveries)))
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            with quell.store.reading() as tx:
                applied = [m for m in tx.mitigations.find() if m.applied_at is not None]
                is_quiet = tx.inbox.count({"processed_at": None}) == 0
            if applied and is_quiet:
                break
            time.sleep(0.2)
        time.sleep(2)  # nothing more comes of what was delivered late
        with quell.store.reading() as tx:
            effects = sum(entry.kind == "effect done" for entry in tx.timeline.entries())
            return {
                "deliveries": deliveries,
                "incidents": tx.incidents.count(),
                "mitigations": tx.mitigations.count(),
                "effects": effects,
            }
