"""Everyday use of clients: learned evenly at first, forgotten in the end."""

import random
from collections.abc import Mapping

import numpy as np
import pytest

from quell.response.usual import Usual, learn, most_of

pytestmark = pytest.mark.unit


def test_the_first_readings_count_evenly_as_numpy_has_it() -> None:
    dice = random.Random(1)
    rates = [dice.gauss(20, 4) for _ in range(40)]
    known: Mapping[str, Usual] = {}
    for rate in rates:
        known = learn(known, {"web": rate})
    assert known["web"].mean == pytest.approx(float(np.mean(rates)))
    assert known["web"].variance == pytest.approx(float(np.var(rates)))


def test_a_client_counts_as_known_only_after_a_minute() -> None:
    known: Mapping[str, Usual] = {}
    for _ in range(5):
        known = learn(known, {"web": 10.0})
    assert most_of(known) == {}
    assert most_of(learn(known, {"web": 10.0})) == {"web": pytest.approx(11.0)}


def test_who_is_gone_fades_away() -> None:
    known = learn({}, {"web": 10.0})
    for _ in range(2000):
        known = learn(known, {})
    assert known == {}


def test_many_names_do_not_grow_without_end() -> None:
    """Anybody may invent names."""
    assert len(learn({}, {f"client-{n}": 1.0 + n for n in range(5000)})) == 2000
