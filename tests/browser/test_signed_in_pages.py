"""Pages with people who sign in, in a real browser: sessions, roles, waits, forged forms, live news, many alerts."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from pyotp.totp import TOTP

from deployments.gateway import build_app, serving
from quell.adapters.password import hash_password
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.incidents.alert import Alert, AlertId, AlertOutcome, AlertStatus, Ruling, rule_alert
from quell.incidents.decision import Person
from quell.incidents.errors import Unavailable
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.labels import Fingerprint
from quell.incidents.mitigation import BlastRadius, Mitigation, MitigationId, MitigationState, Plan, plan_hash
from quell.incidents.mitigation import Step as PlanStep
from quell.incidents.notification import Notification, NotificationKind, NotificationState
from quell.incidents.report import Report
from quell.incidents.suspect import Suspect
from quell.incidents.timeline import Event
from quell.ports import MetricSource
from tasks.resources import Resources
from tests.page_checks import CONTRAST, NAMELESS, REPEATED_IDS
from tests.pages import keep

pytestmark = pytest.mark.browser
T0 = datetime(2026, 11, 23, 12, 4, 10, tzinfo=UTC)
PASSWORD = "correct horse battery staple"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
HASH = hash_password(PASSWORD)


class NoMetrics:
    def range(self, *_: Any, **__: Any) -> Any:
        raise Unavailable("prometheus cannot be reached: check that it runs")


@dataclass
class Shop:
    url: str = ""
    now: datetime = T0 + timedelta(minutes=2)
    store: MemoryStore = field(default_factory=MemoryStore)

    def code(self) -> str:
        return TOTP(SECRET).at(self.now)


def person(name: str, role: str, secret: str = "") -> Person:
    return Person(name=name, full_name=name.title(), team="shop", roles=(role,), totp_secret=secret, password_hash=HASH)


def incident(number: int = 1, **changes: Any) -> Incident:
    made = Incident(
        id=IncidentId(f"INC-{number}"),
        state=IncidentState.TRIAGED,
        severity=Severity.CRITICAL,
        title="checkout-2 errors: 61 % of requests fail, users affected",
        service="checkout",
        onset_at=T0,
        opened_at=T0 + timedelta(seconds=6),
        updated_at=T0 + timedelta(seconds=6),
        opened_because="InstanceErrors of checkout-2: nothing near it in time or in the call graph",
        opened_by="alertmanager",
        suspects=(Suspect(node="checkout-2", metric="errors", score=0.93, reason="its error ratio rose first"),),
    )
    return replace(made, **changes)


def alert(number: int, **labels: str) -> Alert:
    at = T0 + timedelta(milliseconds=number)
    return Alert(
        id=AlertId(f"a{number}"),
        fingerprint=Fingerprint(f"{number:016x}"),
        status=AlertStatus.FIRING,
        labels={"alertname": f"Errors{number % 7}", "service": "checkout", "instance": f"pod-{number}", **labels},
        annotations={"summary": f"pod-{number} fails"},
        starts_at=at,
        source="alertmanager",
        received_at=at,
        updated_at=at,
        outcome=AlertOutcome.JOINED,
        outcome_reason="same service within 10 min",
        incident="INC-1",
    )


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setenv("ALICE_TOTP", SECRET)
    made = Shop()
    people = (person("alice", "approver", "env:ALICE_TOTP"), person("vera", "viewer"), person("carol", "analyst"))
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus=""),
        people={p.name: p for p in people},
    )
    metrics = cast(MetricSource, NoMetrics())
    res = Resources(config=config, store=made.store, metrics=metrics, actuators={}, clock=lambda: made.now)
    with serving(build_app(res)) as url:
        made.url = url
        with made.store.writing() as tx:
            tx.next_number("INC")
            tx.incidents.put(incident())
            tx.alerts.put(alert(1, zone="<script>document.title='owned'</script>"))
            tx.timeline.append(Event(incident="INC-1", at=T0, kind="incident opened", by="quell", text="it began"))
        yield made


def sign_in(page: Page, shop: Shop, name: str, password: str = PASSWORD, code: str = "") -> None:
    if "/sign-in" not in page.url:
        page.goto(f"{shop.url}/incidents/INC-1")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_label("One-time code").fill(code)
    page.get_by_role("button", name="Sign in").click()


def test_reading_needs_sign_in_which_leads_back_and_ends_with_signing_out(shop: Shop, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(f"{shop.url}/incidents/INC-1")
    assert "/sign-in?next=/incidents/INC-1" in page.url
    keep(page, "sign-in")
    sign_in(page, shop, "alice", code=shop.code())
    assert page.url == f"{shop.url}/incidents/INC-1" and "Alice" in page.locator(".top").inner_text()
    [session] = [c for c in context.cookies() if c["name"] == "quell_session"]
    assert session["httpOnly"] and session["sameSite"] == "Strict"
    with shop.store.reading() as tx:
        assert session["value"] not in str(tx.documents.find({"kind": "session"}))  # only its hash is kept
    keep(page, "signed-in")
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{shop.url}/")
    assert "/sign-in" in page.url


def test_a_session_ends_when_nobody_is_there_for_an_hour(shop: Shop, context: BrowserContext) -> None:
    page = context.new_page()
    sign_in(page, shop, "carol")
    shop.now += timedelta(minutes=59)
    page.goto(f"{shop.url}/")
    assert "/sign-in" not in page.url
    shop.now += timedelta(minutes=61)
    page.goto(f"{shop.url}/")
    assert "/sign-in" in page.url


def test_a_link_from_another_site_finds_the_session_again(shop: Shop, context: BrowserContext) -> None:
    """SameSite=Strict keeps the cookie back on the first step from a chat; the page asks itself once more."""
    page = context.new_page()
    sign_in(page, shop, "carol")
    page.wait_for_url("**/incidents/INC-1")
    page.goto(f"data:text/html,<a href='{shop.url}/incidents/INC-1'>incident</a>")
    page.get_by_text("incident").click()
    page.locator("h1").get_by_text("checkout-2 errors").wait_for(timeout=5000)


def test_wrong_tries_have_to_wait_and_right_ones_as_well(shop: Shop, context: BrowserContext) -> None:
    page = context.new_page()
    for _ in range(5):
        sign_in(page, shop, "carol", "wrong password here")
        assert "name, password or one-time code is wrong" in page.get_by_role("alert").inner_text()
    sign_in(page, shop, "carol")
    assert "too many wrong tries: wait 15 s" in page.get_by_role("alert").inner_text()
    shop.now += timedelta(seconds=16)
    sign_in(page, shop, "carol")
    assert "/sign-in" not in page.url


def test_a_code_signs_in_once(shop: Shop, context: BrowserContext, chromium: Browser) -> None:
    sign_in(context.new_page(), shop, "alice", code=shop.code())
    second = chromium.new_context()
    page = second.new_page()
    sign_in(page, shop, "alice", code=shop.code())
    assert "is wrong: a code works once" in page.get_by_role("alert").inner_text()
    second.close()


def test_a_viewer_reads_and_is_refused_what_changes_anything(shop: Shop, context: BrowserContext) -> None:
    page = context.new_page()
    sign_in(page, shop, "vera")
    assert "You may read" in page.locator("#actions").inner_text()
    assert page.locator("#actions form").count() == 0
    csrf = page.locator("form.who input[name=csrf]").get_attribute("value")
    form = {"csrf": csrf or "", "action": "acknowledge", "subject": "INC-1"}
    answer = context.request.post(f"{shop.url}/incidents/INC-1/act", form=form)
    assert answer.status == 403 and "it needs any role but viewer" in answer.text()


def test_somebody_with_a_role_acknowledges_and_dismisses_under_the_own_name(
    shop: Shop, context: BrowserContext
) -> None:
    page = context.new_page()
    sign_in(page, shop, "carol")
    page.get_by_role("button", name="Acknowledge").click()
    page.get_by_text("carol looks after it").wait_for()
    page.get_by_text("Dismiss as false positive").click()
    page.get_by_label("Why it is none").fill("a drill")
    page.get_by_role("button", name="Dismiss").click()
    page.locator(".badge.state-dismissed").first.wait_for()
    with shop.store.reading() as tx:
        assert [e.by for e in tx.timeline.of("INC-1")][-2:] == ["carol", "carol"]


@pytest.mark.parametrize("headers", [{}, {"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
def test_a_forged_form_is_refused(shop: Shop, context: BrowserContext, headers: dict[str, str]) -> None:
    page = context.new_page()
    sign_in(page, shop, "carol")
    csrf = page.locator("form.who input[name=csrf]").get_attribute("value") if headers else "guessed"
    form = {"csrf": csrf or "", "action": "acknowledge", "subject": "INC-1"}
    answer = context.request.post(f"{shop.url}/incidents/INC-1/act", form=form, headers=headers)
    assert answer.status == 403 and "not from this page" in answer.text()


def test_the_api_and_the_streams_need_the_session_too(shop: Shop) -> None:
    for path in ("/api/v1/incidents", "/api/v1/incidents/INC-1", "/events", "/incidents/INC-1/events"):
        assert httpx.get(f"{shop.url}{path}").status_code == 401


def test_news_arrive_without_a_reload_and_leave_text_focus_and_open_details_alone(
    shop: Shop, context: BrowserContext
) -> None:
    page = context.new_page()
    sign_in(page, shop, "carol")
    page.evaluate("window.stays = true")
    page.get_by_text("Dismiss as false positive").click()
    page.get_by_label("Why it is none").type("half a sen")
    page.wait_for_timeout(300)  # the stream is open
    with shop.store.writing() as tx:
        tx.incidents.put(incident(severity=Severity.MINOR, updated_at=shop.now))
        tx.timeline.append(Event(incident="INC-1", at=shop.now, kind="severity", by="quell", text="it got better"))
    page.locator("#timeline").get_by_text("it got better").wait_for(timeout=2000)
    page.locator("#head .severity-minor").wait_for(timeout=1000)
    assert "it got better" in page.locator("#said").inner_text()
    assert page.get_by_label("Why it is none").input_value() == "half a sen"
    assert page.evaluate("document.activeElement.name") == "why" and page.evaluate("window.stays")


def test_labels_of_senders_are_text_and_the_page_runs_nothing_of_its_own(shop: Shop, context: BrowserContext) -> None:
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    sign_in(page, shop, "carol")
    assert "<script>" in page.locator("#alerts").inner_text() and "owned" not in page.title()
    assert page.locator("[style], main style, script:not([src])").count() == 0
    assert troubles == []


def test_ten_thousand_alerts_stand_in_groups_that_load_when_opened(shop: Shop, context: BrowserContext) -> None:
    with shop.store.writing() as tx:
        tx.alerts.put_all([alert(number) for number in range(10_000)])
    page = context.new_page()
    sign_in(page, shop, "carol")
    assert "10,000, 10,000 firing" in page.locator("#h-alerts").inner_text()
    assert page.locator(".groups > li").count() == 7 and page.evaluate("document.querySelectorAll('*').length") < 1200
    page.locator(".groups summary").first.click()
    page.locator(".groups .alerts > li").first.wait_for()
    assert page.locator(".groups .alerts > li").count() == 50
    assert "Why joined: same service within 10 min" in page.locator(".groups .alerts > li").first.inner_text()
    page.locator(".groups .turn").click()
    page.locator("#alert-a9996").wait_for(state="detached")
    assert page.locator(".groups .alerts > li").count() == 50
    page.get_by_label("Find alerts").fill("pod-777")
    page.locator("#found").get_by_text("pod-777 fails").first.wait_for()
    keep(page, "ten-thousand")


def test_the_list_is_filtered_by_its_address_and_pages(shop: Shop, context: BrowserContext) -> None:
    with shop.store.writing() as tx:
        for number in range(2, 140):
            at = T0 - timedelta(minutes=number)
            state = IncidentState.CLOSED if number > 4 else IncidentState.CONTAINED
            name = ("payment", "catalog", "storefront")[number % 3]
            tx.incidents.put(
                incident(number, opened_at=at, updated_at=at, state=state, service=name, title=f"{name} is slow",
                         severity=list(Severity)[number % 3])
            )  # fmt: skip
    page = context.new_page()
    sign_in(page, shop, "vera")
    page.goto(f"{shop.url}/")
    keep(page, "list")
    assert page.locator(".row").count() == 50 and "139 found" in page.locator("#list .lead").inner_text()
    page.get_by_role("link", name="Further").click()
    page.get_by_role("link", name="Further").click()
    assert page.locator(".row").count() == 39
    page.get_by_role("link", name="Back").click()
    assert page.locator(".row").first.get_attribute("id") == "INC-51"
    page.keyboard.press("/")
    page.keyboard.type("payment slow")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=payment+slow**")
    assert "46 found" in page.locator("#list .lead").inner_text()
    page.goto(f"{shop.url}/?state=active&service=nowhere")
    assert "Nothing fits this filter" in page.locator("#list").inner_text()
    page.goto(f"{shop.url}/?state=magic")
    assert "state is 'magic'" in page.get_by_role("alert").inner_text()


def test_an_incident_is_merged_with_one_that_is_chosen_and_says_where_it_went(
    shop: Shop, context: BrowserContext
) -> None:
    with shop.store.writing() as tx:
        tx.incidents.put(incident(2, title="payment is slow", service="payment"))
        tx.alerts.put(replace(alert(2, service="payment"), incident="INC-2"))
    page = context.new_page()
    sign_in(page, shop, "carol")
    page.get_by_text("Merge with another").click()
    page.get_by_label("The other incident").select_option("INC-2")
    page.get_by_label("Which one stays").select_option("other")
    page.get_by_label("Why they are one").fill("one broken disk")
    keep(page, "merge")
    page.get_by_role("button", name="Merge").click()
    page.wait_for_url("**/incidents/INC-2")
    page.goto(f"{shop.url}/incidents/INC-1")
    assert page.locator(".banner a").get_attribute("href") == "/incidents/INC-2"
    keep(page, "merged")
    with shop.store.reading() as tx:
        assert {a.incident for a in tx.alerts.find()} == {"INC-2"}
        assert tx.incidents.get("INC-1").state is IncidentState.MERGED  # pyright: ignore[reportOptionalMemberAccess]
        assert "carol" in {entry.by for entry in tx.timeline.of("INC-2")}


def test_a_refused_merge_says_why_at_its_form_and_keeps_what_was_typed(shop: Shop, context: BrowserContext) -> None:
    """The other one was closed by somebody else between looking and deciding."""
    with shop.store.writing() as tx:
        tx.incidents.put(incident(2))
    page = context.new_page()
    sign_in(page, shop, "carol")
    page.get_by_text("Merge with another").click()
    page.get_by_label("The other incident").select_option("INC-2")
    page.get_by_label("Why they are one").fill("one broken disk")
    with shop.store.writing() as tx:
        tx.incidents.put(incident(2, state=IncidentState.CLOSED))
    page.get_by_role("button", name="Merge").click()
    assert "INC-2 is closed and cannot be merged away" in page.locator("#merge [role=alert]").inner_text()
    assert page.get_by_label("Why they are one").input_value() == "one broken disk"
    assert page.locator("[role=alert]").count() == 1


def test_ticked_alerts_become_an_incident_of_their_own(shop: Shop, context: BrowserContext) -> None:
    with shop.store.writing() as tx:
        tx.alerts.put_all([alert(2), alert(3)])
    page = context.new_page()
    sign_in(page, shop, "carol")
    page.get_by_text("Split off what is ticked").first.click()
    page.get_by_label("Why they are something else").fill("another rack")
    page.get_by_role("button", name="Split off what is ticked").click()
    assert "no alert is named" in page.locator("#split [role=alert]").inner_text()
    page.get_by_label("Split off Errors3 pod-3").check()
    keep(page, "split")
    page.get_by_role("button", name="Split off what is ticked").click()
    page.get_by_text("A person keeps it apart from").wait_for()
    with shop.store.reading() as tx:
        new = next(i for i in tx.incidents.find() if i.id != "INC-1")
        assert [a.id for a in tx.alerts.find({"incident": new.id})] == ["a3"]
        assert "carol split it from INC-1: another rack" in new.opened_because


def test_a_whole_group_of_many_alerts_is_split_off_with_one_tick(shop: Shop, context: BrowserContext) -> None:
    with shop.store.writing() as tx:
        tx.alerts.put_all([alert(number) for number in range(210)])
    page = context.new_page()
    sign_in(page, shop, "carol")
    page.locator(".groups summary", has_text="Errors4").click()
    page.get_by_label("tick all 30 Errors4 to split them off").check()
    page.get_by_text("Split off what is ticked").first.click()
    page.get_by_label("Why they are something else").fill("another rack")
    keep(page, "split-group")
    page.get_by_role("button", name="Split off what is ticked").click()
    page.get_by_text("A person keeps it apart from").wait_for()
    with shop.store.reading() as tx:
        assert tx.alerts.count({"incident": "INC-1"}) == 180
        new = next(i for i in tx.incidents.find() if i.id != "INC-1")
        assert {a.name for a in tx.alerts.find({"incident": new.id})} == {"Errors4"}


def test_an_alert_is_muted_from_its_incident_and_the_silence_ended_from_the_list(
    shop: Shop, context: BrowserContext
) -> None:
    page = context.new_page()
    sign_in(page, shop, "carol")
    page.locator("#alert-a1").get_by_role("link", name="silence Errors1 pod-1").click()
    matchers = page.get_by_label("Matchers").input_value()
    assert 'instance="pod-1"' in matchers and 'zone="<script>' in matchers
    page.get_by_label("Matchers").fill('service="checkout", instance=~"pod-.*')
    page.get_by_label("Comment").fill("disk is replaced")
    page.get_by_label("For").select_option("4h")
    page.get_by_role("button", name="Mute").click()
    assert page.get_by_role("alert").inner_text() and "pod-" in page.get_by_label("Matchers").input_value()
    page.get_by_label("Matchers").fill('service="checkout",\ninstance=~"pod-.*"')
    keep(page, "silence-form")
    page.get_by_role("button", name="Mute").click()
    page.wait_for_url("**/silences#SIL-*")
    with shop.store.reading() as tx:
        [silence] = tx.silences.find()
    assert (silence.created_by, silence.comment) == ("carol", "disk is replaced")
    assert silence.ends_at == shop.now + timedelta(hours=4)
    assert silence.mutes({"service": "checkout", "instance": "pod-77"}, shop.now)
    keep(page, "silences")
    page.get_by_text("End it now").click()
    page.get_by_role("button", name=f"Expire {silence.id}").click()
    page.get_by_role("heading", name="Over in the last 7 days").wait_for()
    with shop.store.reading() as tx:
        assert tx.silences.find()[0].ends_at == shop.now
        assert tx.timeline.entries()[-1].by == "carol"


def test_a_viewer_finds_no_form_to_regroup_or_mute_and_is_refused_it(shop: Shop, context: BrowserContext) -> None:
    page = context.new_page()
    sign_in(page, shop, "vera")
    assert page.locator("input[type=checkbox], #merge, #split, a[href^='/silences/new']").count() == 0
    page.goto(f"{shop.url}/silences/new")
    assert page.locator("main form").count() == 0
    csrf = page.locator("form.who input[name=csrf]").get_attribute("value") or ""
    form = {"csrf": csrf, "matchers": "service=checkout", "lasting": "1h", "why": "quiet"}
    answer = context.request.post(f"{shop.url}/silences/new", form=form)
    assert answer.status == 403 and "it needs any role but viewer" in answer.text()
    split = {"csrf": csrf, "action": "split", "subject": "INC-1", "alerts": "a1", "why": "no"}
    assert context.request.post(f"{shop.url}/incidents/INC-1/act", form=split).status == 403


@pytest.mark.parametrize("path", ["/silences/new", "/silences/expire"])
def test_a_forged_silence_is_refused(shop: Shop, context: BrowserContext, path: str) -> None:
    sign_in(context.new_page(), shop, "carol")
    form = {"csrf": "guessed", "matchers": "service=checkout", "why": "quiet", "subject": "SIL-1"}
    answer = context.request.post(f"{shop.url}{path}", form=form)
    assert answer.status == 403 and "not from this page" in answer.text()


def test_why_tells_every_decision_on_an_alert_with_the_rule_and_where_it_is_written(
    shop: Shop, context: BrowserContext
) -> None:
    muted = Ruling(
        at=T0, outcome=AlertOutcome.MUTED, reason="nights are quiet", rule="nights", rule_at="maintenance.yaml:4"
    )
    joined = Ruling(
        at=T0 + timedelta(minutes=1),
        outcome=AlertOutcome.JOINED,
        reason="calls checkout",
        rule="dependency",
        incident="INC-1",
    )
    with shop.store.writing() as tx:
        tx.alerts.put(rule_alert(rule_alert(replace(alert(5), outcome=None), muted), joined))
    page = context.new_page()
    sign_in(page, shop, "vera")
    assert page.locator("#why-a5 .why").count() == 0  # loaded when somebody asks
    page.locator("#why-a5 summary").click()
    page.locator("#why-a5 .why li").first.wait_for()
    told = page.locator("#why-a5").inner_text()
    assert "calls checkout" in told and "rule dependency" in told
    assert "nights are quiet" in told and "maintenance.yaml:4" in told
    keep(page, "why")


def test_a_person_approves_with_the_keyboard_alone(shop: Shop, context: BrowserContext) -> None:
    step = PlanStep(actuator="haproxy", action="drain", target="shop/checkout-2")
    radius = BlastRadius(service="checkout", instances=("checkout-2",), capacity_share=0.33, capacity_left=0.66)
    plan = Plan(
        playbook="isolate-bad-instance",
        incident="INC-1",
        target="checkout-2",
        steps=(step,),
        undo=("ready again",),
        blast_radius=radius,
        evidence=(),
        needs_approval=True,
        approval_reason="it takes a third",
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
        created_at=shop.now,
        updated_at=shop.now,
        approval_deadline=shop.now + timedelta(minutes=15),
    )
    with shop.store.writing() as tx:
        tx.mitigations.put(mitigation)
    page = context.new_page()
    sign_in(page, shop, "alice", code=shop.code())
    page.wait_for_url("**/incidents/INC-1")
    shop.now += timedelta(seconds=30)  # a code works once: the next one
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#MIT-1') && document.activeElement.name") == "code":
            break
    page.keyboard.type(shop.code())
    page.keyboard.press("Tab")
    page.keyboard.type("it is the worst one")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.value") == "approve"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"  # one sees where one is
    page.keyboard.press("Enter")
    page.locator("#MIT-1").get_by_text("it is the worst one").wait_for()
    with shop.store.reading() as tx:
        [decision] = tx.decisions.find()
    assert (decision.person, decision.answer, decision.channel) == ("alice", "approve", "page")


def test_notifications_and_reports_stand_on_the_page_without_addresses_or_senders(
    shop: Shop, context: BrowserContext
) -> None:
    def notification(id: str, state: NotificationState, **changes: Any) -> Notification:
        made = Notification(
            id=id, state=state, kind=NotificationKind.OPENED, receiver="on-call", incident="INC-1", subject="INC-1",
            cause="opened", created_at=T0, updated_at=T0, due_at=None,
        )  # fmt: skip
        return replace(made, **changes)

    with shop.store.writing() as tx:
        error = "attempt 3: env:PAGER was not reached: refused ****"
        tx.notifications.put(notification("n1", NotificationState.FAILED, errors=(error,)))
        tx.notifications.put(notification("n2", NotificationState.HELD, receiver="shop", reason="quiet hours"))
        tx.notifications.put(notification("n3", NotificationState.SENT, receiver="mail", reached=("env:MAIL",)))
        first = Report(id="r1", text="cannot pay", at=T0, incident="INC-1", sender="mark-of-a-sender", copies=4)
        tx.reports.put(first)
        tx.reports.put(replace(first, id="r2", text="cannot pay!", copies=0, part_of="r1"))
    page = context.new_page()
    sign_in(page, shop, "vera")
    told = page.locator("#notifications").inner_text()
    for part in ("to on-call", "failed", "was not reached", "to shop", "held", "quiet hours", "to mail", "sent"):
        assert part in told
    assert "and 4 more like it" in page.locator("#reports").inner_text()
    assert page.locator("#reports .item").count() == 1
    assert "mark-of-a-sender" not in page.content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_fields_have_names_and_landmarks_are_there(
    shop: Shop, chromium: Browser, scheme: Any
) -> None:
    context = chromium.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{shop.url}/incidents/INC-1")
    for place in ("/sign-in", "/incidents/INC-1", "/", "/silences", "/silences/new?alert=a1&back=INC-1"):
        if place != "/sign-in":
            page.goto(f"{shop.url}{place}")
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        for landmark in ("header", "nav", "main", "h1"):
            assert page.locator(landmark).count() >= 1, landmark
        assert page.evaluate(REPEATED_IDS) == []
        keep(page, f"phone-{scheme}-{place.partition('?')[0].strip('/').replace('/', '-') or 'list'}")
        if place == "/sign-in":
            sign_in(page, shop, "carol")
    context.close()


def test_a_page_beyond_the_limit_of_streams_asks_instead(shop: Shop, context: BrowserContext) -> None:
    page = context.new_page()
    sign_in(page, shop, "carol")
    page.route("**/events?*", lambda route: route.fulfill(status=503, headers={"Retry-After": "2"}, body="{}"))
    page.goto(f"{shop.url}/incidents/INC-1")
    with shop.store.writing() as tx:
        tx.timeline.append(Event(incident="INC-1", at=shop.now, kind="note", by="quell", text="heard by asking"))
    page.locator("#timeline").get_by_text("heard by asking").wait_for(timeout=8000)
