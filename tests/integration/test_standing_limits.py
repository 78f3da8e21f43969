"""Standing limits' whole life on a real HAProxy: learned, in shadow, approved, in force, watched, reverted."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from deployments.gateway import build_app, serving
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.incidents.decision import Person
from quell.incidents.errors import InvalidInput, Refused
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.mitigation import Step
from quell.incidents.threshold import ThresholdState
from quell.prevention.refusals import IN_FORCE, SHADOW
from tasks.approval import decide
from tasks.limiter import SUBJECT, intend
from tasks.question import text_hash
from tasks.shadow import watch_standing_limits
from tasks.standing import propose_of, study_standing
from tasks.standing_keep import RefusalMeter, keep_standing
from tasks.thresholds import promote_decided, promote_threshold, revert_threshold
from tests.limited_shop import NOW, World, limited_shop, with_policy

pytestmark = pytest.mark.integration


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with limited_shop(tmp_path) as shop:
        yield shop


def test_a_proposal_names_clients_new_ones_and_everyone_and_what_each_rests_on(world: World) -> None:
    made = world.propose()
    assert made.signal == SUBJECT and made.state is ThresholdState.PROPOSED
    assert made.clients is not None and set(made.clients) == {"web", "batch", "NEW", "OTHERS"}
    assert made.clients["web"] > 160 and made.clients["batch"] > 120, "twice the peak of ten seconds"
    assert made.clients["NEW"] == made.clients["web"] and made.clients["OTHERS"] == 2 * made.clients["NEW"]
    assert "web 193 requests in 10 s (peak 8 a second, reached in 2 of 11 blocks" in made.evidence["clients"]
    assert made.evidence["backtest"].startswith("none of ")
    assert "unknown: stands for requests without a name" in made.evidence["without a limit of their own"]
    assert "+web 193" in made.evidence["change"]
    assert world.in_force() == {} == world.on_disk(), "nothing is in force before a person approves it"


def test_in_shadow_nobody_is_refused_and_the_record_says_who_would_have_been(world: World) -> None:
    world.propose()
    watch_standing_limits(world.res)
    world.metrics.is_away = True
    watch_standing_limits(world.later(hours=1))
    world.metrics.is_away = False
    watch_standing_limits(world.later(hours=6))  # what was missed is caught up with
    shadow = world.record(SHADOW)
    assert shadow.measured == timedelta(hours=6) and world.version().state is ThresholdState.SHADOW
    assert [name for name, _ in shadow.worst_first()] == ["scraper"]
    refused = shadow.clients["scraper"]
    assert refused.refused == pytest.approx(6 * 600 * (30 - 19.3), rel=0.01)
    assert refused.worst == 60 * (30 - 19.3) and refused.minutes == 61
    assert world.send("scraper", 250).count(200) == 250, "in shadow nothing is refused"


def test_refusals_in_an_incident_are_counted_apart(world: World) -> None:
    made = Incident(
        id=IncidentId("INC-1"), state=IncidentState.RESOLVED, severity=Severity.MAJOR, title="flood", service="shop",
        onset_at=NOW, opened_at=NOW, updated_at=NOW, resolved_at=NOW + timedelta(hours=3), opened_because="a report",
        opened_by="reports",
    )  # fmt: skip
    world.propose()
    watch_standing_limits(world.res)
    with world.res.store.writing() as tx:
        tx.incidents.add(made)
    watch_standing_limits(world.later(hours=6))
    shadow = world.record(SHADOW)
    assert shadow.in_incidents == pytest.approx(shadow.refused, rel=0.05) and shadow.refused > 0


def test_nobody_decides_before_the_shadow_was_long_enough(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAROL_SECRET", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
    made = world.propose()
    watch_standing_limits(world.res)
    watch_standing_limits(world.later(hours=3))
    person = Person(name="carol", full_name="Carol", team="shop", roles=("approver",), totp_secret="env:CAROL_SECRET")
    early = replace(world.later(hours=3), config=replace(world.res.config, people={"carol": person}))
    with pytest.raises(Refused, match="21 h of measured traffic too short"):
        decide(
            early, subject=made.id, plan_hash=text_hash(made.rule), person="carol", code="123456", answer="approve",
            comment="", channel="cli",
        )  # fmt: skip
    world.approve()
    assert promote_decided(early) == [] == promote_decided(early)
    assert [text for kind, text in world.told() if kind == "threshold waits"] == [
        "THR-1 was not long enough in shadow: 21 h of measured traffic are missing"
    ]
    assert world.in_force() == {}


def test_in_force_each_client_is_held_to_its_own_limit_and_a_restart_keeps_it(world: World) -> None:
    ready = world.shadowed()
    assert promote_decided(ready) == ["THR-1"]
    assert world.in_force() == world.on_disk() == {name: str(n) for name, n in (world.version().clients or {}).items()}
    assert world.send("batch", 120) == [200] * 120, "its peak of ten seconds"
    over = world.send("batch", 150)
    assert over.count(200) == (world.version().clients or {})["batch"] - 120 and over[-1] == 429
    assert world.send("Web", 100) == [200] * 100
    assert world.send("stranger", 250).count(429) == 250 - (world.version().clients or {})["NEW"]
    assert world.send(None, 20) == [200] * 20
    world.proxy.kill()
    world.proxy.start_again()
    assert world.in_force() == world.on_disk() != {}


def test_the_text_that_was_approved_is_what_goes_into_force(world: World) -> None:
    ready = world.shadowed()
    with world.res.store.writing() as tx:
        changed = replace(world.version(), rule=world.version().rule.replace("web 193", "web 1"))
        tx.thresholds.put(changed)
    with pytest.raises(Refused, match="is not approved"):
        promote_threshold(ready, "THR-1", "carol")
    assert world.in_force() == {}


def test_an_incidents_throttle_is_stricter_and_its_undo_leaves_the_standing_limit(world: World) -> None:
    ready = world.shadowed()
    promote_decided(ready)
    actuator = world.res.actuators["haproxy"]
    step = Step(actuator="haproxy", action="throttle", target="client:batch", params={"requests_per_second": 5})
    before = actuator.read_state(step)
    actuator.apply(step)
    assert world.send("batch", 20).count(429) >= 10, "the stricter one counts"
    actuator.undo(step, before)
    assert actuator.verify_undone(step, before)
    assert world.in_force()["batch"] == str((world.version().clients or {})["batch"])
    time.sleep(1.1)
    assert world.send("batch", 40) == [200] * 40
    revert_threshold(ready, "THR-1", "dave", "try")
    actuator.apply(step)
    assert actuator.verify(step) and world.in_force() == {}, "a revert leaves the incident's throttle alone"


def test_a_revert_brings_back_the_limits_before(world: World) -> None:
    ready = world.shadowed()
    promote_decided(ready)
    first = world.in_force()
    second = propose_of(replace(with_policy(ready, headroom=4.0)), study_standing(with_policy(ready, headroom=4.0)))
    assert second == "THR-2"
    day = world.later(days=4)
    watch_standing_limits(ready)
    watch_standing_limits(day)
    world.approve("THR-2")
    promote_decided(day)
    assert int(world.in_force()["web"]) > 1.5 * int(first["web"])
    assert world.version().state is ThresholdState.SUPERSEDED
    assert "-web 193" in world.version("THR-2").evidence["change"]
    revert_threshold(day, "THR-2", "dave", "batch needs more")
    assert world.in_force() == first == world.on_disk()
    assert world.version().state is ThresholdState.ACTIVE
    revert_threshold(day, "THR-1", "dave", "none at all")
    assert world.in_force() == {} == world.on_disk()
    assert world.send("batch", 250) == [200] * 250


def test_limits_that_somebody_else_wrote_are_never_overwritten(world: World) -> None:
    ready = world.shadowed()
    text = "# ours\nweb 7\n"
    (world.proxy.maps / "standing.map").write_text(text)
    world.proxy.reload()
    assert promote_decided(ready) == []
    assert "standing.map is not as Quell left it" in dict(world.told())["threshold waits"]
    assert keep_standing(ready) == []
    assert (world.proxy.maps / "standing.map").read_text() == text and world.in_force() == {"web": "7"}


def test_a_limiter_that_counts_over_another_time_is_refused(world: World) -> None:
    ready = world.shadowed(window=timedelta(seconds=20))
    world.send("web", 1)
    with pytest.raises(InvalidInput, match=r"counts gpc1_rate over 10 s, and standing_limits.window .* is 20 s"):
        promote_threshold(ready, "THR-1", "carol")
    assert world.in_force() == {}


def test_who_is_refused_now_is_counted_beside_what_was_predicted(world: World) -> None:
    ready = world.shadowed()
    promote_decided(ready)
    meter = RefusalMeter(ready)
    meter.look()
    world.send("stranger", 250)
    world.send("batch", 200)
    meter.look()
    world.send("batch", 10)
    meter.look()
    seen = world.record(IN_FORCE)
    limits = world.version().clients or {}
    assert seen.offered == 460
    assert seen.clients["stranger"].refused == 250 - limits["NEW"]
    assert seen.clients["batch"].refused == 210 - limits["batch"] and seen.clients["batch"].offered == 210
    surprises = [text for kind, text in world.told() if kind == "standing limit refuses"]
    assert len(surprises) == 1 and surprises[0].startswith(
        "batch is refused, which neither history nor shadow predicted"
    )


def test_limits_that_were_lost_come_back_once_and_are_let_go_the_second_time(world: World) -> None:
    ready = world.shadowed()
    promote_decided(ready)
    limits = world.in_force()
    assert keep_standing(ready) == []
    for attempt in range(2):
        (world.proxy.maps / "standing.map").write_text("")
        world.proxy.reload()
        said = keep_standing(ready)
        assert len(said) == 1
        assert world.in_force() == (limits if attempt == 0 else {})
    assert world.version().state is ThresholdState.REVERTED and keep_standing(ready) == []


def test_an_intent_whose_approval_is_gone_is_undone(world: World) -> None:
    ready = world.shadowed()
    with world.res.store.writing() as tx:
        intend(tx, world.version(), NOW, "carol", "approved", is_revert=False)
        tx.decisions.delete("DEC-THR-1")
    actuator = world.res.actuators["haproxy"]
    assert isinstance(actuator, HAProxyActuator)
    actuator.standing.put(world.version().rule)
    assert keep_standing(ready) == ["THR-1 was begun and may not go on: no limit is in force"]
    assert world.in_force() == {} == world.on_disk() and keep_standing(ready) == []


def test_a_haproxy_that_is_away_changes_nothing_and_is_tried_again(world: World) -> None:
    ready = world.shadowed()
    world.proxy.kill()
    assert promote_decided(ready) == []
    assert "is it running?" in dict(world.told())["threshold waits"]
    assert world.version().state is ThresholdState.SHADOW
    world.proxy.start_again()
    assert promote_decided(ready) == ["THR-1"] and world.in_force() == world.on_disk() != {}


def test_the_page_shows_who_is_limited_who_would_be_refused_and_how_to_take_it_back(world: World) -> None:
    ready = world.shadowed()
    promote_decided(ready)
    meter = RefusalMeter(ready)
    meter.look()
    world.send("batch", 200)
    meter.look()
    with serving(build_app(ready)) as url, httpx.Client(base_url=url, timeout=20) as client:
        listed, one = client.get("/thresholds").text, client.get("/thresholds/THR-1").text
    assert "2 clients" in listed and "new ones 193 requests in 10 s" in listed
    assert "193 requests in 10 s" in one and "scraper" in one and "batch" in one
    assert "quell threshold revert THR-1" in one and "standing.map" in one
    assert "Would have been refused" in one and "Refused now" in one


def test_two_bursts_in_two_windows_may_be_read_as_one_which_is_why_headroom_is_at_least_two(world: World) -> None:
    """HAProxy estimates a sliding window from two counters; the client sent 100 in any ten seconds, never 200."""
    world.send("web", 100)
    time.sleep(10.05)
    began = time.monotonic()
    world.send("web", 100)
    assert time.monotonic() - began < 5
    text = RuntimeClient(world.proxy.socket, timedelta(seconds=5)).ask("show", "table", "st_admit", "key", "web")
    reading = re.search(r"gpc1_rate\(10000\)=(\d+)", text)
    assert reading is not None and 150 < int(reading[1]) <= 200
