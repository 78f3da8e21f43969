"""Upkeep as flows: reconcile what a dead process left behind, and drill the whole path in a sandbox."""

from prefect import flow

from tasks.detection import run_name
from tasks.drift import find_drift
from tasks.drilling import DrillRequest, drill_now
from tasks.fix_steps import settle_fixes
from tasks.mitigation import reconcile_everything
from tasks.runs import State, ended
from tasks.standing_keep import keep_standing_limits


@flow(name="reconcile", flow_run_name=lambda: run_name("reconcile"))
def reconcile() -> State[str]:
    """Finish or undo what a dead process left behind, release what has expired, end questions that nobody answered; and
    every few minutes look whether instances run what their branch says.
    """
    sentences = [*reconcile_everything(), *settle_fixes(), *keep_standing_limits(), *find_drift()]
    return ended("; ".join(sentences) or "nothing to do")


@flow(name="drill", flow_run_name="drill {request.fault}")
def drill(request: DrillRequest) -> State[str]:
    """A game day: break one thing in the sandbox that quell.toml names, let the real path deal with it, and score it.

    It begins only where nothing is wrong, and ends early when a service falls under its floor. What waits for an
    approval in between waits for a person, as always. The fault is cleared and everything is put back at the end. The
    artifact is the scorecard: detected, grouped, the right suspect, contained, harmless, undone, resolved.
    """
    return ended(drill_now(request))
