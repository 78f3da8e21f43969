"""Signing in on every store: hashes only, tries counted before they are looked at, sessions that end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from pyotp.totp import TOTP

from quell.adapters.password import hash_password, is_right_password
from quell.adapters.sessions import IDLE, LONGEST, find_session, note_visit
from quell.config.config import Config, Connections
from quell.incidents.attempts import TooManyTries
from quell.incidents.decision import Person
from quell.incidents.errors import InvalidInput, Refused
from quell.ports import MetricSource, Store
from tasks.approval import used_code_steps
from tasks.resources import Resources
from tasks.sign_in import sign_in

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PASSWORD = "correct horse battery"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
HASH = hash_password(PASSWORD)


@pytest.fixture
def res(every_store: Store, monkeypatch: pytest.MonkeyPatch) -> Resources:
    monkeypatch.setenv("ALICE_TOTP", SECRET)
    alice = Person(
        name="alice", full_name="Alice", team="shop", roles=("approver",), totp_secret="env:ALICE_TOTP",
        password_hash=HASH,
    )  # fmt: skip
    vera = Person(name="vera", full_name="Vera", team="shop", roles=("viewer",), password_hash=HASH)
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus=""),
        people={"alice": alice, "vera": vera},
    )
    return Resources(
        config=config, store=every_store, metrics=cast(MetricSource, None), actuators={}, clock=lambda: NOW
    )


def enter(res: Resources, person: str = "vera", **given: Any) -> str:
    return sign_in(res, **{"person": person, "password": PASSWORD, "code": "", "address": "10.0.0.7", **given})


def test_a_session_is_found_until_it_is_idle_too_long_or_too_old(res: Resources) -> None:
    token = enter(res)
    people = res.config.people
    with res.store.writing() as tx:
        session = find_session(tx, token, people, NOW + IDLE - timedelta(seconds=1))
        assert session is not None and session.person == "vera"
        assert find_session(tx, token, people, NOW + IDLE) is None
        assert find_session(tx, f"{token}x", people, NOW) is None
        note_visit(tx, session, NOW + LONGEST - timedelta(minutes=1))
        assert find_session(tx, token, people, NOW + LONGEST - timedelta(seconds=1)) is not None
        assert find_session(tx, token, people, NOW + LONGEST) is None


def test_a_session_dies_with_its_person_and_with_the_password(res: Resources) -> None:
    token = enter(res)
    vera = res.config.people["vera"]
    with res.store.reading() as tx:
        assert find_session(tx, token, {}, NOW) is None
        changed = {"vera": replace(vera, password_hash=hash_password("another good password"))}
        assert find_session(tx, token, changed, NOW) is None


def test_who_has_a_secret_needs_a_code_and_it_is_spent_for_approvals_too(res: Resources) -> None:
    with pytest.raises(Refused, match="name, password or one-time code is wrong"):
        enter(res, "alice")
    enter(res, "alice", code=TOTP(SECRET).at(NOW))
    with res.store.reading() as tx:
        assert used_code_steps(tx, "alice") == {int(NOW.timestamp()) // 30}
    with pytest.raises(Refused):
        enter(res, "alice", code=TOTP(SECRET).at(NOW))


def test_an_address_that_tries_many_names_has_to_wait(res: Resources) -> None:
    for number in range(20):
        with pytest.raises(Refused, match="is wrong"):
            enter(res, f"nobody-{number}")
    with pytest.raises(TooManyTries, match="wait 15 s"):
        enter(res)
    enter(res, address="10.0.0.8")


def test_right_tries_of_an_office_cost_its_address_nothing(res: Resources) -> None:
    for _ in range(25):
        enter(res)


def test_a_person_without_a_password_never_signs_in(res: Resources) -> None:
    nobody = Person(name="n", full_name="N", team="t", roles=())
    assert not is_right_password(nobody, "nobody's password")
    assert not is_right_password(None, "nobody's password")


def test_a_short_password_is_not_made_into_a_hash() -> None:
    with pytest.raises(InvalidInput, match="password has 5 characters, it needs 12 to 1000"):
        hash_password("short")
