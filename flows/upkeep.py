"""Upkeep as flows: reconcile what a dead process left behind."""

from prefect import flow

from tasks.mitigation import reconcile_everything
from tasks.resolution import settle_fixes


@flow(name="reconcile")
def reconcile() -> str:
    """Finish or undo what a dead process left behind, release what has expired, end questions that nobody answered."""
    sentences = [*reconcile_everything(), *settle_fixes()]
    return "; ".join(sentences) or "nothing to do"
