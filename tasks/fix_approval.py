"""A fix's approval: whether anybody has to agree, what they are asked, and what their answers come to."""

from dataclasses import replace
from datetime import datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.incidents.decision import Answer
from quell.incidents.errors import Refused
from quell.incidents.fix import Fix, FixState
from quell.ports import Transaction
from quell.resolution.fix_story import tell_fix_question
from quell.response.approval import has_run_out, tally
from quell.response.fix_approval import Undoing, text_hash
from tasks.artifacts import incident_link
from tasks.asking import OpenQuestion, question_until, take_form
from tasks.fix import get_fix
from tasks.forms import ApprovalForm
from tasks.question import PREFECT, asked_on, question_about
from tasks.record import QUELL
from tasks.resources import Resources, resources


def deadline_of(res: Resources, fix: Fix) -> datetime | None:
    """Until when a person may agree; None where nobody has to."""
    policy = res.config.fixes
    if fix.requested_by == QUELL and not fix.sets and policy.undo is Undoing.AUTOMATIC:
        return None
    return res.clock() + policy.deadline


def approval_words(res: Resources, fix: Fix, deadline: datetime | None) -> str:
    """For the timeline: who has to agree."""
    if deadline is None:
        return "automatic: the pure undo of a change that is linked to the incident"
    with res.store.reading() as tx:
        question = question_about(res, tx, fix.id)
    who = " or ".join(question.owners) or f"anybody who is {' or '.join(question.roles)}"
    return f"{who} until {deadline:%Y-%m-%d %H:%M} UTC"


def objection(res: Resources, tx: Transaction, fix: Fix, now: datetime) -> str:
    """Why the fix may not be applied any more; empty while it may, or still waits."""
    if fix.approval_deadline is None:
        return ""
    question = question_about(res, tx, fix.id)
    so_far = tally(question, tx.decisions.find({"subject": fix.id}))
    if so_far.refusal is not None:
        said = so_far.refusal
        return f"{said.person} refused it: {said.comment or 'no'}"
    if so_far.answer is Answer.APPROVE:
        return has_run_out(fix.approval_deadline, now) or ""
    late = now > fix.approval_deadline
    return f"nobody approved it until {fix.approval_deadline:%Y-%m-%d %H:%M} UTC" if late else ""


def is_waiting(res: Resources, tx: Transaction, fix: Fix, now: datetime) -> bool:
    """Whether a person, or the run that a person's answer wakes, has the fix in hand: nobody has left it."""
    is_asked = fix.state is FixState.VALIDATED and fix.approval_deadline is not None and not fix.taking_back
    return is_asked and fix.applying_since is None and not objection(res, tx, fix, now)


def begin_applying(res: Resources, fix: Fix) -> Fix:
    """From now on whoever dies leaves it to reconciliation. Raises Refused where its approval is missing."""
    with res.store.writing() as tx:
        now = res.clock()
        fix = get_fix(tx, fix.id)
        if fix.approval_deadline is not None and not fix.approved_by:
            until = f"{fix.approval_deadline:%Y-%m-%d %H:%M} UTC"
            raise Refused(f"{fix.id} waits for a person until {until}: quell approve {fix.id}")
        fix = replace(fix, applying_since=fix.applying_since or now, updated_at=now)
        tx.fixes.put(fix)
    return fix


def fix_question_of(res: Resources, fix_id: str) -> OpenQuestion | None:
    """What a person has to answer now; None when it is answered, too late, or nobody needs to be asked."""
    with res.store.reading() as tx:
        fix = get_fix(tx, fix_id)
        question = question_about(res, tx, fix_id)
        asked = asked_on(tx, fix_id, PREFECT)
    if not question.is_open or question.deadline is None:
        return None
    text = tell_fix_question(
        fix,
        owners=question.owners,
        roles=question.roles,
        deadline=question.deadline,
        incident=incident_link(res.config, fix.incident),
        failed=asked.rejected,
    )
    return question_until(question.deadline, res.clock(), text=text, answered=asked.answered)


@task(name="what is to be asked about the fix", task_run_name="is {fix} decided?", cache_policy=NO_CACHE)
def open_fix_question(fix: str) -> OpenQuestion | None:
    """The question that the service's owner has to answer now; None when there is none."""
    return fix_question_of(resources(), fix)


@task(name="take the answer about the fix", task_run_name="take the answer to {fix}", cache_policy=NO_CACHE)
def take_fix_answer(fix: str, form: ApprovalForm) -> bool:
    """Check the answer; one that is not accepted is logged with its reason, and the question stays open."""
    res = resources()
    with res.store.reading() as tx:
        shown = text_hash(get_fix(tx, fix).diff)
    return take_form(res, fix, shown, form)
