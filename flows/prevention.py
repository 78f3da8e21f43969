"""Prevention as flows: the post-mortem, the recomputation of thresholds, the weekly report."""

from prefect import flow
from prefect.runtime import flow_run

from tasks.review import write_review
from tasks.runs import State, ended
from tasks.thresholds import recompute
from tasks.weekly import publish_weekly


def _recompute_name() -> str:
    incident = flow_run.get_parameters().get("incident")
    return f"recompute thresholds after {incident}" if incident else "recompute thresholds"


def _weekly_name() -> str:
    return f"weekly report {flow_run.get_parameters().get('week') or 'of last week'}"


@flow(name="review-incident", flow_run_name="review {incident}")
def review_incident(incident: str) -> State[str]:
    """Writes the post-mortem of a resolved incident from its record: what users saw, the times, the timeline, what
    helped and what did not, the change behind it, the guards it left, action items and the teams that sign it off.
    Run it again to rewrite it; signatures and finished items are kept.
    """
    write_review(incident)
    return ended(f"the post-mortem of {incident} is written")


@flow(name="weekly-report", flow_run_name=_weekly_name)
def weekly_report(week: str | None = None) -> State[str]:
    """Reports on one ISO week (`2026-W47`), by default the last that is over: MTTD, MTTA, MTTC and MTTR with their
    distribution beside the week before, causes, noise, precision and recall, false isolations, approvals, what works,
    playbooks that nobody exercises, threshold changes, what is overdue, and the health of the runs in Prefect.

    Every number in the artifact `weekly-report` links to its incidents and flow runs; what was not measured says so.
    """
    return ended(publish_weekly(week))


@flow(name="recompute-thresholds", flow_run_name=_recompute_name)
def recompute_thresholds(incident: str | None = None) -> State[str]:
    """Recomputes alert limits from history without incidents, replays old and new limits over it, and proposes what
    differs as Prometheus rule files. Nothing changes in Prometheus before a person approves a proposal.
    """
    waiting = recompute(incident)
    return ended(f"waiting for a decision: {', '.join(waiting) or 'nothing'}")
