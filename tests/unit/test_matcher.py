"""Matchers read and select as Alertmanager's do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quell.incidents.errors import InvalidInput
from quell.incidents.matcher import Matcher, MatchOperator, format_matchers, matches_all, parse_matchers

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ('service="checkout"', {"service": "checkout"}, True),
        ('service="checkout"', {"service": "checkout-2"}, False),
        ('service!="checkout"', {"service": "payment"}, True),
        ('service!="checkout"', {}, True),
        ('service=""', {}, True),
        ('instance=~"checkout-.*"', {"instance": "checkout-2"}, True),
        ('instance=~"checkout"', {"instance": "checkout-2"}, False),  # anchored at both ends
        ('instance!~"checkout-[12]"', {"instance": "checkout-3"}, True),
        ('instance!~"checkout-[12]"', {"instance": "checkout-2"}, False),
        ('instance=~".*"', {}, True),
        ('{a="1", b="2"}', {"a": "1", "b": "2"}, True),
        ('{a="1", b="2"}', {"a": "1", "b": "3"}, False),
        ("{}", {"a": "1"}, True),
        ("", {}, True),
    ],
)
def test_a_selection_holds_when_every_matcher_does(text: str, labels: dict[str, str], expected: bool) -> None:
    assert matches_all(parse_matchers(text), labels) is expected


def test_braces_quotes_and_spaces_are_optional() -> None:
    wanted = parse_matchers('{service="checkout",severity!="info"}')
    assert parse_matchers(" service = checkout , severity != info ") == wanted
    assert parse_matchers('{ service="checkout", severity!=info, }') == wanted
    assert parse_matchers('{service="checkout", severity!=info') == wanted  # as Alertmanager has it


def test_a_quoted_value_may_hold_anything() -> None:
    (matcher,) = parse_matchers(r'summary="a \"b\", {c}=\\d"')
    assert matcher.value == r'a "b", {c}=\d'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('service="checkout', "does not close"),
        ('service=="checkout"', "cannot be read at"),
        ("checkout", "cannot be read at 'checkout'"),
        ('a="1" b="2"', "cannot be read at"),
        ('a="1", 2b="2"', """cannot be read at '2b="2"'"""),
        ('a=~"("', "is not a regular expression"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_matchers(text)
    assert why in str(refused.value)


@given(
    st.lists(
        st.builds(
            Matcher,
            st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]*", fullmatch=True),
            st.sampled_from([MatchOperator.EQUAL, MatchOperator.NOT_EQUAL]),
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
        ),
        max_size=4,
    )
)
def test_what_is_written_reads_back_the_same(matchers: list[Matcher]) -> None:
    assert parse_matchers("{" + ", ".join(map(str, matchers)) + "}") == tuple(matchers)


TEXTS = st.one_of(
    st.text(st.sampled_from('{}=~!",\\n abc_:.*()[]?+|^$'), max_size=25),
    st.text(max_size=20),
    st.from_regex(r'\{?[a-z_]+(=~|!~|=|!=)"?[a-z.*|\\n"(),\[\]{}0-9]*"?,?\}?', fullmatch=True),
)


@settings(max_examples=400)
@given(TEXTS)
def test_any_text_is_read_or_refused_and_what_is_read_reads_back_the_same(text: str) -> None:
    """A fuzzer: whatever people or programs send, nothing but InvalidInput comes out."""
    try:
        found = parse_matchers(text)
    except InvalidInput:
        return
    assert parse_matchers(format_matchers(found)) == found
    for matcher in found:
        assert matcher.matches({matcher.name: "abc"}) in (True, False)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(.*a){20}"])
def test_no_expression_takes_longer_than_the_text_is_long(pattern: str) -> None:
    """In an engine that tries again and again, the first of these takes longer than the sun shines."""
    (matcher,) = parse_matchers(f'label=~"{pattern}"')
    assert not matcher.matches({"label": "a" * 5000 + "!"})
