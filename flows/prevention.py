"""Prevention as flows: the post-mortem and the recomputation of thresholds."""

from prefect import flow
from prefect.runtime import flow_run

from tasks.review import write_review
from tasks.runs import State, ended
from tasks.thresholds import recompute


def _recompute_name() -> str:
    incident = flow_run.get_parameters().get("incident")
    return f"recompute thresholds after {incident}" if incident else "recompute thresholds"


@flow(name="review-incident", flow_run_name="review {incident}")
def review_incident(incident: str) -> State[str]:
    """Writes the post-mortem of a resolved incident from its record: what users saw, the times, the timeline, what
    helped and what did not, the change behind it, the guards it left, action items, and asks the teams to sign it.
    Run it again to rewrite it; what people wrote, signed and finished is kept.
    """
    write_review(incident)
    return ended(f"the post-mortem of {incident} is written")


@flow(name="recompute-thresholds", flow_run_name=_recompute_name)
def recompute_thresholds(incident: str | None = None) -> State[str]:
    """Recomputes alert limits from history without incidents, replays old and new limits over it, and proposes what
    differs as Prometheus rule files. Nothing changes in Prometheus before a person approves a proposal.
    """
    waiting = recompute(incident)
    return ended(f"waiting for a decision: {', '.join(waiting) or 'nothing'}")
