"""The post-mortem's page in a real browser: edits and conflicts, signatures, roles, forged forms, print and phone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from deployments.gateway import build_app, serving
from quell.adapters.password import hash_password
from quell.adapters.store.memory import MemoryStore
from quell.incidents.incident import IncidentState
from quell.prevention.blameless import find_blame
from tests.page_checks import CONTRAST, NAMELESS, REPEATED_IDS
from tests.pages import keep
from tests.postmortem_room import SECRET, SECRET_VARIABLE, Room, people

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery staple"
HASH = hash_password(PASSWORD)


@dataclass
class Site:
    url: str
    room: Room

    @property
    def page(self) -> str:
        return f"{self.url}/incidents/INC-1/postmortem"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    room = Room(MemoryStore(), tmp_path, people=people(password_hash=HASH)).open()
    with serving(build_app(room.res)) as url:
        yield Site(url, room)


def sign_in(context: BrowserContext, site: Site, name: str) -> Page:
    page = context.new_page()
    page.goto(site.page)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("One-time code").fill(site.room.code())
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/postmortem")
    site.room.now += timedelta(minutes=2)  # the next code
    return page


def open_edit(page: Page, section: str) -> None:
    page.locator(f"#edit-{section} > summary").click()


def test_a_section_is_edited_and_the_timeline_says_so(site: Site, context: BrowserContext) -> None:
    page = sign_in(context, site, "alice")
    open_edit(page, "lessons")
    page.locator("#edit-lessons textarea").fill("The timeout had **no lower bound**.\n\n<b>not bold</b>")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/postmortem#section-lessons")
    lessons = page.locator("#section-lessons")
    assert lessons.locator("strong", has_text="no lower bound").count() == 1
    assert "<b>not bold</b>" in lessons.inner_text() and "edited by alice" in lessons.inner_text()
    assert site.room.entries("review edited")[-1][1] == "alice"
    page.locator("#history-all > summary").click()
    page.locator("#history").get_by_text("section What we learned edited, version 2").wait_for()
    page.locator("#history").get_by_text("Difference").click()
    assert "+The timeout had **no lower bound**." in page.locator("#history pre").inner_text()
    keep(page, "postmortem-edited")


def test_two_people_editing_get_a_conflict_and_both_texts(
    site: Site, context: BrowserContext, chromium: Browser
) -> None:
    """The second one sees the first one's words above, keeps what was typed, and saves knowingly."""
    alice = sign_in(context, site, "alice")
    other = chromium.new_context()
    bob = sign_in(other, site, "bob")
    for page, words in ((alice, "from alice"), (bob, "from bob")):
        open_edit(page, "cause")
        page.locator("#edit-cause textarea").fill(words)
    alice.locator("#edit-cause").get_by_role("button", name="Save").click()
    alice.wait_for_url("**#section-cause")
    bob.locator("#edit-cause").get_by_role("button", name="Save").click()
    told = bob.locator("#section-cause").get_by_role("alert").inner_text()
    assert "was changed by alice" in told and "nothing of either is lost" in told
    assert "from alice" in bob.locator("#section-cause .prose").inner_text()
    assert bob.locator("#edit-cause textarea").input_value() == "from bob"
    keep(bob, "postmortem-conflict")
    bob.wait_for_timeout(1500)  # a page that refreshes itself must not take the words away
    assert bob.locator("#edit-cause textarea").input_value() == "from bob"
    assert not bob.locator("body.is-stale").count()
    bob.get_by_role("button", name="Save mine").click()
    bob.wait_for_url("**#section-cause")
    assert site.room.text("cause") == "from bob" and len(site.room.entries("review edited")) == 2
    other.close()


def test_what_somebody_else_does_appears_while_a_form_is_kept(site: Site, context: BrowserContext) -> None:
    page = sign_in(context, site, "alice")
    open_edit(page, "impact")
    page.locator("#edit-impact textarea").fill("half written")
    site.room.act("bob", "comment", subject="cause", text="look at the schema")
    page.locator("#section-cause .comments").get_by_text("look at the schema").wait_for(timeout=8000)
    assert page.locator("#edit-impact textarea").input_value() == "half written"


def test_the_teams_sign_and_the_incident_is_closed(site: Site, context: BrowserContext, chromium: Browser) -> None:
    page = sign_in(context, site, "alice")
    assert page.get_by_role("button", name="for platform").count() == 0  # only one's own team
    page.get_by_role("button", name="Sign edition 1 for shop").click()
    page.wait_for_url("**#sign-offs")
    assert "signed by alice" in page.locator("#sign-offs").inner_text()
    other = chromium.new_context()
    bob = sign_in(other, site, "bob")
    bob.get_by_role("button", name="Sign edition 1 for platform").click()
    bob.locator("#sign-offs").get_by_text("Closed.").wait_for()
    assert site.room.state is IncidentState.CLOSED
    assert bob.locator("#edit-impact").count() == 0 and bob.locator("#add").count() == 1
    keep(bob, "postmortem-closed")
    other.close()


