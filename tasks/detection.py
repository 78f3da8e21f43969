"""The sweep: judges the recent window of every signal, stores the verdicts, and tells the inbox of trouble."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import task
from prefect.context import FlowRunContext
from prefect.runtime import flow_run

from quell.detection.baseline import Baseline
from quell.detection.episode import Finding, deserves_alert
from quell.detection.finding import describe_finding
from quell.detection.fleet import Fleet
from quell.detection.health import LAST_SWEEP, budget, gather_vanished, is_vanished
from quell.detection.judge import judge_with_onset
from quell.detection.judged import Judged
from quell.detection.judgement import MISSING_AFTER_STEPS
from quell.detection.review import Candidate, candidates_of
from quell.incidents.errors import QuellError, Unavailable
from quell.incidents.signal import Signal
from quell.incidents.verdict import Verdict
from quell.ports import Document
from tasks.anomalies import keep_candidates
from tasks.artifacts import publish
from tasks.baselines import known_series, load_baseline
from tasks.episodes import record_failures, record_findings
from tasks.resources import Resources, resources
from tasks.runs import log
from tasks.slo import judge_slo
from tasks.stages import add_up, timed
from tasks.sweep_report import SweepReport, sweep_markdown
from tasks.verdicts import keep_records, keep_verdicts

SWEEP = LAST_SWEEP
MOST_POINTS = 240
MOST_ROWS = 1_000  # judged at once, where a sweep has to begin at the fit


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """What one shard of the sweep found. `kinds` counts the verdicts by signal; `errors` says which signals failed."""

    kinds: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    troubles: list[Verdict] = field(default_factory=list[Verdict])
    findings: list[Finding] = field(default_factory=list[Finding])
    candidates: list[Candidate] = field(default_factory=list[Candidate])
    errors: dict[str, str] = field(default_factory=dict[str, str])
    budgets: list[Verdict] = field(default_factory=list[Verdict])  # on error budgets, of signals with an slo
    vanished: dict[str, int] = field(default_factory=dict[str, int])  # signals that are gone, with their known series
    partial: dict[str, str] = field(default_factory=dict[str, str])  # signals answered in part, with the server's words
    spent: dict[str, float] = field(default_factory=dict[str, float])  # seconds by stage: query, load, judge, store
    is_unreachable: bool = False


def sweep_moment(now: datetime) -> datetime:
    """The moment that this run judges: its scheduled start, or now where the run began early or by hand.

    A run may start up to 10 s before its time; the samples of that time are not there yet.
    """
    if FlowRunContext.get() is None:
        return now
    scheduled = flow_run.scheduled_start_time
    return min(now, datetime.fromtimestamp(scheduled.timestamp(), UTC))


def plan_shards(res: Resources, at: datetime) -> list[list[str]]:
    """The signals in groups of at most `shard_size` known series; none when a later moment was judged already.

    Late runs come in bursts after an outage of the worker: what is older than the last sweep has nothing to add.
    """
    with res.store.reading() as tx:
        last = tx.documents.get(SWEEP)
        size = {name: max(known_series(tx, name), 1) for name in res.config.signals}
    if last is not None and datetime.fromisoformat(last.body["at"]) >= at:
        log().info("nothing to judge: the sweep of %s came before this one of %s", last.body["at"], at.isoformat())
        return []
    shards: list[list[str]] = []
    room = 0
    for name in sorted(size, key=lambda name: (-size[name], name)):
        if not shards or size[name] > room:
            shards.append([])
            room = res.config.detection.shard_size
        shards[-1].append(name)
        room -= size[name]
    return shards


def judge_shard(res: Resources, signals: Sequence[str], at: datetime) -> ShardReport:
    """Judge the signals of one shard and store their verdicts; a signal that cannot be asked does not stop the others.

    No verdict is invented for a signal that could not be asked. After three intervals the rest is left to the next
    sweep, and said to be left.
    """
    report = ShardReport()
    unreachable = False
    begun, allowed = res.clock(), budget(res.config.intervals.sweep)
    for name in signals:
        if (spent := res.clock() - begun) > allowed:
            seconds = f"{spent.total_seconds():.0f} s, {allowed.total_seconds():.0f} s are allowed"
            report.errors[name] = f"left to the next sweep: the signals before it took {seconds}"
            continue
        try:
            _judge_signal(report, res, name, at)
        except QuellError as error:
            log().error("signal %s could not be judged: %s", name, error)
            report.errors[name] = str(error)
            unreachable = unreachable or isinstance(error, Unavailable)
            if unreachable:  # the rest would wait for the same server, attempt by attempt
                report.errors.update({other: str(error) for other in signals if other not in report.kinds})
                break
            continue
        _judge_budget(report, res, name, at)
    return replace(report, is_unreachable=unreachable)


def window_points(signal: Signal, stale_after: timedelta) -> int:
    """How many rows of a signal are judged: until a series counts as stale, and a few before."""
    return min(stale_after // signal.step + MISSING_AFTER_STEPS, MOST_POINTS)


def _judge_signal(report: ShardReport, res: Resources, name: str, at: datetime) -> None:
    signal, stale_after = res.config.signals[name], res.config.intervals.stale_after
    with timed(report.spent, "load"):
        baseline, fleet = _load_fleet(res, name)
    points = window_points(signal, stale_after)
    if baseline is not None and fleet is not None:
        points = max(points, min(rows_since(baseline, fleet, at), MOST_ROWS))
    with timed(report.spent, "query"):
        window = res.windows.window(res.metrics, signal.query, at=at, step=signal.step, points=points)
    between = timedelta(seconds=max(at.timestamp() - float(window.timestamps[-1]), 0.0))  # the grid ends a bit before
    with timed(report.spent, "judge"):
        judged, before = judge_with_onset(baseline, fleet, window, signal, now=at, stale_after=stale_after + between)
    with timed(report.spent, "store"):
        records = keep_verdicts(res, judged, signal)
        if baseline is not None and before is not None and not window.warnings:
            res.fleets.keep(name, baseline.version, before)
    if window.warnings:
        report.partial[name] = "; ".join(window.warnings)
    _add_to(report, res, judged, records)


def _load_fleet(res: Resources, name: str) -> tuple[Baseline | None, Fleet | None]:
    """The signal's baseline and where its fleet stands; None before the first fit."""
    with res.store.reading() as tx:
        baseline = load_baseline(tx, name)
    if baseline is None:
        return None, None
    return baseline, res.fleets.load(name, baseline.version, baseline.fleet) or baseline.fleet


