"""Prevention as flows: the post-mortem, the recomputation of thresholds, the weekly report."""

from datetime import timedelta

from prefect import flow
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.burn import recompute_burn_rates
from tasks.review import write_review
from tasks.runs import State, ended
from tasks.sensitivity import learn_limits
from tasks.shadow import watch_limits
from tasks.spread import spread
from tasks.standing import propose_standing_limits
from tasks.study import study_signals
from tasks.thresholds import plan_studies, propose_limits
from tasks.weekly import publish_weekly

WORKERS = 4  # each waits for the metric server most of its time
STUDIED_WITHIN = timedelta(minutes=30)


def _recompute_name() -> str:
    incident = flow_run.get_parameters().get("incident")
    return f"recompute thresholds after {incident}" if incident else "recompute thresholds"


def _weekly_name() -> str:
    return f"weekly report {flow_run.get_parameters().get('week') or 'of last week'}"


@flow(name="review-incident", flow_run_name="review {incident}")
def review_incident(incident: str) -> State[str]:
    """Writes the post-mortem of a resolved incident from its record: what users saw, the times, the timeline, what
    helped and what did not, the change behind it, the guards it left, action items, and asks the teams to sign it.
    Run it again to rewrite it; what people wrote, signed and finished is kept.

    Args:
        incident: The incident to review, e.g. INC-7: see the incident's page
    """
    write_review(incident)
    return ended(f"the post-mortem of {incident} is written")


@flow(
    name="recompute-thresholds",
    flow_run_name=_recompute_name,
    task_runner=ThreadPoolTaskRunner(max_workers=WORKERS),
)
def recompute_thresholds(incident: str | None = None) -> State[str]:
    """Recomputes alert limits from history without incidents, replays old and new limits over it, and proposes what
    differs as Prometheus rule files; learns limits on the detector's score from incidents and labels, windows and
    factors of burn-rate alerts from the history of error budgets, and standing limits of clients from measured traffic.
    Nothing changes before a person approves a proposal. Each shard of signals is one task, on Dask where a scheduler
    is configured; its progress artifact shows how far it is.

    Args:
        incident: The incident that gave rise to it, e.g. INC-7; may stay empty
    """
    studied = spread(study_signals, within=STUDIED_WITHIN, signals=plan_studies())
    learn_limits(incident)
    recompute_burn_rates(incident)
    propose_standing_limits(incident)
    waiting = propose_limits([study for shard in studied.results for study in shard], incident, studied.note)
    return ended(f"waiting for a decision: {', '.join(waiting) or 'nothing'}")


@flow(name="watch-thresholds", flow_run_name="watch thresholds")
def watch_thresholds() -> State[str]:
    """Records what limits in shadow would have alerted, and what those in force did, beside what was predicted of them;
    of standing limits, which clients they would have refused, and do.

    A proposal goes into shadow with the first watch: it only records, and a person sees predicted and seen alerts
    before approving it. Nothing reaches Prometheus.
    """
    return ended(f"{watch_limits()} limits are watched")


@flow(name="weekly-report", flow_run_name=_weekly_name)
def weekly_report(week: str | None = None) -> State[str]:
    """Reports on one ISO week (`2026-W47`), by default the last that is over: MTTD, MTTA, MTTC and MTTR with their
    distribution beside the week before, causes, noise, precision and recall, false isolations, approvals, what works,
    playbooks that nobody exercises, threshold changes, what is overdue, and the health of the runs in Prefect.

    Every number in the artifact `weekly-report` links to its incidents and flow runs; what was not measured says so.

    Args:
        week: Year and ISO week, e.g. 2026-W47; none: the last week that is over
    """
    return ended(publish_weekly(week))
