"""The report of a sweep: what it found, merged from its shards, and how a person reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from quell.incidents.chart import format_value
from quell.incidents.verdict import Verdict, VerdictKind
from tasks.artifacts import table

SHOWN = 50  # troubled series in the artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """The whole sweep, merged from its shards."""

    at: datetime
    seconds: float
    kinds: dict[str, dict[str, int]]
    troubles: list[Verdict]
    errors: dict[str, str]
    vanished: dict[str, int] = field(default_factory=dict[str, int])
    budgets: list[Verdict] = field(default_factory=list[Verdict])
    partial: dict[str, str] = field(default_factory=dict[str, str])
    spent: dict[str, float] = field(default_factory=dict[str, float])  # seconds by stage, over all shards
    note: str = ""  # what else a person should know of how it ran
    is_unreachable: bool = False

    @property
    def totals(self) -> dict[str, int]:
        """How many series got each kind of verdict."""
        totals: dict[str, int] = {}
        for counts in self.kinds.values():
            for kind, count in counts.items():
                totals[kind] = totals.get(kind, 0) + count
        return totals


def sweep_markdown(report: SweepReport, units: Mapping[str, str]) -> str:
    """What a person reads of a sweep: what could not be judged, the series in trouble, and the counts by signal.

    `units` are those of the signals by name.
    """
    totals = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in report.totals.items() if count)
    parts = [f"## Sweep of {report.at:%Y-%m-%d %H:%M:%S} UTC", f"**{sum(report.totals.values())} series: {totals}.**"]
    if report.note:
        parts += [f"**{report.note}**"]
    if report.errors:
        parts += ["### Not judged", table(["signal", "why"], list(report.errors.items()))]
    if report.vanished:
        gone = [[name, series, "no sample of any of them"] for name, series in sorted(report.vanished.items())]
        parts += ["### Vanished", table(["signal", "series known before", "now"], gone)]
    if report.partial:
        halves = [[name, said] for name, said in sorted(report.partial.items())]
        parts += ["### Answered in part", table(["signal", "what the server said"], halves)]
    troubles = sorted(report.troubles, key=lambda verdict: (-verdict.score, verdict.id))
    rows = [_row(verdict, units.get(verdict.signal, "")) for verdict in troubles[:SHOWN]]
    parts += ["### In trouble", table(["signal", "series", "verdict", "value", "band", "reason"], rows)]
    if len(troubles) > SHOWN:
        parts.append(f"... and {len(troubles) - SHOWN} more.")
    if report.budgets:
        spent = [[v.signal, _series(v), v.kind.replace("_", " "), v.reason] for v in report.budgets[:SHOWN]]
        parts += ["### Error budgets", table(["signal", "series", "verdict", "reason"], spent)]
    counts = [[name, *(kinds.get(kind, 0) for kind in VerdictKind)] for name, kinds in sorted(report.kinds.items())]
    parts += ["### Verdicts", table(["signal", *(kind.replace("_", " ") for kind in VerdictKind)], counts)]
    stages = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in report.spent.items())
    took = f" Time by stage, over all shards: {stages}." if stages else ""
    parts += [f"_Judged and stored {report.seconds:.1f} s after the moment that it judges.{took}_"]
    return "\n\n".join(parts) + "\n"


def _row(verdict: Verdict, unit: str) -> list[str]:
    kind = verdict.kind.replace("_", " ")
    return [verdict.signal, _series(verdict), kind, _show(verdict.value, unit), _band(verdict, unit), verdict.reason]


def _band(verdict: Verdict, unit: str) -> str:
    match verdict.lower, verdict.upper:
        case None, None:
            return ""
        case None, upper:
            return f"up to {_show(upper, unit)}"
        case lower, None:
            return f"from {_show(lower, unit)}"
        case lower, upper:
            return f"{_show(lower, unit)} to {_show(upper, unit)}"


def _series(verdict: Verdict) -> str:
    """`checkout-2 (service checkout)`: what a person calls the series; all labels where there is no instance."""
    instance = verdict.labels.get("instance")
    rest = {name: value for name, value in verdict.labels.items() if name != "instance"}
    words = ", ".join(f"{name} {value}" for name, value in sorted(rest.items()))
    return f"{instance} ({words})" if instance and words else instance or words or "the whole"


def _show(number: float | None, unit: str) -> str:
    return "" if number is None else format_value(number, unit, digits=4)
