"""A surge at three times what a service can do, on a real HAProxy: adaptive throttle, fixed limits, nothing.

`python -m benchmarks.surge [--surge SECONDS] [--after SECONDS] [--json]`

The service has 12 workers and takes 100 ms on average; an open-loop crowd of ten clients sends half of what it can do,
then three times as much, then half again. Nothing at all shows what it can do. The fixed limits are `throttle_all`, at
0.9 of that (somebody knew it) and at 1.5 times (somebody guessed, or the service has become slower). The adaptive
throttle knows nothing: an alert fires when requests take too long at two looks a second apart, Alertmanager's webhook
reaches a running Quell, and its playbook answers without a person. `noisy` is the same surge by one client alone.

p99 is of admitted requests, those that failed included; the goodput's share is of what the service did at most with
nothing in its way. Both are of the surge from its tenth second on; `seconds until both` is the first second after which
every five seconds of it have p99 <= 2 x calm and goodput >= 0.9.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.customers import Crowd, Seen, crowd
from benchmarks.limited_service import MEAN_SECONDS, WORKERS, limited_shop, scraping_prometheus
from benchmarks.report import parser, print_json, print_table
from benchmarks.running_quell import WAIT_SECONDS, Quell, running
from benchmarks.surge_config import ADAPTIVE, LATENCY_MS, write_config
from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.incidents.mitigation import Mitigation, MitigationState, Step
from quell.response.traffic import read_rates

CAPACITY = WORKERS / MEAN_SECONDS  # requests a second, on paper
CLIENTS = tuple(f"client-{n}" for n in range(10))
NOISY = "client-0"
SETTLE, CALM, WINDOW = 3.0, 15.0, 5
Rates = Mapping[str, float]


def even(times: float) -> Rates:
    """So many times what the service can do, by all clients alike."""
    return dict.fromkeys(CLIENTS, CAPACITY * times / len(CLIENTS))


CALM_RATES = even(0.5)
SURGE: Rates = even(3.0)
NOISE: Rates = {**CALM_RATES, NOISY: 2.5 * CAPACITY + CALM_RATES[NOISY]}


class Trial:
    """One crowd on one HAProxy, and the times at which it changed."""

    def __init__(self, people: Crowd, surge: Rates, seconds: float) -> None:
        people.send(CALM_RATES)
        time.sleep(SETTLE + CALM)
        self.people, self.seconds, self.surge = people, seconds, surge
        self.began = people.send(surge)
        self.ended = self.began + seconds

    @property
    def others(self) -> tuple[str, ...]:
        return (NOISY,) if self.surge is NOISE else ()

    def calm(self, *, but: tuple[str, ...] = ()) -> Seen:
        return self.people.saw(self.began - CALM, self.began, but=but)

    def end(self) -> None:
        """Let the surge last until its end, then calm again."""
        time.sleep(max(self.ended - time.time(), 0))
        self.ended = self.people.send(CALM_RATES)

    def figures(self, capacity: float) -> dict[str, Any]:
        late = self.people.saw(self.began + 10, self.ended)
        calm_p99 = self.calm().p99_ms or 0.0
        found: dict[str, Any] = {
            "calm_p99_ms": calm_p99,
            "surge_p99_ms": late.p99_ms,
            "p99_ratio": (late.p99_ms or 0.0) / calm_p99,
            "goodput_share": late.goodput / capacity,
            "admitted_errors_share": late.errors / max(late.ok + late.errors, 1),
            "seconds_until_both": self._seconds_until_both(calm_p99, capacity),
        }
        if self.others:
            during, before = (
                self.people.saw(self.began + 10, self.ended, but=self.others),
                self.calm(but=self.others),
            )
            found |= {
                "others_error_share_calm": before.error_share,
                "others_error_share": during.error_share,
                "others_p99_ratio": (during.p99_ms or 0.0) / (before.p99_ms or 1.0),
            }
        return found

    def _seconds_until_both(self, calm_p99: float, capacity: float) -> int | None:
        found: int | None = None
        for second in range(int(self.ended - self.began) - WINDOW, -1, -1):
            seen = self.people.saw(self.began + second, self.began + second + WINDOW)
            if seen.p99_ms is None or seen.p99_ms > 2 * calm_p99 or seen.goodput < 0.9 * capacity:
                break
            found = second
        return found


def run(surge_seconds: float, after_seconds: float) -> dict[str, Any]:
    figures: dict[str, Any] = {"surge_times_capacity": 3.0}
    nothing, capacity = _without(surge_seconds)
    figures |= {"capacity_rps": capacity, "nothing": nothing}
    for name, share in (("fixed_right", 0.9), ("fixed_too_high", 1.5)):
        figures[name] = _fixed(surge_seconds, share * capacity, capacity)
    for name, surge in (("adaptive", SURGE), ("adaptive_noisy", NOISE)):
        figures[name] = _adaptive(surge, surge_seconds, after_seconds, capacity)
    return figures


def _without(seconds: float) -> tuple[dict[str, Any], float]:
    with _shop() as proxy, crowd(proxy.port) as people:
        trial = Trial(people, SURGE, seconds)
        trial.end()
        time.sleep(2)
        capacity = people.saw(trial.began + 5, trial.ended).goodput
        return trial.figures(capacity), capacity


def _fixed(seconds: float, limit: float, capacity: float) -> dict[str, Any]:
    """`throttle_all` at a fixed number, put on when the adaptive throttle would be: when the alert fires."""
    step = Step(actuator="haproxy", action="throttle_all", target="global", params={"requests_per_second": int(limit)})
    with _shop() as proxy, crowd(proxy.port) as people:
        actuator, trial = _actuator(proxy), Trial(people, SURGE, seconds)
        _wait_for_alert(actuator)
        actuator.apply(step)
        trial.end()
        time.sleep(2)
        return {"limit_rps": int(limit), **trial.figures(capacity)}


@contextmanager
def _shop() -> Iterator[TrialProxy]:
    with tempfile.TemporaryDirectory(prefix="quell-surge-") as name, limited_shop(Path(name)) as (proxy, _):
        yield proxy


def _adaptive(surge: Rates, seconds: float, after_seconds: float, capacity: float) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quell-surge-")))
        proxy, metrics = stack.enter_context(limited_shop(folder / "proxy"))
        prometheus = stack.enter_context(scraping_prometheus(folder / "prometheus", metrics))
        lines = f'haproxy_socket = "{proxy.socket}"\nhaproxy_maps = "{proxy.maps}"\n'
        quell = stack.enter_context(running(None, write_config, connections=lines, prometheus=prometheus))
        _warm_up(quell, proxy)
        people = stack.enter_context(crowd(proxy.port))
        trial = Trial(people, surge, seconds)
        actuator = _actuator(proxy)
        alerted = _wait_for_alert(actuator)
        quell.post([_alert("Overload", "shop", "requests wait for a worker")])
        applied = _wait_until(lambda: actuator.verify(ADAPTIVE), WAIT_SECONDS)
        trial.end()
        lifted = _wait_until(lambda: (found := _mitigation(quell)) is not None and found.ended_at is not None, 180)
        time.sleep(after_seconds)
        after = people.saw(lifted or trial.ended, time.time()) if lifted else None
        found = _mitigation(quell)
        calm = trial.calm()
        return {
            **trial.figures(capacity),
            "alert_after_s": alerted - trial.began,
            "applied_after_s": applied - trial.began if applied else None,
            "judged": str(found.recovery) if found else None,
            "ended": str(found.state) if found else None,
            "lifted_after_surge_s": lifted - trial.ended if lifted else None,
            "after_lift_p99_ratio": (after.p99_ms or 0.0) / (calm.p99_ms or 1.0) if after else None,
            "after_lift_error_share": after.error_share if after else None,
            "refused_after_surge": people.saw(trial.ended + 2, time.time()).denied,
            "adjustments": _adjustments(quell),
        }


def _actuator(proxy: TrialProxy) -> HAProxyActuator:
    return HAProxyActuator(socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file)


def _wait_for_alert(actuator: HAProxyActuator) -> float:
    """An alert rule that looks once a second and fires when requests take too long at two looks in a row."""
    over, before = 0, actuator.adaptive.traffic(ADAPTIVE)
    while over < 2:
        time.sleep(1)
        now = actuator.adaptive.traffic(ADAPTIVE)
        reading = read_rates([before, now])
        over = over + 1 if reading is not None and reading.latency_ms > LATENCY_MS else 0
        before = now
    return time.time()


def _warm_up(quell: Quell, proxy: TrialProxy) -> None:
    """A first mitigation, of a client that is busy for a moment, until it has ended by itself."""
    for _ in range(1200):
        proxy.get("warm-up")
    quell.post([_alert("WarmUp", "other", "a first time", client="warm-up")])
    _wait_until(lambda: (found := _mitigation(quell, "warm-up")) is not None and found.ended_at is not None, 60)


def _alert(name: str, service: str, summary: str, **labels: str) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": name, "service": service, "severity": "critical", **labels},
        "annotations": {"summary": summary},
        "startsAt": (datetime.now(UTC) - timedelta(seconds=2)).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
    }


def _mitigation(quell: Quell, playbook: str = "adaptive-throttle") -> Mitigation | None:
    with quell.store.reading() as tx:
        return next((found for found in tx.mitigations.find() if found.playbook == playbook), None)


def _adjustments(quell: Quell) -> list[str]:
    mitigation = _mitigation(quell)
    if mitigation is None:
        return []
    with quell.store.reading() as tx:
        told = (MitigationState.EFFECTIVE, MitigationState.UNDONE)
        kinds = ("limit adjusted", *(f"mitigation {state}" for state in told))
        found = [entry for entry in tx.timeline.entries() if entry.kind in kinds and entry.subject == mitigation.id]
    return [f"{entry.at:%H:%M:%S} {entry.kind}: {entry.text}" for entry in found]


def _wait_until(holds: Callable[[], bool], seconds: float) -> float | None:
    """When it first held; None where it did not in time."""
    deadline = time.time() + seconds
    while time.time() < deadline:
        if holds():
            return time.time()
        time.sleep(0.02)
    return None


def _print(figures: Mapping[str, Any]) -> None:
    columns = ("nothing", "fixed_right", "fixed_too_high", "adaptive", "adaptive_noisy")
    names = dict.fromkeys(name for column in columns for name in figures[column] if name != "adjustments")
    rows = [(name.replace("_", " "), *(figures[column].get(name) for column in columns)) for name in names]
    title = f"a surge at 3 times what the service can do ({figures['capacity_rps']:.0f} requests per second)"
    print_table(title, ("figure", *(column.replace("_", " ") for column in columns)), rows)
    for column in columns[3:]:
        print_table(
            f"{column}: what the timeline says", ("entry",), [(line,) for line in figures[column]["adjustments"]]
        )


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--surge", type=float, default=30.0, metavar="SECONDS")
    asked.add_argument("--after", type=float, default=60.0, metavar="SECONDS", help="watched after the lift")
    options = asked.parse_args()
    figures = run(options.surge, options.after)
    if options.json:
        print_json(figures)
    else:
        _print(figures)


if __name__ == "__main__":
    main()
