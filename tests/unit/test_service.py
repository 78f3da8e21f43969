"""The call graph answers who needs whom, also around cycles and unknown names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incidents.service import Catalog, Instance, Service

pytestmark = pytest.mark.unit


def catalog(**depends_on: tuple[str, ...]) -> Catalog:
    return Catalog(
        services={
            name: Service(
                name=name,
                team="shop",
                depends_on=needs,
                instances=(Instance(name=f"{name}-1", service=name), Instance(name=f"{name}-2", service=name)),
            )
            for name, needs in depends_on.items()
        }
    )


SHOP = catalog(storefront=("checkout", "catalog"), checkout=("payment",), payment=(), catalog=())


def test_dependencies_and_dependents_go_all_the_way_without_oneself() -> None:
    assert SHOP.dependencies("storefront") == {"checkout", "catalog", "payment"}
    assert SHOP.dependencies("payment") == frozenset()
    assert SHOP.dependents("payment") == {"checkout", "storefront"}
    assert SHOP.callers["checkout"] == ("storefront",)


def test_services_are_related_along_calls_and_not_across() -> None:
    assert SHOP.are_related("storefront", "payment")
    assert SHOP.are_related("payment", "storefront")
    assert SHOP.are_related("catalog", "catalog")
    assert not SHOP.are_related("catalog", "payment")


def test_a_cycle_ends() -> None:
    ring = catalog(a=("b",), b=("c",), c=("a",))
    assert ring.dependencies("a") == ring.dependents("a") == {"b", "c"}


def test_what_is_unknown_is_none_and_related_to_nothing_else() -> None:
    assert SHOP.service("search") is None
    assert SHOP.instance("search-1") is None
    assert SHOP.dependencies("search") == SHOP.dependents("search") == frozenset()
    assert not SHOP.are_related("search", "checkout")


def test_an_instance_is_found_by_its_name() -> None:
    found = SHOP.instance("checkout-2")
    assert found is not None and found.service == "checkout"
    assert len(SHOP.instances) == 8


NAMES = "abcd"
GRAPHS = st.fixed_dictionaries({name: st.lists(st.sampled_from(NAMES), max_size=3).map(tuple) for name in NAMES})


@given(GRAPHS)
def test_whoever_depends_on_a_service_is_its_dependent(graph: dict[str, tuple[str, ...]]) -> None:
    services = catalog(**graph)
    for one in NAMES:
        for other in NAMES:
            assert (other in services.dependencies(one)) == (one in services.dependents(other))
            assert services.are_related(one, other) == services.are_related(other, one)
