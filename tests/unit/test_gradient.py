"""The adaptive throttle's arithmetic, on a queue that is worked off as HAProxy's is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.response.gradient import READING_SECONDS, Bounds, Limiter, Stage, advance, caps_of, start
from quell.response.traffic import Reading

pytestmark = pytest.mark.unit
BOUNDS = Bounds(latency_ms=150, floor_rps=10)
SERVICE_SECONDS = 0.1


@dataclass
class Plant:
    """A service that answers `capacity` requests a second, each after 100 ms and what it has waited."""

    capacity: float
    queue: float = 0.0

    def run(self, admitted: Mapping[str, float], offered: Mapping[str, float]) -> Reading:
        work = self.queue + sum(admitted.values()) * READING_SECONDS
        done = min(work, self.capacity * READING_SECONDS)
        least, self.queue = min(self.queue, work - done), work - done
        rate = done / READING_SECONDS
        in_flight = self.queue + rate * SERVICE_SECONDS
        return Reading(
            seconds=READING_SECONDS,
            in_flight=in_flight,
            latency_ms=in_flight / rate * 1000 if rate else 0.0,
            least_latency_ms=(least / rate + SERVICE_SECONDS) * 1000 if rate else 0.0,
            goodput=rate,
            failed=0.0,
            offered=sum(offered.values()),
            refused=sum(offered.values()) - sum(admitted.values()),
            demands=offered,
        )


@dataclass
class World:
    plant: Plant
    limiter: Limiter | None = None
    admitted: list[float] = field(default_factory=list[float])
    refused: dict[str, float] = field(default_factory=dict[str, float])

    def run(self, offered: Mapping[str, float], seconds: float, *, may_tighten: bool = True) -> Reading:
        for _ in range(round(seconds / READING_SECONDS)):
            admitted = self._admit(offered)
            reading = self.plant.run(admitted, offered)
            self.admitted.append(sum(admitted.values()))
            if self.limiter is not None:
                self.limiter = advance(self.limiter, reading, BOUNDS, may_tighten=may_tighten)
        return reading

    def _admit(self, offered: Mapping[str, float]) -> Mapping[str, float]:
        if self.limiter is None:
            return offered
        caps = caps_of(self.limiter)
        by_client = {name: min(rate, caps.clients.get(name, rate)) for name, rate in offered.items()}
        share = min(1.0, caps.everyone / max(sum(by_client.values()), 1e-9)) if caps.everyone else 1.0
        admitted = {name: rate * share for name, rate in by_client.items()}
        self.refused = {name: offered[name] - rate for name, rate in admitted.items() if offered[name] - rate > 1e-9}
        return admitted

    @property
    def throttle(self) -> Limiter:
        assert self.limiter is not None
        return self.limiter

    def begin(self, offered: Mapping[str, float]) -> None:
        self.limiter = start(self.plant.run(offered, offered), BOUNDS)


CALM = {f"client-{n}": 6.0 for n in range(10)}
SURGE = dict.fromkeys(CALM, 36.0)
NOISE = {**CALM, "client-0": 306.0}


def surged(seconds_before: float = 3.0, offered: Mapping[str, float] = SURGE) -> World:
    world = World(Plant(capacity=120))
    world.run(offered, seconds_before)
    world.begin(offered)
    return world


def test_a_surge_at_three_times_capacity_is_served_well_as_soon_as_the_queue_is_worked_off() -> None:
    """Three and a half seconds of it leave seven seconds of work, which takes seven with nothing admitted at all."""
    world = surged()
    world.run(SURGE, 9)
    for _ in range(40):
        reading = world.run(SURGE, READING_SECONDS)
        assert reading.latency_ms < 200
        assert reading.goodput > 0.95 * 120


def test_a_noisy_client_alone_is_limited_also_while_its_queue_is_worked_off() -> None:
    world = surged(1.0, NOISE)
    for _ in range(30):
        world.run(NOISE, 1)
        assert set(world.refused) <= {"client-0"}
    assert world.run(NOISE, 1).latency_ms < 200


def test_what_nobody_can_tell_apart_shares_the_limit_on_everything() -> None:
    """Requests without a client's name have no limit of their own."""
    limiter = Limiter(limit=100, capacity=100, offered=300, demands={"web": 20})
    caps = caps_of(limiter)
    assert caps.everyone == 100
    assert caps.clients == {}


def test_limits_of_clients_that_do_not_help_are_followed_by_one_for_all() -> None:
    limiter = Limiter(limit=100, capacity=100, offered=400, demands={"web": 20, "importer": 380})
    assert caps_of(limiter).everyone is None
    assert caps_of(replace(limiter, waiting_for=20)).everyone == 100


