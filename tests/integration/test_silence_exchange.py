"""Silences go to a real Alertmanager and come back the same, however often."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from quell.adapters.actuators.silence import make_silence
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.incidents.errors import Unavailable
from quell.incidents.matcher import format_matchers
from quell.incidents.mitigation import Step
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.silence import SilenceState
from tasks.resources import Resources
from tasks.silences import add_silence, end_silence, export_silences, import_silences
from tests.alertmanager_server import alertmanager_server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with alertmanager_server(tmp_path_factory.mktemp("alertmanager")) as url:
        yield url


def desk(url: str) -> Resources:
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus="", alertmanager=url),
    )
    return Resources(
        config=config,
        store=MemoryStore(),
        metrics=None,
        actuators={},
        clock=lambda: datetime.now(UTC),  # type: ignore[arg-type]
    )


def end(hours: float = 1) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


MATCHERS = r'{service="checkout", instance=~"checkout-[12]", severity!="info", summary!~"a\"b\\nc.*"}'


def test_a_silence_goes_there_and_comes_back_under_its_own_id(alertmanager: str) -> None:
    res = desk(alertmanager)
    ours = add_silence(res, MATCHERS, ends_at=end(), by="dora", comment="disk is replaced")
    assert export_silences(res).added == (ours.id,)
    assert export_silences(res).unchanged == 1
    assert import_silences(res).added == ()
    with res.store.reading() as tx:
        (known,) = tx.silences.find()
    assert (known.id, known.matchers, known.comment) == (ours.id, ours.matchers, "disk is replaced")
    answer = httpx.get(f"{alertmanager}/api/v2/silences", trust_env=False).json()
    there = [silence for silence in answer if silence["id"] == known.alertmanager]
    assert there[0]["comment"] == f"disk is replaced [quell {ours.id}]"
    assert len(there[0]["matchers"]) == 4
    end_silence(res, ours.id, by="dora")
    assert export_silences(res).expired == (ours.id,)
    assert export_silences(res).expired == ()


def test_a_silence_made_there_is_taken_over_once_and_ends_here_when_it_ends_there(alertmanager: str) -> None:
    body = {
        "matchers": [{"name": "service", "value": "pay.*", "isRegex": True, "isEqual": False}],
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": end().isoformat(),
        "createdBy": "eve",
        "comment": "upgrade",
    }
    id = httpx.post(f"{alertmanager}/api/v2/silences", json=body, trust_env=False).json()["silenceID"]
    res = desk(alertmanager)
    assert id in import_silences(res).added
    again = import_silences(res)
    assert (again.added, again.changed) == ((), ())
    with res.store.reading() as tx:
        known = tx.silences.get(id)
    assert known is not None
    assert format_matchers(known.matchers) == '{service!~"pay.*"}'
    exported = export_silences(res)
    assert (exported.added, exported.changed) == ((), ())
    httpx.delete(f"{alertmanager}/api/v2/silence/{id}", trust_env=False)
    assert import_silences(res).changed == (id,)
    with res.store.reading() as tx:
        gone = tx.silences.get(id)
    assert gone is not None and gone.state(datetime.now(UTC)) is SilenceState.EXPIRED


def test_a_mitigations_silence_is_left_to_the_mitigation_that_ends_it(alertmanager: str) -> None:
    """Taken over here, it would be exported anew after the undo has expired it there."""
    pay = Service(name="pay", team="shop", instances=(Instance(name="pay-1", service="pay"),))
    config = replace(desk(alertmanager).config, catalog=Catalog(services={"pay": pay}))
    actuator = make_silence("alertmanager", {}, config)
    step = Step(actuator="alertmanager", action="silence", target="pay-1", params={"duration": "30m"}, key="MIT-4/1@x")
    res = desk(alertmanager)
    actuator.apply(step)
    assert any("belongs to a mitigation" in reason for reason in import_silences(res).skipped)
    with res.store.reading() as tx:
        assert not any("MIT-4" in silence.comment for silence in tx.silences.find())
    actuator.undo(step, {})
    export_silences(res)
    assert actuator.verify_undone(step, {})


def test_an_alertmanager_that_is_away_is_told_as_such() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        import_silences(desk("http://127.0.0.1:9"))
