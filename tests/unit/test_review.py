"""Reviews without a store: what rewriting keeps, what closing needs, when somebody is reminded."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incidents.change import Change, ChangeKind
from quell.incidents.decision import Person
from quell.incidents.errors import Conflict, InvalidInput, NotFound
from quell.incidents.review import ActionItem, Review, Section, SignOff
from quell.prevention.action_item import add_action, change_action
from quell.prevention.guard_standing import GuardStanding
from quell.prevention.postmortem import compose
from quell.prevention.reminder import duties_of, is_reminder_due
from quell.prevention.review_edit import LONGEST_SECTION, comment_on, edit_section
from quell.prevention.review_plan import authors_of, teams_of_people
from quell.prevention.rewrite import rewrite
from quell.prevention.sign_off import missing_to_close, sign

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
TODAY = NOW.date()
DUE = date(2026, 11, 26)
BOB = Person(name="bob", full_name="Bob", team="platform", roles=("approver",))
PLANNED = ActionItem(id="INC-1/A1", text="Find the cause", owner="bob", due=DUE, planned="Find the cause")
REVIEW = Review(
    id="INC-1",
    title="INC-1: errors",
    markdown="",
    written_at=NOW,
    sign_offs=(SignOff(team="platform", due=DUE), SignOff(team="shop", due=DUE)),
    action_items=(PLANNED,),
    sections=(
        Section(id="impact", title="Impact", text="many"),
        Section(id="signal", title="Signal", text="![x](data:)", is_record=True),
        Section(id="facts", title="Facts", text="| a |", is_record=True),
    ),
)


def edited(text: str = "ours", version: int = 1, review: Review = REVIEW) -> Review:
    return edit_section(review, "impact", text, version=version, by="bob", now=NOW).review


def section(review: Review, id: str = "impact") -> Section:
    found = review.section(id)
    assert found is not None
    return found


def test_a_chart_whose_samples_are_gone_stays_where_it_was() -> None:
    drafted = replace(REVIEW, sections=(REVIEW.sections[0], REVIEW.sections[2]))
    assert [s.id for s in rewrite(REVIEW, drafted).sections] == ["impact", "signal", "facts"]


def test_untouched_drafts_follow_the_record_and_touched_ones_stay() -> None:
    newer = replace(REVIEW, sections=tuple(replace(s, text=s.text + " more") for s in REVIEW.sections))
    followed, kept = rewrite(REVIEW, newer), rewrite(edited(), newer)
    assert section(followed).text == "many more" and followed.edition == 2
    assert section(kept).text == "ours" and section(kept).has_news and section(kept).draft == "many more"
    assert section(kept, "facts").text == "| a | more"


def test_rewriting_twice_is_rewriting_once() -> None:
    newer = replace(REVIEW, action_items=(replace(PLANNED, text="Guard it", planned="Guard it"),))
    once = rewrite(edited(), newer)
    assert rewrite(once, newer) == once


def test_a_planned_item_that_the_record_no_longer_calls_for_goes_unless_somebody_took_it_up() -> None:
    newer = replace(REVIEW, action_items=(replace(PLANNED, text="Guard it", planned="Guard it"),))
    [item] = rewrite(REVIEW, newer).action_items
    assert (item.id, item.text) == ("INC-1/A2", "Guard it")  # a number is given once
    changed = change_action(
        REVIEW, "INC-1/A1", version=1, text="Find it soon", owner="bob", due=DUE, by="bob", known=["bob"], today=TODAY
    ).review
    assert [i.text for i in rewrite(changed, newer).action_items] == ["Find it soon", "Guard it"]
    assert [i.text for i in rewrite(changed, REVIEW).action_items] == ["Find it soon"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "would be empty"), ("many", "nothing was changed"), ("x" * (LONGEST_SECTION + 1), "the limit is 20000")],
)
def test_an_edit_that_says_nothing_new_or_too_much_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        edited(text)


def test_what_the_record_says_is_not_edited() -> None:
    with pytest.raises(InvalidInput, match="section facts is the record's own"):
        edit_section(REVIEW, "facts", "better", version=1, by="bob", now=NOW)
    with pytest.raises(NotFound, match="there are: impact, signal, facts"):
        edit_section(REVIEW, "fact", "better", version=1, by="bob", now=NOW)


@given(st.lists(st.sampled_from(["alice", "bob"]), min_size=1, max_size=8), st.data())
def test_edits_from_any_versions_lose_no_words(writers: list[str], data: st.DataObject) -> None:
    """Whoever writes from an older version gets a conflict; what was accepted is a chain in which each saw the last."""
    review, accepted = REVIEW, ["many"]
    for number, writer in enumerate(writers):
        seen = data.draw(st.integers(1, section(review).version))
        try:
            made = edit_section(review, "impact", f"{writer} {number}", version=seen, by=writer, now=NOW)
        except Conflict:
            assert seen < section(review).version
            continue
        assert f"-{accepted[-1]}" in made.evidence["diff"] and f"+{writer} {number}" in made.evidence["diff"]
        review = made.review
        accepted.append(f"{writer} {number}")
    assert section(review).text == accepted[-1] and section(review).version == len(accepted)


def test_headings_of_a_section_do_not_pass_for_sections() -> None:
    text = compose(edited("# Why\n\n```\n# a comment in code\n```\n## How"))
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Impact", "## Signal", "## Facts", "## Action items", "## Sign-offs",
    ]  # fmt: skip
    assert "### Why" in text and "\n# a comment in code" in text


def test_a_comment_changes_no_edition_and_no_signature() -> None:
    signed = sign(REVIEW, "platform", person=BOB, people={"bob": BOB}, edition=1, comment="", now=NOW).review
    commented = comment_on(signed, "impact", "and the app?", by="bob", now=NOW).review
    assert (commented.edition, commented.sign_offs) == (signed.edition, signed.sign_offs)


def test_a_team_of_which_nobody_is_known_is_signed_for_by_another_and_that_is_said() -> None:
    """Or its incident could never be closed."""
    made = sign(REVIEW, "shop", person=BOB, people={"bob": BOB}, edition=1, comment="", now=NOW)
    assert "on behalf of a team of which people.yaml names nobody (platform)" in made.text


def test_what_is_missing_is_said_a_sentence_each() -> None:
    assert missing_to_close(REVIEW, GuardStanding()) == (
        "platform has not signed (due 2026-11-26)",
        "shop has not signed (due 2026-11-26)",
        "there is no guard that would have caught it, and nobody has waived it with a reason",
    )


def test_duties_are_in_the_order_of_their_dates_with_how_late_they_are() -> None:
    later = add_action(
        REVIEW, text="Later", owner="bob", due=date(2026, 12, 5), by="bob", known=["bob"], today=TODAY
    ).review
    duties = duties_of(later, date(2026, 11, 28))
    assert [(d.subject, d.days) for d in duties] == [("platform", 2), ("shop", 2), ("INC-1/A1", 2), ("INC-1/A2", -7)]
    assert duties[2].in_words == "INC-1/A1 (Find the cause; bob) is overdue for 2 days"


@given(st.integers(1, 40), st.integers(1, 30))
def test_nobody_is_reminded_twice_in_a_day(days_until_due: int, looks_per_day: int) -> None:
    due, told = TODAY + timedelta(days=days_until_due), list[datetime]()
    for look in range(30 * looks_per_day):
        now = NOW + timedelta(days=look / looks_per_day)
        if is_reminder_due(due, told[-1] if told else None, now):
            told.append(now)
    assert all(later - earlier >= timedelta(hours=24) for earlier, later in pairwise(told))


def test_teams_are_found_from_authors_as_git_and_pipelines_write_them() -> None:
    change = Change(
        id="c", kind=ChangeKind.CONFIG, service="x", at=NOW, summary="", author="bob <b@x>", received_at=NOW
    )
    assert teams_of_people({"bob": BOB}, authors_of([change])) == ("platform",)
    assert teams_of_people({"bob": BOB}, ["mallory", "quell", ""]) == ()
