"""Upkeep as flows: reconcile what a dead process left behind."""

from prefect import flow

from tasks.detection import run_name
from tasks.mitigation import reconcile_everything
from tasks.resolution import settle_fixes
from tasks.runs import State, ended


@flow(name="reconcile", flow_run_name=lambda: run_name("reconcile"))
def reconcile() -> State[str]:
    """Finish or undo what a dead process left behind, release what has expired, end questions that nobody answered."""
    sentences = [*reconcile_everything(), *settle_fixes()]
    return ended("; ".join(sentences) or "nothing to do")
