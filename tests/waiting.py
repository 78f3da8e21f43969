"""Waiting for what happens outside: it is asked about until it is so, within a bound."""

import time
from collections.abc import Callable
from typing import TypeVar

import httpx
import pytest

from quell.incidents.errors import Unavailable

T = TypeVar("T")
# A server that is slow, busy or just coming up: a person would press reload. What it says itself is never passed by.
NOT_YET = (httpx.TransportError, Unavailable)


def wait_until(
    what: str,
    ask: Callable[[], T | None],
    *,
    within: float = 30,
    every: float = 0.05,
    tell: Callable[[], object] = str,
) -> T:
    """The first answer that is neither None nor False; asked once more when the time (seconds) is up.

    A question that got no answer counts as "not yet". The test fails with `tell()` and with the last question's error.
    """
    deadline = time.monotonic() + within
    while True:
        is_last, missed = time.monotonic() >= deadline, ""
        try:
            answer = ask()
        except NOT_YET as error:
            answer, missed = None, f"; the last question got no answer: {error!r}"
        if answer is not None and answer is not False:
            return answer
        if is_last:
            pytest.fail(f"{what}: not within {within:g} s{missed}\n{tell()}")
        time.sleep(every)
