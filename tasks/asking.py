"""Asking a person in a run of Prefect: the question that is open, and the answer that its form brings."""

from dataclasses import dataclass
from datetime import datetime

from quell.incidents.errors import Refused
from tasks.approval import decide
from tasks.forms import ApprovalForm
from tasks.question import PREFECT, ask_again
from tasks.record import QUELL
from tasks.resources import Resources
from tasks.runs import current_run_id, log, resumed_at

_LATE_SECONDS = 300  # Prefect's own timeout fails the run, so ours must be over long before


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQuestion:
    """What is still to be asked: the text above the form, Prefect's key for this asking, and its timeout."""

    text: str
    key: str
    timeout_seconds: int


def question_until(deadline: datetime, now: datetime, *, text: str, answered: int) -> OpenQuestion | None:
    """The question with the next number; None when it is too late to ask it."""
    left = (deadline - now).total_seconds()
    if left <= 0:
        return None
    return OpenQuestion(text=text, key=f"ask-{answered + 1}", timeout_seconds=int(left) + _LATE_SECONDS)


def take_form(res: Resources, subject: str, plan_hash: str, form: ApprovalForm) -> bool:
    """Check the answer; one that is not accepted is logged with its reason, and the question stays open.

    Quell itself wakes the run when somebody has answered elsewhere and others are still needed: nothing to check then.
    """
    run = current_run_id()
    if form.person == QUELL and not form.one_time_code:
        ask_again(res, subject, PREFECT)
        return False
    try:
        decision = decide(
            res,
            subject=subject,
            plan_hash=plan_hash,
            person=form.person,
            code=form.one_time_code,
            answer=form.answer,
            comment=form.comment,
            channel=PREFECT,
            given_at=resumed_at(run) if run else None,
        )
    except Refused as error:
        log().warning("%s", error)
        return False
    log().info("%s said %s to %s: %s", decision.person, decision.answer, subject, decision.standing)
    return True
