"""Blameless: drafts accuse nobody, prose names nobody, and what a person writes is looked at for words that blame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incidents.decision import Person
from quell.prevention.blameless import Cast, find_blame, named_by_role

pytestmark = pytest.mark.unit
BOB = Person(name="bob", full_name="Bob Tanaka", team="platform", roles=("approver",), email="bob@shop.example")
CAST = Cast(people={"bob": BOB}, programs=frozenset({"ci"}))


@pytest.mark.parametrize(
    "text",
    [
        "It was Bob's fault.",
        "the deploy is to blame",
        "a careless change",
        "Root cause: human error",
        "Somebody should have seen it",
        "bob forgot the check",
        "the engineer failed to test it",
        "she made a mistake",
        "An OBVIOUSLY WRONG value",
    ],
)
def test_words_that_blame_are_found_with_what_to_say_instead(text: str) -> None:
    [blame] = find_blame(text)[:1]
    assert blame.remedy.startswith("say what")


@pytest.mark.parametrize(
    "text",
    [
        "a page fault in the kernel, and a segmentation fault",
        "the request failed to reach checkout",
        "the timeout could be lower",
        "`git blame` names the commit",
        "> Users wrote: you should have told us",
        "```\nERROR: operator error ignored\n```",
        "a fault-tolerant queue",
    ],
)
def test_technical_words_code_and_quotations_blame_nobody(text: str) -> None:
    assert find_blame(text) == ()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("bob looks after it", "an approver of team platform looks after it"),
        ("asked Bob Tanaka twice", "asked an approver of team platform twice"),
        ("by bob@shop.example.", "by an approver of team platform."),
        ("bob: approve (page)", "an approver of team platform: approve (page)"),
        ("bob-canary-2 and /home/bob/x stay", "bob-canary-2 and /home/bob/x stay"),
        ("bobsled", "bobsled"),
    ],
)
def test_people_are_named_by_role_and_team_and_machines_keep_their_names(said: str, told: str) -> None:
    assert CAST.prose(said) == told


def test_who_is_in_no_file_is_a_person_and_a_program_keeps_its_name() -> None:
    assert [CAST.actor(by) for by in ("bob", "root", "quell", "ci", "alertmanager")] == [
        "an approver of team platform", "a person", "quell", "ci", "alertmanager",
    ]  # fmt: skip
    assert CAST.prose("root restarted it", by="root") == "a person restarted it"
    assert CAST.prose("quell restarted it", by="quell") == "quell restarted it"


def test_somebody_without_a_role_is_a_member() -> None:
    vera = Person(name="vera", full_name="Vera", team="shop", roles=("viewer",))
    assert named_by_role(vera) == "a member of team shop"


@given(
    st.text(max_size=200), st.text(alphabet=st.characters(categories=["Lu", "Ll", "P", "S"]), min_size=1, max_size=8)
)
def test_any_text_and_any_name_can_be_looked_at(text: str, name: str) -> None:
    """Names are no patterns: brackets and backslashes in one break nothing."""
    cast = Cast(people={name: Person(name=name, full_name=name, team="a\\1", roles=())})
    assert isinstance(cast.prose(text + name, by=name), str)
    assert isinstance(find_blame(text), tuple)
