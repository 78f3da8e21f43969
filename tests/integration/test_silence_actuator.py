"""The silence actuator's own promises, on a real Alertmanager."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from quell.adapters.actuators.silence import SilenceActuator, make_silence
from quell.config.config import Config, Connections
from quell.incidents.errors import InvalidInput
from quell.incidents.mitigation import Step
from quell.incidents.service import Catalog, Instance, Service
from tests.alertmanager_server import alertmanager_server

pytestmark = pytest.mark.integration

STEP = Step(actuator="alertmanager", action="silence", target="checkout-2", params={"duration": "90m"}, key="MIT-7/1@x")
CHECKOUT = Service(name="checkout", team="shop", instances=(Instance(name="checkout-2", service="checkout"),))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with alertmanager_server(tmp_path_factory.mktemp("alertmanager")) as address:
        yield address


def make(url: str, **settings: Any) -> SilenceActuator:
    connections = Connections(store="", prometheus="", alertmanager=url)
    catalog = Catalog(services={"checkout": CHECKOUT})
    return make_silence("alertmanager", settings, Config(folder=Path(), connections=connections, catalog=catalog))


def active(url: str) -> list[dict[str, Any]]:
    silences = httpx.get(f"{url}/api/v2/silences", trust_env=False).json()
    return [silence for silence in silences if silence["status"]["state"] == "active"]


def test_the_silence_says_whose_it_is_what_it_mutes_and_until_when(url: str) -> None:
    actuator = make(url)
    actuator.apply(STEP)
    (silence,) = active(url)
    assert silence["matchers"] == [{"name": "instance", "value": "checkout-2", "isRegex": False, "isEqual": True}]
    assert (silence["createdBy"], silence["comment"]) == ("quell", "contained by Quell [quell step MIT-7/1@x]")
    left = datetime.fromisoformat(silence["endsAt"]) - datetime.now(UTC)
    assert timedelta(minutes=89) < left <= timedelta(minutes=90)
    actuator.undo(STEP, {})
    assert active(url) == []


def test_a_persons_own_silence_outlives_the_undo_and_another_steps_too(url: str) -> None:
    now = datetime.now(UTC)
    body = {
        "matchers": [{"name": "instance", "value": "checkout-2", "isRegex": False, "isEqual": True}],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
        "createdBy": "eve",
        "comment": "disk is replaced",
    }
    httpx.post(f"{url}/api/v2/silences", json=body, trust_env=False)
    actuator, other = make(url), replace(STEP, key="MIT-77/1@x")
    before = actuator.read_state(STEP)
    actuator.apply(STEP)
    actuator.apply(other)
    actuator.undo(STEP, before)
    assert actuator.verify_undone(STEP, before) and actuator.verify(other)
    actuator.undo(other, before)
    assert [silence["createdBy"] for silence in active(url)] == ["eve"]
    assert actuator.read_state(STEP) == before and before["silences"]


def test_a_service_is_silenced_by_its_label(url: str) -> None:
    actuator, step = make(url, label="service"), replace(STEP, target="checkout")
    assert actuator.describe(step) == 'silence service="checkout" in Alertmanager for 90m'
    with pytest.raises(InvalidInput, match="no service 'checkout-2'"):
        actuator.describe(STEP)


@pytest.mark.parametrize("duration", ["0s", "25h", "soon", "-1h", 60])
def test_a_duration_that_is_not_allowed_is_refused(url: str, duration: object) -> None:
    with pytest.raises(InvalidInput, match=r"duration|lasts"):
        make(url).apply(replace(STEP, params={"duration": duration}))


def test_an_alertmanager_must_be_named_somewhere() -> None:
    with pytest.raises(InvalidInput, match=r"url is missing, and so is connections\.alertmanager"):
        make("")