def rows_since(baseline: Baseline, fleet: Fleet, at: datetime) -> int:
    """How many rows up to this moment the fleet has not judged yet."""
    return int(at.timestamp() / baseline.step_seconds + 1e-6) - baseline.first - fleet.slot + 1


def _judge_budget(report: ShardReport, res: Resources, name: str, at: datetime) -> None:
    """Judge the signal's error budget, if it has an objective; what fails here leaves the band's verdicts standing."""
    signal = res.config.signals[name]
    if signal.slo is None:
        return
    try:
        verdicts, findings = judge_slo(res, signal, signal.slo, at)
    except QuellError as error:
        log().error("the error budget of %s could not be judged: %s", name, error)
        report.errors[name] = f"error budget: {error}"
        return
    keep_records(res, verdicts)
    report.budgets.extend(verdicts)
    report.findings.extend(findings)


def _add_to(report: ShardReport, res: Resources, judged: Judged, records: Mapping[int, Verdict]) -> None:
    name, catalog = judged.signal, res.config.catalog
    signal = res.config.signals[name]
    report.candidates.extend(candidates_of(judged, signal, catalog))
    report.kinds[name] = judged.counts()
    troubles = [(v, float(judged.since[place])) for place, v in records.items() if v.kind.is_trouble]
    report.troubles.extend(verdict for verdict, _ in troubles)
    findings = [
        describe_finding(verdict, signal, catalog, since=since)
        for verdict, since in troubles
        if deserves_alert(verdict)
    ]
    if is_vanished(judged):
        report.vanished[name] = len(judged)
        findings = [gather_vanished(name, findings)] if len(findings) > 1 else findings
    report.findings.extend(findings)


