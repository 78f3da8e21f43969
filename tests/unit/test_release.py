"""What speaks against giving a server more of its share back."""

from datetime import timedelta

import pytest

from quell.response.release import Answers, ReleaseRule, trouble_of

pytestmark = pytest.mark.unit


def answers(requests: int, errors: int = 0) -> dict[str, Answers]:
    return {"be/web-1": Answers(requests=requests, errors=errors)}


@pytest.mark.parametrize(
    ("now", "stops"),
    [
        (answers(1000), False),  # nothing was answered since
        (answers(1001, 1), False),  # one error is no pattern
        (answers(1002, 2), True),
        (answers(1040, 2), False),  # 5 % exactly
        (answers(1039, 2), True),
        (answers(10, 4), True),  # the counters began anew with a reload
    ],
)
def test_errors_since_the_share_was_given_count(now: dict[str, Answers], stops: bool) -> None:
    assert bool(trouble_of(answers(1000), now)) is stops


def test_a_server_that_was_not_counted_before_is_not_accused_of_its_past() -> None:
    assert trouble_of({}, answers(100, 50)) == ""


def test_the_next_share_is_the_first_that_is_larger() -> None:
    rule = ReleaseRule(shares=(0.01, 0.1, 0.5), hold=timedelta(seconds=5))
    assert [rule.after(share) for share in (0.0, 0.01, 0.1, 0.5)] == [0.01, 0.1, 0.5, None]
    assert ReleaseRule().after(0.0) is None
