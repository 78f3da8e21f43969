"""Whether what a playbook names still exists outside: asked of its levers and its signal, without changing anything."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.incidents.errors import InvalidInput, Unavailable
from quell.incidents.matcher import parse_matchers
from quell.incidents.mitigation import Step
from quell.incidents.series import SeriesMatrix
from quell.incidents.service import Catalog
from quell.prevention.care import AilmentKind, Care
from tasks.playbook_care import care_for, note_playbooks
from tasks.playbook_drills import record_drill
from tasks.resources import Resources
from tests.integration.test_autonomy import Desk
from tests.shop_levers import Levers, UsersSignal, shop_config

pytestmark = pytest.mark.integration
BOOK = "isolate-bad-instance"


class Signal(UsersSignal):
    series = 1

    def instant(self, query: str, *, at: Any = None) -> SeriesMatrix:
        if self.is_away:
            raise Unavailable("the metrics are away")
        labels = tuple({"n": str(n)} for n in range(self.series))
        return SeriesMatrix(timestamps=np.zeros(1), values=np.zeros((1, self.series)), labels=labels)


class SomeGone(Levers):
    def __init__(self, gone: set[str], error: Exception | None = None) -> None:
        super().__init__()
        self.gone, self.error = gone, error or InvalidInput("no such server")

    def read_state(self, step: Step) -> Any:
        if step.target in self.gone or "*" in self.gone:
            raise self.error
        return super().read_state(step)


def shop(levers: Levers | None = None, signal: Signal | None = None, **book: Any) -> Resources:
    res = Desk().res
    playbooks = {BOOK: replace(res.config.playbooks[BOOK], **book)}
    res = replace(res, metrics=signal or Signal(), config=replace(res.config, playbooks=playbooks))
    return replace(res, actuators={"haproxy": levers or Levers()})


def care(res: Resources) -> Care:
    (found,) = care_for(res, live=True)
    return found


def test_a_playbook_whose_parts_are_all_there_is_well_and_nothing_is_touched() -> None:
    levers = Levers()
    found = care(shop(levers))
    assert (found.ailments, found.gaps, levers.isolated) == ((), (), set())


def test_targets_that_are_all_gone_are_reported_with_a_diff() -> None:
    (ailment,) = care(shop(SomeGone({"*"}))).ailments
    assert ailment.kind is AilmentKind.TARGET and "no such server" in ailment.text
    assert "+  level: observe" in ailment.diff


def test_a_target_that_is_gone_while_others_work_is_a_gap() -> None:
    res = shop()
    server = next(i.server for i in res.config.catalog.instances.values() if i.name == "checkout-2")
    found = care(shop(SomeGone({str(server)})))
    assert found.ailments == () and found.gaps == ("not on checkout-2: no such server",)


def test_what_cannot_be_asked_is_not_taken_for_gone() -> None:
    found = care(shop(SomeGone({"*"}, Unavailable("the socket does not answer"))))
    assert found.ailments == () and found.gaps[0].endswith("could not be asked: the socket does not answer")
    away = Signal()
    away.is_away = True
    assert "could not be asked" in care(shop(signal=away)).gaps[0]


def test_a_signal_without_series_and_an_actuator_that_is_gone_are_reported() -> None:
    silent = Signal()
    silent.series = 0
    assert [a.kind for a in care(shop(signal=silent)).ailments] == [AilmentKind.SIGNAL]
    assert [a.kind for a in care(replace(shop(), actuators={})).ailments] == [AilmentKind.COMMAND]


def test_a_match_on_a_service_that_is_gone_is_reported_without_asking_anybody() -> None:
    res = shop(matchers=parse_matchers('{service="checkout-old"}'))
    (found,) = care_for(res, live=False)
    assert [a.kind for a in found.ailments] == [AilmentKind.TARGET]
    assert "services.yaml" in found.ailments[0].text


def test_a_new_playbook_has_a_quarters_time_and_a_drill_renews_it() -> None:
    res = shop()
    note_playbooks(res)
    in_a_quarter = res.clock() + timedelta(weeks=14)
    later = replace(res, clock=lambda: in_a_quarter)
    note_playbooks(later)  # it is known already
    assert [a.kind for a in care(later).ailments] == [AilmentKind.UNUSED]
    record_drill(later, BOOK, by="alice", note="drained checkout-2")
    found = care(later)
    assert found.ailments == () and found.last_drilled_at == later.clock()
    with later.store.reading() as tx:
        (entry,) = [entry for entry in tx.timeline.entries() if entry.kind == "playbook drilled"]
    assert (entry.by, entry.text) == ("alice", f"{BOOK}: drained checkout-2")


def test_a_real_haproxy_is_asked_for_every_target_of_the_shipped_playbooks(tmp_path: Path) -> None:
    """All servers there: nothing is wrong. A backend that was renamed: the playbooks that need it are reported."""
    with TrialProxy(tmp_path) as proxy:
        lever = HAProxyActuator(
            socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file, timeout=timedelta(seconds=5)
        )
        config = shop_config()
        checkout = config.catalog.services["checkout"]
        renamed = tuple(replace(i, server=f"be_old/{i.name}") for i in checkout.instances)
        books = {name: config.playbooks[name] for name in (BOOK, "throttle-noisy-client")}
        found: list[dict[str, Care]] = []
        for instances in (checkout.instances, renamed):
            catalog = Catalog(services={"checkout": replace(checkout, instances=instances)})
            given = replace(config, catalog=catalog, playbooks=books)
            res = replace(shop(), config=given, actuators={"haproxy": lever})
            found.append({care.playbook: care for care in care_for(res, live=True)})
        before = proxy.get()
    well, ill = found
    assert [(care.ailments, care.gaps) for care in well.values()] == [((), ()), ((), ())]
    assert [a.kind for a in ill[BOOK].ailments] == [AilmentKind.TARGET]
    assert "be_old/checkout-" in ill[BOOK].ailments[0].text
    assert ill["throttle-noisy-client"].ailments == ()
    assert before[0] == 200
