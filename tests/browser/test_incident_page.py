"""The incident page in a real browser: it tells the story, fits a phone, loads nothing from elsewhere, and decides."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from deployments.gateway import serving
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.gateway.app import create_app
from quell.gateway.deps import ChartData, GatewayDeps
from quell.incidents.decision import Answer, Decision, Person
from quell.incidents.errors import Refused
from quell.incidents.inbox import InboxItem, InboxKind
from quell.incidents.incident import Incident
from quell.incidents.journal import JournalEntry, JournalState
from quell.incidents.mitigation import (
    BlastRadius,
    Mitigation,
    MitigationId,
    MitigationState,
    Plan,
    Step,
    plan_hash,
)
from quell.incidents.service import Catalog, Instance, Service
from quell.ports import Document
from quell.response.cost import Cost, cost_document, write_cost
from quell.response.traffic import ClientCount
from tasks.intake import drain_inbox
from tasks.resources import Resources
from tests.pages import keep, open_page

pytestmark = pytest.mark.browser

T0 = datetime(2026, 11, 23, 12, 4, 10, tzinfo=UTC)
NOW = T0 + timedelta(seconds=95)
RUN = "0b7e5f10-58a1-4c27-9a57-cd2b3f1f4a11"


def shop() -> Catalog:
    def service(name: str, instances: int, *needs: str, is_user_facing: bool = False) -> Service:
        members = tuple(Instance(name=f"{name}-{n}", service=name) for n in range(1, instances + 1))
        return Service(name=name, team="shop", depends_on=needs, is_user_facing=is_user_facing, instances=members)

    services = (
        service("storefront", 2, "checkout", "catalog", is_user_facing=True),
        service("checkout", 3, "payment"),
        service("payment", 2),
        service("catalog", 1),
        service("warehouse", 1),
    )
    return Catalog(services={s.name: s for s in services})


@dataclass
class Shop:
    url: str = ""
    store: MemoryStore = field(default_factory=MemoryStore)
    decisions: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def config(self) -> Config:
        alice = Person(name="alice", full_name="Alice", team="shop", roles=("approver",), totp_secret="env:NONE")
        return Config(
            folder=Path(),
            connections=Connections(store="", prometheus=""),
            catalog=shop(),
            people={"alice": alice},
        )

    def send(self, kind: InboxKind, source: str, payload: dict[str, Any]) -> None:
        with self.store.reading() as tx:
            number = len(tx.inbox.find())
        item = InboxItem(id=f"item-{number}", kind=kind, source=source, payload=payload, received_at=NOW)
        self.store.receive([item])

    def drain(self, now: datetime = T0 + timedelta(seconds=6)) -> None:
        resources = Resources(
            config=self.config(),
            store=self.store,
            metrics=None,
            actuators={},
            clock=lambda: now,  # type: ignore[arg-type]
        )
        drain_inbox(resources)

    def decide(self, **given: str) -> Decision:
        if given["code"] != "123456":
            raise Refused("one-time code of alice is wrong or used: wait for the next one")
        self.decisions.append(given)
        decision = Decision(
            id=f"DEC-{len(self.decisions)}",
            subject=given["subject"],
            plan_hash=given["plan_hash"],
            person=given["person"],
            answer=Answer(given["answer"]),
            comment=given["comment"],
            channel=given["channel"],
            at=NOW,
        )
        with self.store.writing() as tx:
            tx.decisions.add(decision)
        return decision


def alert(
    name: str, at: float, summary: str, numbers: tuple[float, float, float] | None, **labels: str
) -> dict[str, Any]:
    annotations = {"summary": summary}
    if numbers:
        annotations |= {key: str(value) for key, value in zip(("value", "expected", "upper"), numbers, strict=True)}
    start = (T0 + timedelta(seconds=at)).isoformat()
    return {"labels": {"alertname": name, **labels}, "annotations": annotations, "startsAt": start}


def tell_the_story(shop: Shop) -> None:
    """The incident of a bad configuration on checkout-2, and another one that is over."""
    shop.send(
        InboxKind.CHANGE,
        "api",
        {
            "kind": "config",
            "service": "checkout",
            "instance": "checkout-2",
            "at": (T0 - timedelta(seconds=90)).isoformat(),
            "summary": "payment_timeout_ms: 800 → 8",
            "commit": "4f1c2d9ab0",
            "author": "dora",
        },
    )
    bad = {"service": "checkout", "instance": "checkout-2", "severity": "critical"}
    words = "checkout-2 fails 61 % of its requests, expected 0.4 %"
    shop.send(
        InboxKind.ALERT,
        "sweep",
        alert("Anomaly", 0, words, (0.61, 0.004, 0.03), signal="instance-error-ratio", **bad),
    )
    shop.send(
        InboxKind.ALERT,
        "sweep",
        alert(
            "Anomaly",
            2,
            "storefront fails 20 % of its requests",
            (0.2, 0.004, 0.03),
            signal="shop-error-ratio",
            service="storefront",
            severity="major",
        ),
    )
    shop.send(
        InboxKind.ALERT, "alertmanager", alert("InstanceErrors", 20, "checkout-2 error ratio above 20 %", None, **bad)
    )
    for who, text in (("eve", "Payment fails, third try"), ("frank", "Something went wrong at checkout")):
        shop.send(
            InboxKind.REPORT, "api", {"text": text, "service": "storefront", "reporter": who, "at": T0.isoformat()}
        )
    shop.drain()


def plan_isolation(shop: Shop) -> None:
    step = Step(actuator="haproxy", action="isolate", target="be_checkout/checkout-2", params={"mode": "drain"})
    plan = Plan(
        playbook="isolate-bad-instance",
        incident="INC-1",
        target="checkout-2",
        steps=(step,),
        undo=("set server be_checkout/checkout-2 back to ready",),
        blast_radius=BlastRadius(
            service="checkout", instances=("checkout-2",), capacity_share=0.333, capacity_left=0.667
        ),
        evidence=("61 % of requests fail on checkout-2, its peers fail none", "change 4f1c2d9 90 s before onset"),
        needs_approval=True,
        approval_reason="it takes 33 % of the live capacity, above 25 % the policy asks for an approver",
        expires_after=timedelta(hours=1),
    )
    mitigation = Mitigation(
        id=MitigationId("MIT-1"),
        state=MitigationState.AWAITING_APPROVAL,
        plan=plan,
        plan_hash=plan_hash(plan),
        incident="INC-1",
        playbook=plan.playbook,
        service="checkout",
        target="checkout-2",
        requested_by="quell",
        created_at=NOW,
        updated_at=NOW,
        approval_deadline=NOW + timedelta(minutes=15),
        flow_run=RUN,
    )
    entry = JournalEntry(
        id="MIT-1/0",
        mitigation="MIT-1",
        position=0,
        step=step,
        state_before={"state": "ready", "weight": "100"},
        state=JournalState.INTENDED,
        holder="worker-1",
        intended_at=NOW,
    )
    with shop.store.writing() as tx:
        tx.mitigations.put(mitigation)
        tx.journal.put(entry)
        incident = tx.incidents.get("INC-1")
        assert incident is not None
        tx.incidents.put(replace(incident, flow_runs={"respond": "in process", "mitigate MIT-1": RUN}))


def users_ratio(_plan: Plan) -> ChartData:
    return replace(error_ratio(), title="users: shop-error-ratio, limit 3 %")


def error_ratio(_incident: Incident | None = None) -> ChartData:
    seconds = np.arange(-240, 90, 5, dtype=float)
    noise = np.random.default_rng(7).normal(0.004, 0.002, len(seconds)).clip(0)
    values = np.where(seconds > -8, 0.61 + 8 * noise - 0.03, noise)
    band = np.full(len(seconds), 0.03)
    return ChartData(
        title="instance-error-ratio checkout-2",
        unit="ratio",
        timestamps=seconds + T0.timestamp(),
        values=values,
        lower=band * 0,
        upper=band,
    )


@pytest.fixture
def gateway() -> Iterator[Shop]:
    shop = Shop()
    deps = GatewayDeps(
        store=shop.store,
        config=shop.config(),
        clock=lambda: NOW,
        decide=shop.decide,
        run_url=lambda run: f"http://127.0.0.1:1/runs/flow-run/{run}",
        series_for=error_ratio,
        users_signal=users_ratio,
    )
    with serving(create_app(deps)) as url:
        shop.url = url
        tell_the_story(shop)
        plan_isolation(shop)
        yield shop


def test_the_page_tells_who_is_suspected_and_why(gateway: Shop, chromium: Browser) -> None:
    page, troubles = open_page(chromium, f"{gateway.url}/incidents/INC-1", viewport={"width": 1280, "height": 900})
    assert page.locator("h1").inner_text() == "checkout-2 errors: 61 % of requests fail, users affected"
    first = page.locator(".suspects > li").first.inner_text()
    assert "checkout-2" in first and "configuration change 4f1c2d9 90 s before onset" in first
    assert page.locator(".alerts > li").count() == 3
    assert "storefront calls checkout" in page.locator("#alerts").inner_text()
    assert "Payment fails, third try" in page.locator("#reports").inner_text()
    assert page.locator("#chart svg").count() == 1
    assert (
        page.get_by_role("link", name="run in Prefect").get_attribute("href")
        == f"http://127.0.0.1:1/runs/flow-run/{RUN}"
    )
    assert "take" in page.locator("#MIT-1 .meter").get_attribute("aria-label")
    assert troubles == []
    keep(page, "incident-light")
    page.goto(f"{gateway.url}/")
    assert page.locator(".row").count() == 1
    keep(page, "list-light")


def test_who_decides_sees_the_users_signal_right_above_the_form_until_it_is_decided(
    gateway: Shop, chromium: Browser
) -> None:
    page, troubles = open_page(chromium, f"{gateway.url}/incidents/INC-1", viewport={"width": 1280, "height": 900})
    chart = page.get_by_role("img", name="users: shop-error-ratio, limit 3 %")
    assert chart.count() == 1 and ">onset<" in chart.inner_html()
    above = page.locator("#question").bounding_box()
    card = page.locator("#MIT-1").bounding_box()
    assert above is not None and card is not None and 0 <= card["y"] - above["y"] - above["height"] < 40
    keep(page, "question-chart")
    with gateway.store.writing() as tx:
        mitigation = tx.mitigations.get("MIT-1")
        assert mitigation is not None
        tx.mitigations.put(replace(mitigation, state=MitigationState.REFUSED))
    page.reload()
    assert not page.locator("#question").is_visible() and page.locator("#chart svg").count() == 1
    assert troubles == []


@pytest.mark.parametrize(("seconds", "ending"), [(None, " so far"), (12, "")])
def test_a_false_isolation_is_told_with_what_it_cost(
    gateway: Shop, chromium: Browser, seconds: int | None, ending: str
) -> None:
    """While the instance is out until now, afterwards until it came back."""
    since = NOW - timedelta(seconds=30)
    with gateway.store.writing() as tx:
        planned = tx.mitigations.get("MIT-1")
        assert planned is not None
        state = MitigationState.APPLIED if seconds is None else MitigationState.UNDONE
        ended = None if seconds is None else since + timedelta(seconds=seconds)
        reason = "" if seconds is None else "false isolation: users were never outside the limit"
        told = replace(planned, state=state, applied_at=since, ended_at=ended, recovery_reason=reason)
        tx.mitigations.put(told)
    page, troubles = open_page(chromium, f"{gateway.url}/incidents/INC-1", viewport={"width": 1280, "height": 900})
    assert page.locator("#MIT-1 .cost").inner_text() == (
        f"it cost 33 % of checkout's capacity for {seconds or 30} s{ending}"
    )
    assert ("false isolation" in page.locator("#MIT-1").inner_text()) is (seconds is not None)
    assert troubles == []
    keep(page, f"false-isolation-{state}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(gateway: Shop, chromium: Browser, scheme: Any) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme}
    page, troubles = open_page(chromium, f"{gateway.url}/incidents/INC-1", **phone)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert troubles == []
    keep(page, f"phone-{scheme}")
    if scheme == "dark":
        page.set_viewport_size({"width": 1280, "height": 900})
        keep(page, "incident-dark")


def throttle_everybody(shop: Shop) -> None:
    """A safeguard that is on, with what it has cost."""
    step = Step(
        actuator="haproxy",
        action="adaptive",
        target="global",
        params={"backend": "be_storefront", "latency_ms": 150, "floor_rps": 10},
    )
    clients = {"batch-importer": (9120, 1260), "mobile": (2510, 2479), "web": (3300, 3300)}
    cost = Cost(
        offered=14930,
        refused=7891,
        legitimate=5810,
        wrong=31,
        clients={name: ClientCount(offered=sent, admitted=admitted) for name, (sent, admitted) in clients.items()},
        latency_before_ms=2210.4,
        latency_ms=131.7,
    )
    with shop.store.writing() as tx:
        isolation = tx.mitigations.get("MIT-1")
        assert isolation is not None
        plan = replace(
            isolation.plan,
            playbook="adaptive-throttle",
            target="service:storefront",
            steps=(step,),
            undo=("take every limit of the adaptive throttle (global) away",),
            needs_approval=False,
        )
        on = replace(
            isolation,
            id=MitigationId("MIT-2"),
            state=MitigationState.EFFECTIVE,
            plan=plan,
            playbook="adaptive-throttle",
            target="service:storefront",
        )
        tx.mitigations.put(on)
        tx.documents.put(Document(id=cost_document("MIT-2"), kind="cost", updated_at=NOW, body=write_cost(cost)))


@pytest.mark.parametrize("width", [1280, 390])
def test_what_a_safeguard_costs_stands_beside_it(gateway: Shop, chromium: Browser, width: int) -> None:
    """Who was refused, and how many who did nothing wrong; it fits a phone."""
    throttle_everybody(gateway)
    page, troubles = open_page(chromium, f"{gateway.url}/incidents/INC-1", viewport={"width": width, "height": 900})
    cost = page.locator("#MIT-2 .cost").inner_text()
    assert "refused 7891 of 14930 requests since it is on" in cost
    assert "wrongly 31 of 5810 within everyday use (0.5%" in cost
    assert "take 132 ms on average, 2210 ms when it was put on" in cost
    rows = page.locator("#MIT-2 .cost tbody tr").all_inner_texts()
    assert [row.split()[0] for row in rows] == ["batch-importer", "mobile"], "who was not refused is not listed"
    assert page.locator("#MIT-1 .cost").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert troubles == []
    keep(page, f"cost-{width}")


def test_an_approver_decides_with_the_keyboard_alone(gateway: Shop, chromium: Browser) -> None:
    page, _ = open_page(chromium, f"{gateway.url}/incidents/INC-1")
    page.locator("#MIT-1").get_by_label("Your name").focus()
    for text in ("alice", "123456", "go ahead"):
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("alice: approve").wait_for()
    assert [(d["answer"], d["person"], d["channel"]) for d in gateway.decisions] == [("approve", "alice", "page")]
    assert page.locator("#MIT-1 form").count() == 0


def test_a_wrong_code_is_said_at_the_form_and_decides_nothing(gateway: Shop, chromium: Browser) -> None:
    page, _ = open_page(chromium, f"{gateway.url}/incidents/INC-1")
    page.locator("#MIT-1").get_by_label("Your name").fill("alice")
    page.locator("#MIT-1").get_by_label("One-time code").fill("000000")
    page.get_by_role("button", name="Refuse").click()
    page.get_by_role("alert").wait_for()
    assert "one-time code of alice is wrong" in page.locator("#MIT-1").inner_text()
    assert gateway.decisions == []


def test_news_appear_by_themselves_and_a_form_in_use_is_left_alone(gateway: Shop, chromium: Browser) -> None:
    page, _ = open_page(chromium, f"{gateway.url}/incidents/INC-1")
    page.locator("#MIT-1").get_by_label("Your name").fill("ali")
    bad = {"service": "payment", "instance": "payment-1", "severity": "minor"}
    gateway.send(InboxKind.ALERT, "alertmanager", alert("PaymentSlow", 30, "payment-1 is slow", None, **bad))
    gateway.drain(NOW)
    page.get_by_text("PaymentSlow").first.wait_for(timeout=2_000)  # by the stream, without a reload
    assert page.locator("#MIT-1").get_by_label("Your name").input_value() == "ali"


def test_what_senders_write_is_shown_and_never_run(gateway: Shop, chromium: Browser) -> None:
    gateway.send(InboxKind.REPORT, "api", {"text": "<img src=x onerror=alert(1)>", "service": "storefront"})
    gateway.drain(NOW)
    page, troubles = open_page(chromium, f"{gateway.url}/incidents/INC-1")
    assert "<img src=x onerror=alert(1)>" in page.locator("#reports").inner_text()
    assert troubles == []
