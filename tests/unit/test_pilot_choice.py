"""Which instance gets a fix before the others, and whether enough serves while it goes from one to the next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incidents.service import ConfigRepository, Instance, Service
from quell.resolution.pilot import choose_pilot

pytestmark = pytest.mark.unit
FILES = {"shop": "services/shop.yaml"}


def shop(*weights: int, backend: str = "be", files: dict[str, str] | None = None) -> Service:
    instances = tuple(
        Instance(name=f"shop-{n}", service="shop", server=f"{backend}/shop-{n}", weight=weight)
        for n, weight in enumerate(weights, start=1)
    )
    repository = ConfigRepository(path=".", files=files or FILES, one_by_one=True)
    return Service(name="shop", team="shop", instances=instances, repository=repository)


def serving(service: Service, *out: str) -> dict[str, float]:
    return {one.server: 0.0 if one.name in out else 1.0 for one in service.instances if one.server}


def test_the_last_that_serves_is_tried_first() -> None:
    service = shop(100, 100, 100)
    choice = choose_pilot(service, serving(service, "shop-3"), (), floor=0.3)
    assert choice.pilot == "shop-2" and choice.reason == (
        "it is the last that serves, at least 33% of shop goes on serving"
    )


def test_who_contains_the_incident_by_being_out_is_tried_first() -> None:
    """It costs no capacity, and what is wrong with it is worst there."""
    service = shop(100, 100, 100)
    choice = choose_pilot(service, serving(service, "shop-1"), ("be/shop-1",), floor=0.5)
    assert choice.pilot == "shop-1" and "it is out of the traffic already" in choice.reason


def test_who_is_down_for_another_reason_is_not_tried() -> None:
    service = shop(100, 100, 100)
    assert choose_pilot(service, serving(service, "shop-1"), (), floor=0.3).pilot == "shop-3"


def test_without_a_sibling_that_serves_there_is_no_pilot() -> None:
    service = shop(100, 100)
    choice = choose_pilot(service, serving(service, "shop-1"), (), floor=0.0)
    assert choice.pilot == "" and choice.reason == "nothing beside shop-2 serves in be, to compare it with"


def test_below_the_floor_there_is_no_pilot_and_the_reason_has_both_figures() -> None:
    service = shop(100, 100, 100)
    choice = choose_pilot(service, serving(service, "shop-1"), (), floor=0.5)
    assert choice.pilot == "" and "with shop-3 first 33% of shop would be left, floor 50%" in choice.reason


def test_the_turn_of_the_largest_counts_too() -> None:
    """The small one can be spared; but the large one has to follow, and the small one cannot stand in for it."""
    service = shop(200, 50, 50)
    choice = choose_pilot(service, serving(service), (), floor=0.5)
    assert choice.pilot == "" and "33% of shop would be left" in choice.reason


def test_an_instance_with_a_file_of_its_own_is_no_pilot() -> None:
    service = shop(100, 100, 100, files={**FILES, "shop-3": "services/shop-3.yaml"})
    assert choose_pilot(service, serving(service), (), floor=0.5).pilot == "shop-2"


@st.composite
def situations(draw: st.DrawFn) -> tuple[Service, dict[str, float], frozenset[str], float]:
    service = shop(*draw(st.lists(st.integers(1, 256), min_size=1, max_size=6)))
    servers = [one.server for one in service.instances if one.server]
    drained = frozenset(draw(st.sets(st.sampled_from(servers))))
    live = {server: 0.0 if server in drained else draw(st.sampled_from([0.0, 0.3, 1.0])) for server in servers}
    return service, live, drained, draw(st.floats(0, 1))


@given(situations())
def test_at_no_moment_less_than_the_floor_is_left(
    situation: tuple[Service, dict[str, float], frozenset[str], float],
) -> None:
    """Played through: out goes the pilot, back with all of its weight, then each of the others in its turn."""
    service, live, drained, floor = situation
    choice = choose_pilot(service, live, drained, floor=floor)
    if not choice.pilot:
        return
    weights = {one.server or "": one.weight for one in service.instances}
    pilot = next(one.server or "" for one in service.instances if one.name == choice.pilot)
    full = sum(weights.values())

    def left(shares: dict[str, float]) -> float:
        return sum(weights[server] * share for server, share in shares.items()) / full

    assert any(share > 0 for server, share in live.items() if server != pilot)
    assert left({**live, pilot: 0.0}) >= floor - 1e-6
    after = {**live, pilot: 1.0}
    for server in weights:
        if server != pilot and live[server] > 0:
            assert left({**after, server: 0.0}) >= floor - 1e-6


@given(situations())
def test_who_serves_is_spared_while_one_that_is_out_could_be_tried(
    situation: tuple[Service, dict[str, float], frozenset[str], float],
) -> None:
    service, live, drained, floor = situation
    choice = choose_pilot(service, live, drained, floor=floor)
    chosen = next((one for one in service.instances if one.name == choice.pilot), None)
    if chosen is not None and chosen.server not in drained:
        for one in service.instances:
            if one.server in drained:
                spared = choose_pilot(service, live, (one.server,), floor=floor)
                assert spared.pilot != one.name
