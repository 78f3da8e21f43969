"""Waiting in tests: a slow server is asked again, a wrong answer is not, and the bound holds."""

from collections.abc import Iterator

import httpx
import pytest

from quell.incidents.errors import InvalidInput, Unavailable
from tests.waiting import wait_until

pytestmark = pytest.mark.unit


def ask(answers: Iterator[object]) -> object:
    answer = next(answers)
    if isinstance(answer, Exception):
        raise answer
    return answer


def test_a_question_without_an_answer_is_asked_again() -> None:
    """Prefect's server took longer than ten seconds once, and a test of half a minute's patience failed."""
    answers = iter([httpx.ReadTimeout("slow"), Unavailable("busy"), None, False, "so"])
    assert wait_until("it is so", lambda: ask(answers), within=30, every=0) == "so"


def test_nothing_found_is_an_answer() -> None:
    assert wait_until("none are left", lambda: 0, within=0) == 0


def test_the_bound_holds_and_the_failure_says_why() -> None:
    def away() -> None:
        raise httpx.ConnectError("nobody is there")

    with pytest.raises(pytest.fail.Exception, match=r"(?s)it is up: not within 0\.02 s.*nobody is there.*the log"):
        wait_until("it is up", away, within=0.02, every=0.01, tell=lambda: "the log")


@pytest.mark.parametrize("error", [InvalidInput("no such run"), httpx.InvalidURL("?"), AssertionError("it died")])
def test_what_is_wrong_is_told_at_once(error: Exception) -> None:
    answers = iter([error, "so"])
    with pytest.raises(type(error)):
        wait_until("it is so", lambda: ask(answers), within=30)
