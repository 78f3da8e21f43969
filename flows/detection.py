"""Detection as flows: the scheduled sweep, and the hourly fit of the baselines."""

from datetime import timedelta

from prefect import flow, unmapped
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.anomalies import list_for_review
from tasks.baselines import fit_baseline, list_signals, report_baselines
from tasks.detection import finish_sweep, judge_signals, plan_sweep, run_name, sweep_now
from tasks.spread import spread

WORKERS = 4  # each waits for the metric server most of its time
JUDGED_WITHIN = timedelta(seconds=120)  # on Dask; what is left of the sweep's time is enough to do it again here
FITTED_WITHIN = timedelta(minutes=30)


@flow(
    name="detection-sweep",
    flow_run_name=lambda: run_name("sweep"),
    task_runner=ThreadPoolTaskRunner(max_workers=WORKERS),
    timeout_seconds=300,
)
def detection_sweep() -> dict[str, int]:
    """Judges the recent window of every signal, at the moment for which this run was scheduled.

    Every series gets a verdict with its reason: normal, anomalous, no_data, stale, drop_to_zero or warming_up. Trouble
    goes to the inbox as an alert, and so does its end after two normal sweeps. The run fails, and says why, when the
    metric server cannot be reached or a query is wrong; after three such sweeps in a row the alert SweepFailing goes
    out. The artifact `detection-sweep` lists every series in trouble with its value, band and reason.
    """
    at = sweep_now()
    shards = plan_sweep(at)
    if not shards:
        return {}
    judged = spread(judge_signals, within=JUDGED_WITHIN, signals=shards, at=unmapped(at))
    return finish_sweep(at, judged.results, judged.note)


@flow(
    name="refresh-baselines",
    flow_run_name=lambda: run_name("baselines"),
    task_runner=ThreadPoolTaskRunner(max_workers=2),
)
def refresh_baselines() -> dict[str, str]:
    """Fits the baseline of every signal on its history, without the times of incidents.

    A day or a week counts as a season where the history holds enough of them and they explain the values. A baseline
    that knows its series better than the new fit would is kept. The artifact `baselines` says what was fitted on how
    much; the run fails where a signal's history cannot be fetched.
    """
    fitted = spread(fit_baseline, within=FITTED_WITHIN, signal=list_signals())
    return report_baselines(fitted.results, fitted.note)


@flow(name="anomaly-review", flow_run_name=lambda: run_name("anomaly review"))
def anomaly_review() -> str:
    """Lists what sweeps judged near the limit or newly anomalous and nobody has labelled yet.

    The artifact `anomaly-review` links each to its page, where a person says in one click whether it was real, false
    or expected. Times labelled real are left out when baselines are fitted, and count as trouble when limits are
    recomputed.
    """
    return list_for_review()