def test_what_is_refused_stands_at_its_form_with_what_was_typed(site: Site, context: BrowserContext) -> None:
    page = sign_in(context, site, "alice")
    page.locator("#add > summary").click()
    form = page.locator("#add form")
    form.get_by_label("What").fill("Bound every timeout")
    form.get_by_label("Owner").fill("nobody we know")
    form.get_by_label("Due").fill("2026-12-05")
    form.get_by_role("button", name="Add").click()
    assert "owner 'nobody we know' is not known" in page.locator("#actions").get_by_role("alert").inner_text()
    assert form.get_by_label("What").input_value() == "Bound every timeout"
    form.get_by_label("Owner").fill("platform")
    form.get_by_role("button", name="Add").click()
    page.locator("#actions").get_by_text("Bound every timeout").first.wait_for()
    assert site.room.review.action_items[-1].added_by == "alice"


def test_a_viewer_reads_and_who_has_not_signed_in_does_not_even_that(site: Site, context: BrowserContext) -> None:
    page = sign_in(context, site, "vera")
    assert page.locator("form.act").count() == 0 and "You may read." in page.locator("#head").inner_text()
    assert httpx.get(site.page, trust_env=False).status_code == 303
    assert httpx.get(f"{site.page}.md", trust_env=False).status_code == 303


def test_a_form_from_elsewhere_changes_nothing(site: Site, context: BrowserContext) -> None:
    page = sign_in(context, site, "alice")
    cookies = {c["name"]: c["value"] for c in context.cookies()}
    form = {"action": "comment", "subject": "impact", "text": "forged", "csrf": "guessed"}
    answer = httpx.post(site.page, data=form, cookies=cookies, trust_env=False)
    assert answer.status_code == 403 and "the form is not from this page" in answer.text
    form["csrf"] = page.locator("input[name=csrf]").last.get_attribute("value") or ""
    answer = httpx.post(
        site.page, data=form, cookies=cookies, headers={"Origin": "https://evil.example"}, trust_env=False
    )
    assert answer.status_code == 403 and site.room.review.comments == ()


def test_words_that_blame_are_pointed_out_and_the_draft_has_none(site: Site, context: BrowserContext) -> None:
    assert [find_blame(s.text) for s in site.room.review.sections if find_blame(s.text)] == []
    site.room.act("carol", "edit", subject="lessons", version=1, text="bob forgot the check")
    page = sign_in(context, site, "alice")
    assert "“forgot” (say what did not show it)" in page.locator("#section-lessons").get_by_role("note").inner_text()


def test_print_is_the_document_alone_on_white_with_everything_unfolded(site: Site, chromium: Browser) -> None:
    """From a dark screen too: no forms, no links to pages, the whole timeline, a line to sign on."""
    dark = chromium.new_context(viewport={"width": 794, "height": 1123}, color_scheme="dark")
    page = sign_in(dark, site, "alice")
    page.emulate_media(media="print", color_scheme="light")  # as browsers print
    assert page.locator("form:visible").count() == 0 and page.locator(".top:visible").count() == 0
    assert page.get_by_text("an approver of team shop looks after it").is_visible()
    assert page.locator("#team-shop .line").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("img.picture").evaluate("image => image.naturalWidth") > 0
    widest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('main *')].map(e => e.getBoundingClientRect().right))"
    )
    assert widest <= 794
    keep(page, "postmortem-print")
    assert page.pdf(format="A4").startswith(b"%PDF")
    dark.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone_and_every_control_has_a_name(site: Site, chromium: Browser, scheme: str) -> None:
    phone = chromium.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)  # type: ignore[arg-type]
    page = sign_in(phone, site, "alice")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.reload()
    for summary in page.locator("main summary").all():
        if summary.is_visible():
            summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(NAMELESS) == [] and page.evaluate(REPEATED_IDS) == [] and said == []
    keep(page, f"postmortem-phone-{scheme}")
    phone.close()


def test_without_passwords_people_prove_themselves_with_a_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: BrowserContext
) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    room = Room(MemoryStore(), tmp_path).open()
    with serving(build_app(room.res)) as url:
        page = context.new_page()
        page.goto(f"{url}/incidents/INC-1/postmortem")
        page.locator("#comment-cause > summary").click()
        form = page.locator("#comment-cause form")
        form.get_by_label("Your name").fill("carol")
        form.get_by_label("One-time code").fill(room.code())
        form.get_by_label("Comment").fill("hello")
        form.get_by_role("button", name="Comment").click()
        page.locator("#section-cause .comments").get_by_text("hello").wait_for()
    assert room.review.comments[0].by == "carol"


def test_what_is_due_is_listed_for_everybody_or_for_one(site: Site, context: BrowserContext) -> None:
    page = sign_in(context, site, "alice")
    site.room.now += timedelta(minutes=1)
    page.get_by_role("link", name="Reviews").click()
    duties = page.locator("#duties li")
    assert duties.count() == 4 and "sign-off of platform" in duties.first.inner_text()
    keep(page, "reviews")
    page.get_by_label("Whose").select_option("shop")
    page.get_by_role("button", name="Show").click()
    assert duties.count() == 1
    duties.get_by_role("link", name="INC-1").click()
    page.wait_for_url("**/incidents/INC-1/postmortem#sign-offs")


def test_the_markdown_is_the_same_document(site: Site, context: BrowserContext) -> None:
    page = sign_in(context, site, "alice")
    with page.expect_download() as download:
        page.get_by_role("link", name="Markdown").click()
    assert download.value.suggested_filename == "INC-1.md"
    assert Path(download.value.path()).read_text() == site.room.review.markdown
