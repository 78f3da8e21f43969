"""Waking runs that wait in Prefect for a person: one has answered elsewhere, or there is nothing to answer any more."""

from dataclasses import replace
from datetime import timedelta

from quell.incidents.decision import Answer
from quell.incidents.errors import QuellError, Refused
from quell.incidents.fix import Fix, FixState
from quell.incidents.mitigation import MitigationState
from tasks.fix import get_fix
from tasks.fix_approval import is_waiting
from tasks.question import is_answered_elsewhere
from tasks.record import QUELL
from tasks.resources import Resources
from tasks.runs import log, resume_run, run_state, start_run

_LATELY = timedelta(minutes=2)  # several rounds of reconciliation: Prefect may be away in one
_MOST = 20
LEFT_AFTER = timedelta(seconds=20)  # whoever made the fix starts its run at once
_ENDED = ("missing", None, "completed", "failed", "crashed", "cancelled")


def wake_answered(res: Resources) -> None:
    """Wake suspended `mitigate` and `resolve` runs that a person has answered on the page or the command line.

    Those with enough answers go on; where another person is needed, the run shows its question anew, once. Raises
    Unavailable while Prefect does not answer.
    """
    with res.store.reading() as tx:
        waiting = {m.id: m.flow_run for m in tx.mitigations.find({"state": MitigationState.AWAITING_APPROVAL})}
        waiting |= {fix.id: fix.flow_run for fix in tx.fixes.find({"state": FixState.VALIDATED})}
        answered = {id: run for id, run in waiting.items() if run and is_answered_elsewhere(res, tx, id)}
    for subject, run in answered.items():
        if run_state(run) == "paused":
            try:
                resume_run(run, _said(Answer.APPROVE))
            except Refused as error:  # somebody was faster; the flow reads the decision from the store
                log().info("%s: %s", subject, error)


def wake_over(res: Resources) -> None:
    """Let `resolve` runs end whose fix was taken back while they waited for its owner."""
    with res.store.reading() as tx:
        since = res.clock() - _LATELY
        over = tx.fixes.find(
            {"state": FixState.REVERTED}, after=("updated_at", since), order="updated_at", descending=True, limit=_MOST
        )
    for fix in over:
        if fix.flow_run and fix.approval_deadline and fix.applying_since is None:
            try:
                is_waiting = run_state(fix.flow_run) == "paused"
            except QuellError:
                return  # Prefect is away: the next round looks again
            if is_waiting:
                wake(fix.flow_run)


def start_left(res: Resources) -> list[str]:
    """Give a fix that has been validated a run again, where whoever made it died before there was one, or its run ended
    without it; one sentence for each. A person's answer would wake nobody otherwise.

    A run that a person cancelled stays so, unless another has approved the fix.
    """
    with res.store.reading() as tx:
        now = res.clock()
        found = tx.fixes.find({"state": FixState.VALIDATED}, before=("updated_at", now - LEFT_AFTER), limit=_MOST)
        waiting = [fix for fix in found if is_waiting(res, tx, fix, now)]
    return [sentence for fix in waiting if (sentence := _start(res, fix))]


def _start(res: Resources, fix: Fix) -> str:
    try:
        ended = run_state(fix.flow_run) if fix.flow_run else "missing"
        if ended not in _ENDED or (ended == "cancelled" and not fix.approved_by):
            return ""
        run = start_fix_run(fix)
    except QuellError as error:
        return f"{fix.id} waits, and its run could not be started: {error}"
    with res.store.writing() as tx:
        tx.fixes.put(replace(get_fix(tx, fix.id), flow_run=run))
    return f"{fix.id} had no run that waits for its owner ({ended}): another is started"


def start_fix_run(fix: Fix) -> str:
    """Start the run that takes up a fix that is made already. Raises Unavailable."""
    return start_run(
        "resolve/resolve",
        {"incident": fix.incident},
        key=f"resolve {fix.id}" + (f" after {fix.flow_run}" if fix.flow_run else ""),
        name=f"resolve {fix.incident} {fix.id}",
        tags=[fix.incident, fix.service, "resolution"],
    )


def wake(flow_run: str) -> None:
    """Let a run end that waits for an answer which nothing depends on any more."""
    try:
        resume_run(flow_run, _said(Answer.REFUSE, "it is over"))
    except Exception as error:  # noqa: BLE001 - the run may be gone or awake; what it was about is over either way
        log().info("run %s was not woken: %s", flow_run, error)


def _said(answer: Answer, comment: str = "") -> dict[str, str]:
    """Quell's own word, which decides nothing: whoever is woken reads the store."""
    return {"answer": answer, "person": QUELL, "one_time_code": "", "comment": comment}
