"""`quell threshold`: the versions of each signal's limit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import err, moment, out, state, table, whoami
from quell.incidents.errors import NotFound

if TYPE_CHECKING:
    from quell.incidents.hours import HourBand
    from quell.incidents.threshold import ThresholdVersion
    from tasks.resources import Resources

app = typer.Typer(help="List, promote and revert the limits that were proposed from history.", no_args_is_help=True)
IdArgument = Annotated[str, typer.Argument(help="Version id, as in THR-3.")]
ByOption = Annotated[str, typer.Option("--by", help="Who does it; by default the login name.")]


@app.command("list")
def list_thresholds(
    signal: Annotated[str, typer.Option(help="Only this signal.")] = "", config: ConfigOption = DEFAULT_FOLDER
) -> None:
    """Every version, newest first, with its evidence and what was seen of it."""
    from tasks.shadow import seen_in_words

    where = {"signal": signal} if signal else None
    with opened(config) as res, res.store.reading() as tx:
        found = tx.thresholds.find(where, order="updated_at", descending=True)
        rows = [
            (
                v.id, state(v.state), v.signal, _limit(v.lower, v.lower_by_hour),
                _upper(v), moment(v.updated_at),
                seen_in_words(tx, v),
                "; ".join(f"{name}: {value}" for name, value in v.evidence.items()),
            )
            for v in found
        ]  # fmt: skip
    columns = ("id", "state", "signal", "lower", "upper", "changed", "predicted and seen", "evidence")
    out().print(table("", columns, rows) if rows else "no threshold version; `recompute-thresholds` proposes them")


@app.command()
def show(id: IdArgument, config: ConfigOption = DEFAULT_FOLDER) -> None:
    """One version: its evidence, what was seen of it, and the change of its rule file, to read before approving."""
    from quell.prevention.rule_file import rule_diff
    from tasks.shadow import seen_in_words

    with opened(config) as res, res.store.reading() as tx:
        version = tx.thresholds.get(id.upper())
        if version is None:
            raise NotFound(f"threshold {id.upper()} is not in the store; `quell threshold list` shows what is")
        before = tx.thresholds.get(version.replaces) if version.replaces else None
        rows = [("predicted and seen", seen_in_words(tx, version)), *version.evidence.items()]
        diff = rule_diff(before, version)
    out().print(f"{version.id} {version.state}: {version.signal}, changed {moment(version.updated_at)}", markup=False)
    out().print(table("", ("", ""), rows))
    out().print(diff, markup=False, highlight=False, soft_wrap=True)


def _upper(version: "ThresholdVersion") -> str:
    if version.burn:
        return f"{len(version.burn)} pairs of windows"
    return _limit(version.upper if version.score is None else version.score, version.upper_by_hour)


def _limit(value: float | None, by_hour: "Sequence[HourBand]") -> str:
    from quell.incidents.hours import bands_in_words

    if by_hour:
        return bands_in_words(by_hour, "{:g}".format)
    return "" if value is None else f"{value:g}"


@app.command()
def recompute(
    incident: Annotated[str, typer.Option(help="The incident after which it is done, as in INC-7.")] = "",
    signal: Annotated[list[str] | None, typer.Option(help="Only this signal; may be given again.")] = None,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Recompute limits from history, here and now, and propose what differs; nothing is in force before approval."""
    from rich.progress import track

    from quell.prevention.limits import limits_in_words
    from tasks.burn import recompute_burns
    from tasks.study import study_of
    from tasks.thresholds import propose_studied

    with opened(config) as res:
        unknown = sorted(set(signal or ()) - set(res.config.signals))
        if unknown:
            raise NotFound(f"signal {unknown[0]} is not in signals.yaml")
        names = signal or list(res.config.signals)
        bar = track(names, description="signals", console=err(), transient=True, disable=not err().is_terminal)
        studies = [study_of(res, res.config.signals[name]) for name in bar]
        propose_studied(res, studies, incident or None)
        burns = recompute_burns(res, incident or None, names)
    rows = [
        (s.signal.name, limits_in_words(s.signal.unit, s.found.limits), str(s.new_backtest), str(s.found.prediction))
        for s in studies
    ]
    out().print(table("", ("signal", "limit from history", "backtest", "predicted"), rows))
    if burns:
        out().print(f"other windows or factors for burn-rate alerts: {', '.join(burns)}", markup=False)


