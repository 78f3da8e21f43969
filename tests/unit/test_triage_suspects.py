"""Who is suspected: the order that an on-call engineer would expect, and silence when nothing stands out."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incidents.change import Change, ChangeKind
from quell.incidents.incident import Severity
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.signal import SignalKind
from quell.incidents.suspect import Suspect
from quell.triage.effect import Effect
from quell.triage.impact import EASES_AFTER, judge_impact, step_severity, title_of
from quell.triage.linking import link_changes
from quell.triage.suspects import rank_suspects

pytestmark = pytest.mark.unit

T0 = datetime(2026, 11, 23, 12, tzinfo=UTC)
ERRORS, LATENCY, TRAFFIC = SignalKind.ERROR_RATIO, SignalKind.LATENCY, SignalKind.TRAFFIC


def service(name: str, instances: int, *needs: str, is_user_facing: bool = False) -> Service:
    members = tuple(Instance(name=f"{name}-{n}", service=name) for n in range(1, instances + 1))
    return Service(name=name, team="shop", depends_on=needs, is_user_facing=is_user_facing, instances=members)


SHOP = Catalog(
    services={
        s.name: s
        for s in (
            service("storefront", 2, "checkout", "catalog", is_user_facing=True),
            service("checkout", 3, "payment"),
            service("payment", 2),
            service("catalog", 1),
        )
    }
)


def effect(
    node: str, strength: float = 0.8, *, kind: SignalKind = ERRORS, at: float = 0, value: float | None = 0.5
) -> Effect:
    instance = SHOP.instance(node)
    return Effect(
        node=node,
        service=instance.service if instance else "storefront" if node.startswith("client:") else node,
        metric=str(kind),
        kind=kind,
        value=value,
        expected=0.01,
        strength=strength,
        words=f"{kind} is high",
        at=T0 + timedelta(seconds=at),
    )


def change(service: str, instance: str | None = None, *, seconds_before: float = 90, id: str = "chg") -> Change:
    return Change(
        id=id,
        kind=ChangeKind.CONFIG,
        service=service,
        instance=instance,
        at=T0 - timedelta(seconds=seconds_before),
        summary="a new timeout",
        commit="abc1234def",
        received_at=T0,
    )


def first(effects: Sequence[Effect], *changes: Change) -> Suspect:
    return rank_suspects(effects, changes, SHOP)[0]


@pytest.mark.parametrize(
    ("told", "nodes", "expected"),
    [
        ("the callee explains its caller", ["storefront", "checkout"], "checkout"),
        ("the deepest callee explains the chain", ["storefront", "checkout", "payment"], "payment"),
        ("an instance that stands out beats its service", ["checkout", "checkout-2"], "checkout-2"),
        ("all instances in trouble: it is the service", ["checkout-1", "checkout-2", "checkout-3"], "checkout"),
        (
            "a callee behind all instances of its caller",
            ["checkout-1", "checkout-2", "checkout-3", "payment-1"],
            "payment-1",
        ),
        ("a noisy client beats what it overloads", ["client:partner", "storefront"], "client:partner"),
    ],
)
def test_ranking(told: str, nodes: list[str], expected: str) -> None:
    effects = [effect(node, kind=TRAFFIC if node.startswith("client:") else ERRORS) for node in nodes]
    assert first(effects).node == expected, told


def test_a_service_whose_instances_are_all_out_comes_before_its_failing_caller() -> None:
    out = [effect(f"payment-{n}", 0.55, kind=SignalKind.OTHER, value=None) for n in (1, 2)]
    failing = [effect(f"checkout-{n}", 0.9) for n in (1, 2, 3)]
    assert first([*out, *failing]).node == "payment"
    assert first([*out[:1], *failing]).node != "payment", "one of two does not make it the service"


def test_a_client_whose_alert_gives_no_figure_is_borne_out_by_the_traffic_of_the_service() -> None:
    slow = effect("storefront", 0.9, kind=SignalKind.LATENCY)
    said = effect("client:partner", 0.55, kind=TRAFFIC, value=None)
    assert first([slow, said]).node == "storefront", "its label alone says little"
    best = first([slow, said, effect("storefront", 0.5, kind=TRAFFIC)])
    assert best.node == "client:partner"
    assert "the traffic of storefront bears it out" in best.reason
    quiet = replace(effect("storefront", 0.5, kind=TRAFFIC), value=0.001)
    assert first([slow, said, quiet]).node == "storefront", "less traffic than usual bears nothing out"


def test_a_recent_change_raises_its_node_and_is_named() -> None:
    effects = [effect("checkout-1"), effect("checkout-2")]
    best = first(effects, change("checkout", "checkout-2"))
    assert (best.node, best.change) == ("checkout-2", "chg")
    assert "configuration change abc1234 90 s before onset: a new timeout" in best.reason


def test_of_two_changes_the_nearer_one_is_named() -> None:
    old, new = (
        change("checkout", "checkout-2", seconds_before=3000, id="old"),
        change("checkout", "checkout-2", id="new"),
    )
    assert first([effect("checkout-2")], old, new).change == "new"


def test_the_only_changed_instance_of_a_troubled_service_is_suspected() -> None:
    assert first([effect("checkout")], change("checkout", "checkout-2")).node == "checkout-2"


def test_a_change_on_a_quiet_peer_accuses_nobody() -> None:
    suspects = rank_suspects([effect("checkout-2")], [change("checkout", "checkout-1")], SHOP)
    assert [(s.node, s.change) for s in suspects] == [("checkout-2", None)]


def test_whoever_showed_trouble_first_comes_first() -> None:
    assert first([effect("payment-1", at=50), effect("catalog", at=0)]).node == "catalog"


def test_nobody_is_named_when_nothing_stands_out() -> None:
    assert rank_suspects([], [change("checkout")], SHOP) == ()
    assert rank_suspects([effect("checkout", 0.1), effect("catalog", 0.15)], [], SHOP) == ()


EFFECTS = st.lists(
    st.builds(
        effect,
        st.sampled_from([*SHOP.services, *SHOP.instances, "client:partner"]),
        st.floats(0, 1),
        kind=st.sampled_from([ERRORS, LATENCY, TRAFFIC]),
        at=st.integers(0, 100),
    ),
    max_size=8,
)


@given(EFFECTS, st.randoms(use_true_random=False))
def test_scores_lie_in_0_to_1_best_first_with_reasons_whatever_the_order(effects: list[Effect], random: object) -> None:
    changes = [change("checkout", "checkout-2", id="a"), change("payment", id="b")]
    suspects = rank_suspects(effects, changes, SHOP)
    scores = [suspect.score for suspect in suspects]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < suspect.score <= 1 and suspect.reason for suspect in suspects)
    shuffled = [*effects]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert [s.node for s in rank_suspects(shuffled, changes[::-1], SHOP)] == [s.node for s in suspects]


def test_changes_are_linked_up_to_the_window_before_onset_and_where_the_incident_reaches() -> None:
    near, old, later, elsewhere = (
        change("payment", id="near"),
        change("payment", id="old", seconds_before=4000),
        change("payment", id="later", seconds_before=-300),
        change("storefront", id="elsewhere"),
    )
    linked = link_changes(
        [near, old, later, elsewhere], onset_at=T0, services=["checkout"], catalog=SHOP, window=timedelta(hours=1)
    )
    assert [c.id for c in linked] == ["near"]


def test_half_of_the_users_requests_failing_is_critical_whatever_the_label_says() -> None:
    impact = judge_impact(["info"], [effect("storefront", value=0.5)], ["storefront"], 0, SHOP)
    assert impact.severity is Severity.CRITICAL
    assert judge_impact([], [], ["checkout"], 0, SHOP).severity is Severity.MAJOR


@pytest.mark.parametrize(
    ("labels", "felt", "services", "reports", "severity", "reason"),
    [
        (["warning"], [0.08], ["storefront"], 0, "major", "users are affected"),
        (["warning"], [0.01], ["storefront"], 0, "minor", "an alert is labelled warning"),
        (["critical"], [], ["checkout"], 0, "critical", "users reach it through storefront"),
        (["critical"], [], ["lonely"], 0, "major", "but no user-facing service depends on it"),
        (["warning"], [], ["checkout"], 1, "major", "a user reports it"),
        ([], [], ["lonely"], 0, "minor", "no alert carries a severity"),
    ],
)
def test_severity_follows_what_users_feel_and_who_depends_on_it(
    labels: list[str], felt: list[float], services: list[str], reports: int, severity: str, reason: str
) -> None:
    seen = [effect("storefront", value=value) for value in felt]
    impact = judge_impact(labels, seen, services, reports, SHOP)
    assert impact.severity == severity
    assert reason in impact.reason


def test_severity_goes_up_at_once_and_down_only_when_less_trouble_lasts() -> None:
    minor = judge_impact(["warning"], [], ["lonely"], 0, SHOP)
    major = judge_impact(["major"], [], ["lonely"], 0, SHOP)
    assert step_severity(Severity.MINOR, None, major, firing=1, now=T0).severity is Severity.MAJOR
    first = step_severity(Severity.MAJOR, None, minor, firing=1, now=T0)
    assert (first.severity, first.eases_since) == (Severity.MAJOR, T0)
    later = step_severity(Severity.MAJOR, T0, minor, firing=1, now=T0 + EASES_AFTER)
    assert (later.severity, later.eases_since) == (Severity.MINOR, None)
    assert later.reason.startswith("for 2 min no more than this: ")
    silent = step_severity(Severity.MAJOR, T0, minor, firing=0, now=T0 + EASES_AFTER)
    assert (silent.severity, silent.eases_since) == (Severity.MAJOR, None)


def test_impact_is_told_in_users_terms() -> None:
    impact = judge_impact([], [effect("storefront", value=0.61)], ["storefront", "checkout"], 2, SHOP)
    assert impact.users == "error_ratio is high at storefront since 12:00:00 UTC; 2 users report it"


def test_the_title_says_who_what_and_whether_users_feel_it() -> None:
    assert title_of(effect("checkout-2"), SHOP) == "checkout-2 errors: error_ratio is high, users affected"
    assert title_of(effect("client:partner", kind=TRAFFIC), SHOP).startswith("client partner traffic: ")


def test_a_slow_sibling_does_not_share_the_errors_of_the_failing_one() -> None:
    """On a busy machine all three were slow for a moment, and the whole service was said to fail every request."""
    found = [effect("checkout-2", 0.9), *(effect(f"checkout-{n}", 0.4, kind=LATENCY) for n in (1, 2, 3))]
    ranked = rank_suspects(found, [change("checkout", "checkout-2")], SHOP)
    assert ranked[0].node == "checkout-2" and "checkout-1 and checkout-3 show nothing of the kind" in ranked[0].reason
    assert not any("on all 3 instances" in suspect.reason for suspect in ranked)
