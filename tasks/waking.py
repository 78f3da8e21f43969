"""Waking runs that wait in Prefect for a person: one has answered elsewhere, or there is nothing to answer any more."""

from datetime import timedelta

from quell.incidents.decision import Answer
from quell.incidents.errors import QuellError, Refused
from quell.incidents.fix import FixState
from quell.incidents.mitigation import MitigationState
from tasks.question import is_answered_elsewhere
from tasks.record import QUELL
from tasks.resources import Resources
from tasks.runs import log, resume_run, run_state

_LATELY = timedelta(minutes=2)  # several rounds of reconciliation: Prefect may be away in one
_MOST = 20


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


def wake(flow_run: str) -> None:
    """Let a run end that waits for an answer which nothing depends on any more."""
    try:
        resume_run(flow_run, _said(Answer.REFUSE, "it is over"))
    except Exception as error:  # noqa: BLE001 - the run may be gone or awake; what it was about is over either way
        log().info("run %s was not woken: %s", flow_run, error)


def _said(answer: Answer, comment: str = "") -> dict[str, str]:
    """Quell's own word, which decides nothing: whoever is woken reads the store."""
    return {"answer": answer, "person": QUELL, "one_time_code": "", "comment": comment}