def close_sweep(
    res: Resources, at: datetime, shards: Sequence[ShardReport], *, seconds: float, note: str = ""
) -> SweepReport:
    """Merge the shards, tell the inbox of what began and what is over, and keep the sweep's figures.

    Raises Unavailable or QuellError, after everything else is done, where signals could not be judged.
    """
    report = SweepReport(
        at=at,
        seconds=seconds,
        kinds={name: counts for shard in shards for name, counts in shard.kinds.items()},
        troubles=[verdict for shard in shards for verdict in shard.troubles],
        errors={name: error for shard in shards for name, error in shard.errors.items()},
        budgets=[verdict for shard in shards for verdict in shard.budgets],
        vanished={name: series for shard in shards for name, series in shard.vanished.items()},
        partial={name: said for shard in shards for name, said in shard.partial.items()},
        spent=add_up(shard.spent for shard in shards),
        note=note,
        is_unreachable=any(shard.is_unreachable for shard in shards),
    )
    findings = [finding for shard in shards for finding in shard.findings]
    record_findings(res, findings, at=at, judged=frozenset(report.kinds) - frozenset(report.errors))
    record_failures(res, report.errors, at=at)
    keep_candidates(res, [candidate for shard in shards for candidate in shard.candidates], at=at)
    _keep_last(res, report)
    units = {name: signal.unit for name, signal in res.config.signals.items()}
    publish("detection-sweep", sweep_markdown(report, units), "verdicts by signal, and every series in trouble")
    if report.errors:
        text = f"{len(report.errors)} of {len(res.config.signals)} signals could not be judged"
        causes = "; ".join(f"{name}: {error}" for name, error in report.errors.items())
        raise (Unavailable if report.is_unreachable else QuellError)(f"{text}; {causes}")
    return report


def _keep_last(res: Resources, report: SweepReport) -> None:
    body: dict[str, Any] = {
        "at": report.at.isoformat(),
        "signals": len(report.kinds),
        "series": sum(report.totals.values()),
        "verdicts": report.totals,
        "errors": report.errors,
        "vanished": sorted(report.vanished),
        "partial": report.partial,
        "note": report.note,
        "spent": {stage: round(seconds, 3) for stage, seconds in report.spent.items()},
        "seconds": round(report.seconds, 3),
    }
    with res.store.writing() as tx:
        tx.documents.put(Document(id=SWEEP, kind="sweep", updated_at=res.clock(), body=body))


@task(name="plan-sweep", persist_result=False)
def plan_sweep(at: datetime) -> list[list[str]]:
    """Groups the signals into shards of about equal work."""
    return plan_shards(resources(), at)


# No retry: the next sweep judges the same window again, and the source has its own retries.
@task(name="judge-shard", persist_result=False, timeout_seconds=120)
def judge_signals(signals: list[str], at: datetime) -> ShardReport:
    """Queries the recent window of each signal, judges it against its baseline and stores the verdicts."""
    return judge_shard(resources(), signals, at)


@task(name="close-sweep", persist_result=False)
def finish_sweep(at: datetime, shards: list[ShardReport], note: str = "") -> dict[str, int]:
    """Tells the inbox of trouble that began or ended, and publishes the verdicts."""
    res = resources()
    return close_sweep(res, at, shards, seconds=max((res.clock() - at).total_seconds(), 0.0), note=note).totals


def sweep_now() -> datetime:
    """The moment that the current run judges."""
    return sweep_moment(resources().clock())


def run_name(what: str) -> str:
    """The name of the current run, with the moment that it is about: `sweep 14:03:30`."""
    return f"{what} {sweep_moment(datetime.now(UTC)):%H:%M:%S}"
