"""Several different persons must agree to the same plan, and the last look before the effect counts them."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from deployments.gateway import build_app, serving
from quell.gateway.view import read_incident
from quell.incidents.decision import Decision
from quell.incidents.errors import Conflict, Refused
from quell.incidents.incident import Severity
from quell.incidents.mitigation import MitigationState
from tasks.effect import apply_mitigation
from tasks.notify_facts import situation_of
from tasks.planning import plan_for_incident
from tasks.question import is_answered_elsewhere
from tasks.reconciliation import reconcile_all
from tests.approval_desk import PLAYBOOK, Desk, open_desk

pytestmark = pytest.mark.integration
TWO = {"approvers_by_severity": {Severity.CRITICAL: 2}}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path) as opened:
        yield opened


def test_one_person_is_enough_where_nothing_else_is_said(desk: Desk) -> None:
    asked = desk.ask()
    assert desk.answer(asked, "alice").standing == "approved by alice"
    applied = apply_mitigation(desk.res, asked.id)
    assert applied.state is MitigationState.APPLIED and applied.approved_by == "alice" and desk.is_drained
    with pytest.raises(Refused, match="answered by alice"):
        desk.answer(asked, "dave")


def test_the_first_of_two_changes_nothing_and_the_second_lets_it_go(desk: Desk) -> None:
    desk.policy(approvers=2)
    asked = desk.ask()
    assert desk.answer(asked, "alice").standing == "1 of 2 approvals (alice), waiting for another person"
    assert desk.mitigation().state is MitigationState.AWAITING_APPROVAL and desk.mitigation().approved_at is None
    assert any("1 of 2 approvals (alice), waiting for another person" in line for line in desk.told())
    assert desk.answer(asked, "dave").standing == "approved by alice, dave"
    applied = apply_mitigation(desk.res, asked.id)
    assert applied.state is MitigationState.APPLIED and applied.approved_by == "alice, dave" and desk.is_drained


def test_an_effect_needs_the_full_number_whoever_carries_it_out(desk: Desk) -> None:
    """The process that applies asks again in the transaction that writes the intent."""
    desk.policy(approvers=3)
    asked = desk.ask()
    desk.answer(asked, "alice")
    desk.answer(asked, "dave")
    with pytest.raises(Refused, match=r"by 3 person\(s\) and has 2 of 3 approvals \(alice, dave\)"):
        apply_mitigation(desk.res, asked.id)
    assert desk.mitigation().state is MitigationState.AWAITING_APPROVAL and not desk.is_drained


def test_nobody_counts_twice(desk: Desk) -> None:
    desk.policy(approvers=2)
    asked = desk.ask()
    desk.answer(asked, "alice")
    desk.clock.later(seconds=60)  # a fresh code, which is good for everything else
    with pytest.raises(Refused, match="alice has approved it already") as refused:
        desk.answer(asked, "alice")
    assert refused.value.rule == "different persons"
    assert not desk.is_drained and desk.mitigation().approved_by is None


def test_the_requester_is_none_of_the_two(desk: Desk) -> None:
    desk.policy(approvers=2)
    asked = desk.ask(by="bob")
    desk.answer(asked, "alice")
    with pytest.raises(Refused) as refused:
        desk.answer(asked, "bob")
    assert refused.value.rule == "four eyes"


def test_a_refusal_by_one_ends_it_also_by_who_had_approved(desk: Desk) -> None:
    desk.policy(approvers=2)
    asked = desk.ask()
    desk.answer(asked, "alice")
    desk.clock.later(seconds=60)
    desk.answer(asked, "alice", "refuse", comment="I looked again")
    with pytest.raises(Refused):
        desk.answer(asked, "dave")
    desk.clock.later(seconds=30)
    reconcile_all(desk.res)
    assert desk.mitigation().state is MitigationState.REFUSED and not desk.is_drained


def test_too_few_until_the_deadline_is_the_safe_default(desk: Desk) -> None:
    desk.policy(approvers=2)
    asked = desk.ask()
    desk.answer(asked, "alice")
    desk.clock.later(minutes=15, seconds=1)
    reconcile_all(desk.res)
    assert desk.mitigation(asked.id).state is MitigationState.EXPIRED and not desk.is_drained


def test_reconcile_applies_only_what_enough_persons_approved(desk: Desk) -> None:
    desk.policy(approvers=2)
    asked = desk.ask()
    desk.answer(asked, "alice")
    desk.clock.later(seconds=60)
    reconcile_all(desk.res)
    assert not desk.is_drained
    desk.answer(asked, "dave")
    desk.clock.later(seconds=60)
    reconcile_all(desk.res)
    assert desk.is_drained


def test_the_severity_of_the_incident_says_how_many(desk: Desk) -> None:
    desk.policy(**TWO)
    desk.worsen(Severity.CRITICAL)
    asked = plan_for_incident(desk.res, "INC-1")
    assert asked is not None and asked.approvers == 2
    assert desk.answer(asked, "alice").standing.startswith("1 of 2")


def test_an_incident_that_grows_worse_asks_for_one_more_even_after_the_approval(desk: Desk) -> None:
    desk.policy(**TWO)
    asked = desk.ask()
    assert desk.answer(asked, "alice").standing == "approved by alice"
    desk.worsen(Severity.CRITICAL)
    with pytest.raises(Refused, match="1 of 2"):
        apply_mitigation(desk.res, asked.id)
    assert desk.answer(asked, "dave").standing == "approved by alice, dave"
    assert apply_mitigation(desk.res, asked.id).state is MitigationState.APPLIED


def test_an_incident_that_eases_does_not_save_an_approver(desk: Desk) -> None:
    desk.policy(**TWO)
    desk.worsen(Severity.CRITICAL)
    asked = desk.ask()
    desk.ease(Severity.MINOR)
    assert desk.answer(asked, "alice").standing.startswith("1 of 2")


def test_an_incident_that_was_worse_for_a_while_after_the_plan_still_asks_for_one_more(desk: Desk) -> None:
    desk.policy(**TWO)
    asked = desk.ask()
    desk.worsen(Severity.CRITICAL)
    desk.ease(Severity.MINOR)
    assert desk.answer(asked, "alice").standing.startswith("1 of 2")


def test_who_was_counted_on_at_the_first_answer_is_waited_for_although_the_trouble_is_over(desk: Desk) -> None:
    """A plan without an incident is counted by what goes on with its service, which may end in between."""
    desk.policy(**TWO)
    asked = desk.ask(incident=None)
    desk.worsen(Severity.CRITICAL)
    assert desk.answer(asked, "alice").standing.startswith("1 of 2")
    with desk.res.store.writing() as tx:
        tx.incidents.delete("INC-1")
    with pytest.raises(Refused, match="1 of 2"):
        apply_mitigation(desk.res, asked.id)


def test_what_grew_worse_and_is_not_approved_in_time_expires_although_one_had_been_enough(desk: Desk) -> None:
    desk.policy(**TWO)
    asked = desk.ask()
    desk.answer(asked, "alice")
    desk.worsen(Severity.CRITICAL)
    desk.clock.later(minutes=16)
    reconcile_all(desk.res)
    assert desk.mitigation(asked.id).state is MitigationState.EXPIRED


def test_leaving_the_incident_out_of_the_form_saves_no_approver(desk: Desk) -> None:
    desk.policy(**TWO)
    desk.worsen(Severity.CRITICAL)
    assert desk.ask(incident=None).approvers == 2


def test_a_configuration_that_asks_for_fewer_later_does_not_free_what_was_planned(desk: Desk) -> None:
    desk.policy(approvers=2)
    asked = desk.ask()
    desk.policy(approvers=1)
    assert desk.answer(asked, "alice").standing.startswith("1 of 2")


@pytest.fixture
def desk_on_each(tmp_path: Path, store_url: str) -> Iterator[Desk]:
    with open_desk(tmp_path, store_url) as opened:
        yield opened


def test_two_answers_in_the_same_instant_are_both_counted_once(desk_on_each: Desk) -> None:
    """Several processes may take answers; the store gives each a place, and one person never takes two."""
    desk = desk_on_each
    desk.policy(approvers=2)
    asked = desk.ask()
    results: list[Decision | Exception] = []

    def say(person: str) -> None:
        try:
            results.append(desk.answer(asked, person))
        except (Refused, Conflict) as error:
            results.append(error)

    threads = [threading.Thread(target=say, args=(name,)) for name in ("alice", "alice", "alice", "dave")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(result, Decision) for result in results) == 2
    with desk.res.store.reading() as tx:
        assert {d.person for d in tx.decisions.find({"subject": asked.id})} == {"alice", "dave"}


def test_page_api_and_notification_say_who_is_waited_for(desk: Desk) -> None:
    desk.policy(approvers=2)
    asked = desk.ask()
    said = "1 of 2 approvals (alice), waiting for another person"
    desk.answer(asked, "alice")
    view = read_incident(desk.res.store, "INC-1", desk.res.config)
    assert view.mitigations[0].standing == said and view.mitigations[0].is_pending
    with desk.res.store.reading() as tx:
        incident = tx.incidents.get("INC-1")
        assert incident is not None
        assert any(said in line for line in situation_of(tx, desk.res, incident, desk.clock()).proposes)


def test_the_api_and_the_page_answer_with_where_the_question_stands(desk: Desk) -> None:
    desk.policy(approvers=2)
    asked = desk.ask()
    body = {"subject": asked.id, "plan_hash": asked.plan_hash, "person": "alice", "answer": "approve"}
    with serving(build_app(desk.res)) as url:
        answer = httpx.post(f"{url}/api/v1/decisions", json={**body, "code": desk.code("alice")})
        page = httpx.get(f"{url}/incidents/INC-1").text
    assert answer.status_code == 201, answer.text
    assert answer.json()["standing"] == "1 of 2 approvals (alice), waiting for another person"
    assert "1 of 2 approvals (alice), waiting for another person" in page and 'value="approve"' in page


def test_a_waiting_run_is_woken_once_for_each_answer_given_elsewhere(desk: Desk) -> None:
    desk.policy(approvers=3)
    asked = desk.ask()
    with desk.res.store.reading() as tx:
        assert not is_answered_elsewhere(desk.res, tx, asked.id)
    desk.answer(asked, "alice", channel="page")
    with desk.res.store.reading() as tx:
        assert is_answered_elsewhere(desk.res, tx, asked.id)
    desk.answer(asked, "dave", channel="prefect")
    desk.answer(asked, "erin", channel="cli")
    with desk.res.store.reading() as tx:
        assert is_answered_elsewhere(desk.res, tx, asked.id)


def test_an_approval_of_another_plan_is_none_of_the_two(desk: Desk) -> None:
    desk.policy(approvers=2)
    asked = desk.ask()
    first = desk.answer(asked, "alice")
    with desk.res.store.writing() as tx:
        tx.decisions.put(replace(first, plan_hash="f" * 64))
    assert desk.answer(asked, "dave").standing == "1 of 2 approvals (dave), waiting for another person"
    assert asked.playbook == PLAYBOOK