@app.command()
def learn(config: ConfigOption = DEFAULT_FOLDER) -> None:
    """Learn limits on the detector's score from incidents and labels, and propose what differs."""
    from tasks.sensitivity import learn_of, said_of

    with opened(config) as res:
        learned, proposed = learn_of(res)
    out().print(said_of(learned, proposed), markup=False)


@app.command()
def clients(
    id: Annotated[str, typer.Argument(help="Version id, as in THR-3; without it, learn and propose anew.")] = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Standing limits of clients: whom a version would have refused and refuses, or learn limits from traffic now."""
    with opened(config) as res:
        if id:
            _show_clients(res, id.upper())
        else:
            _learn_clients(res)


def _learn_clients(res: "Resources") -> None:
    from tasks.standing import backtest_in_words, learned_in_words, propose_of, study_standing

    with out().status("traffic by client is read"):
        study = study_standing(res)
        id = propose_of(res, study)
    if study.found.reason:
        out().print(f"no standing limits can be learned: {study.found.reason}", markup=False, soft_wrap=True)
        return
    rows = [
        (one.name, f"{one.limit:,}", f"{one.usual:.3g}/s", f"{one.highest:.3g}/s", learned_in_words(one, study.policy))
        for one in study.found.learned
    ]
    window = f"{study.policy.window.total_seconds():g} s"
    out().print(table("", ("client", f"requests in {window}", "peak", "highest", "rests on"), rows))
    for name, why in study.found.left_out.items():
        out().print(f"{name}: {why}", markup=False, soft_wrap=True)
    out().print(f"in this history: {backtest_in_words(study.refused)}", markup=False, soft_wrap=True)
    out().print(f"{id} is proposed" if id else "that is what is in force, or waits already", markup=False)


def _show_clients(res: "Resources", id: str) -> None:
    from quell.prevention.refusals import IN_FORCE, SHADOW
    from quell.prevention.standing_limit import StandingPolicy
    from tasks.refusals import refusals_of, standing_seen

    with res.store.reading() as tx:
        version = tx.thresholds.get(id)
        if version is None or version.clients is None:
            raise NotFound(f"standing limits {id} are not in the store; `quell threshold list` shows what is")
        records = [(what, refusals_of(tx, kind, id)) for what, kind in (("shadow", SHADOW), ("in force", IN_FORCE))]
        seen = standing_seen(tx, version)
    window = (version.window or StandingPolicy.window).total_seconds()
    rows = [
        (
            what, name, f"{version.clients.get(name, version.clients['NEW']):,} in {window:g} s", f"{one.refused:,.0f}",
            f"{one.in_incidents:,.0f}", f"{one.share * 100:.2g} %", f"{one.minutes}",
            f"{one.worst:,.0f} at {moment(one.worst_at)}" if one.worst_at else "",
        )
        for what, record in records
        for name, one in (record.worst_first() if record else [])
    ]  # fmt: skip
    out().print(f"{id} {version.state}: {seen}", markup=False, soft_wrap=True)
    columns = ("", "client", "limit", "refused", "in incidents", "of its requests", "minutes", "worst minute")
    out().print(table("", columns, rows) if rows else "nobody was refused")


@app.command()
def shadow(id: IdArgument, by: ByOption = "", config: ConfigOption = DEFAULT_FOLDER) -> None:
    """Let a proposal record what it would alert, from now on; the hourly watch does so by itself."""
    from tasks.shadow import shadow_threshold

    with opened(config) as res:
        shadow_threshold(res, id.upper(), by or whoami(), "asked for on the command line")
    out().print(f"{id.upper()} only records, until it is promoted or reverted", markup=False)


@app.command()
def promote(id: IdArgument, by: ByOption = "", config: ConfigOption = DEFAULT_FOLDER) -> None:
    """Put an approved version into force (`quell approve THR-n` first); the one before it is superseded."""
    from tasks.thresholds import promote_threshold

    with opened(config) as res:
        promote_threshold(res, id.upper(), by or whoami())
    out().print(f"{id.upper()} is active", markup=False)


@app.command()
def revert(
    id: IdArgument,
    why: Annotated[str, typer.Option(help="Goes on the timeline.")],
    by: ByOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Take a version out of force; the one that it replaced is active again. A proposal is declined."""
    from tasks.thresholds import revert_threshold

    with opened(config) as res:
        revert_threshold(res, id.upper(), by or whoami(), why)
    out().print(f"{id.upper()} is reverted", markup=False)