def test_whole_numbers_give_out_the_whole_limit() -> None:
    """Ten clients at 11.6 each are not ten at 11: that would waste a twentieth of the service."""
    caps = caps_of(Limiter(limit=116, capacity=116, offered=360, demands=SURGE))
    assert sum(caps.clients.values()) == 116


def test_after_the_surge_it_is_raised_in_steps_and_then_over() -> None:
    world = surged()
    world.run(SURGE, 30)
    limits = [world.throttle.limit]
    for _ in range(80):
        world.run(CALM, READING_SECONDS)
        if world.throttle.limit != limits[-1]:
            limits.append(world.throttle.limit)
        if world.throttle.stage is Stage.OVER:
            break
    assert world.throttle.stage is Stage.OVER
    steps = [later / earlier for earlier, later in zip(limits[-4:], limits[-3:], strict=False)]
    assert steps == pytest.approx([BOUNDS.raised_by] * 3)


def test_a_surge_that_comes_back_while_it_is_released_is_held_at_once() -> None:
    """Else the release would be the second collapse."""
    world = surged()
    world.run(SURGE, 30)
    world.run(CALM, 12)
    assert world.throttle.stage is Stage.RELEASING
    world.run(SURGE, READING_SECONDS)
    assert world.throttle.stage is Stage.HOLDING
    assert world.throttle.limit <= 120
    assert world.run(SURGE, 3).latency_ms < 250


def test_put_on_without_an_overload_it_refuses_nobody() -> None:
    """A person may be early, or wrong; what a short look at calm traffic measures is chance."""
    calm = Plant(capacity=120).run(CALM, CALM)
    limiter = start(calm, BOUNDS)
    caps = caps_of(limiter)
    assert caps.clients == {}
    assert caps.everyone is not None
    assert caps.everyone >= 2 * sum(CALM.values())


def test_a_raised_limit_that_binds_again_falls_back_before_anything_waits() -> None:
    """What is refused at nearly twice the capacity would have waited a second later."""
    raised = Limiter(limit=210, capacity=120, stage=Stage.RELEASING, raised=2, demands=SURGE, offered=360)
    reading = Plant(capacity=120).run(dict.fromkeys(SURGE, 12.0), SURGE)
    after = advance(raised, reading, BOUNDS)
    assert after.stage is Stage.HOLDING
    assert after.limit == pytest.approx(BOUNDS.cruise * 120)


def test_it_follows_a_service_that_becomes_slower_and_comes_back() -> None:
    world = surged()
    world.run(SURGE, 20)
    world.plant.capacity = 60
    world.run(SURGE, 20)
    assert world.run(SURGE, 2).latency_ms < 250
    assert world.throttle.capacity == pytest.approx(60, rel=0.15)
    world.plant.capacity = 120
    world.run(SURGE, 150)
    assert world.run(SURGE, 2).goodput > 0.9 * 120


def test_the_kill_switch_stops_tightening_and_not_loosening() -> None:
    world = surged()
    world.run(SURGE, 20)
    before = world.throttle.limit
    world.plant.capacity = 30
    world.run(SURGE, 10, may_tighten=False)
    assert world.throttle.limit >= before


@given(
    st.lists(
        st.builds(
            Reading,
            seconds=st.just(READING_SECONDS),
            in_flight=st.floats(0, 1e4),
            latency_ms=st.floats(0, 1e6) | st.just(float("inf")),
            least_latency_ms=st.floats(0, 1e6),
            goodput=st.floats(0, 1e4),
            failed=st.floats(0, 1e4),
            offered=st.floats(0, 1e5),
            refused=st.floats(0, 1e5),
            demands=st.dictionaries(st.sampled_from(["web", "mobile", "importer"]), st.floats(0, 1e5)),
        ),
        min_size=2,
        max_size=30,
    )
)
def test_whatever_is_read_no_limit_falls_below_its_floor_or_disappears(readings: list[Reading]) -> None:
    limiter = start(readings[0], BOUNDS)
    for reading in readings[1:]:
        limiter = advance(limiter, reading, BOUNDS)
        caps = caps_of(limiter)
        assert limiter.limit >= BOUNDS.floor_rps
        assert limiter.limit < float("inf")
        assert caps.everyone is None or caps.everyone >= 1
        assert caps.everyone is not None or caps.clients
        assert all(limit >= 1 for limit in caps.clients.values())


def test_invented_names_do_not_grow_without_end() -> None:
    """A flooder that writes another name into each header is nameless, and the limit on everything stands."""
    offered = {f"name-{n}": 2.0 for n in range(5000)}
    reading = Plant(capacity=120).run(offered, offered)
    limiter = advance(start(reading, BOUNDS), reading, BOUNDS)
    assert len(limiter.demands) == 200
    assert caps_of(limiter).everyone is not None
    assert len(caps_of(limiter).clients) <= 20
