"""Burn rates: how fast each series spends its error budget, judged over several pairs of windows.

A burn rate of 1 spends exactly the budget within the period. A pair fires when both its windows burn faster than its
factor: the long one shows that it matters, the short one that it still goes on.
Source: The Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.detection.episode import Finding
from quell.detection.finding import describe_finding
from quell.incidents.errors import InvalidInput
from quell.incidents.incident import Severity
from quell.incidents.labels import ALERTNAME, SEVERITY, Labels, fingerprint
from quell.incidents.service import Catalog
from quell.incidents.signal import Signal
from quell.incidents.slo import BurnUrgency, BurnWindow, Slo
from quell.incidents.verdict import Verdict, VerdictKind

ERROR_BUDGET_BURN = "ErrorBudgetBurn"
_PLAIN_RANGE = re.compile(r"\s*\d[\dhmsdwy.]*\s*")
_UNITS = (("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`')


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """One pair of windows on one series: burn rates (NaN without data) and the factor that they are held against."""

    window: BurnWindow
    factor: float
    long: float
    short: float

    @property
    def is_firing(self) -> bool:
        return self.long > self.factor and self.short > self.factor

    @property
    def score(self) -> float:
        """1 is the limit; what both windows reach."""
        lesser = min(self.long, self.short)
        return 0.0 if math.isnan(self.long) or math.isnan(self.short) else lesser / self.factor


def reachable(slo: Slo, windows: Sequence[BurnWindow]) -> tuple[BurnWindow, ...]:
    """The windows that can fire at all: with a low objective, failing always may not be fast enough for some."""
    return tuple(w for w in windows if w.factor(slo.period) * slo.error_budget < 1.0 and w.long <= slo.period)


def burns(slo: Slo, windows: Sequence[BurnWindow], ratios: Mapping[timedelta, float]) -> tuple[Burn, ...]:
    """Each pair's burn rates from the error ratio (0..1) in each window; a window that is missing has no data."""
    rates = {span: ratio / slo.error_budget for span, ratio in ratios.items()}
    return tuple(
        Burn(
            window=window,
            factor=window.factor(slo.period),
            long=rates.get(window.long, math.nan),
            short=rates.get(window.short, math.nan),
        )
        for window in reachable(slo, windows)
    )


def judge_burn(
    signal: Signal, windows: Sequence[BurnWindow], labels: Labels, ratios: Mapping[timedelta, float], *, now: datetime
) -> tuple[Verdict, Burn | None]:
    """The verdict on one series, and the most urgent pair that fires. The score is the share of the limit reached.

    `no_data` where no pair has both windows: silence spends no budget, but nobody knows that it is health.
    """
    slo = _slo_of(signal)
    found = burns(slo, windows, ratios)
    known = [burn for burn in found if not (math.isnan(burn.long) or math.isnan(burn.short))]
    firing = next((burn for burn in known if burn.is_firing), None)
    shown = firing or max(known, key=lambda burn: burn.score, default=None)
    kind = VerdictKind.NO_DATA if shown is None else VerdictKind.ANOMALOUS if firing else VerdictKind.NORMAL
    verdict = Verdict(
        id=f"{signal.name}:{fingerprint(labels)}:slo",
        signal=signal.name,
        labels=labels,
        at=now,
        kind=kind,
        value=ratios.get(shown.window.long) if shown else None,
        expected=slo.error_budget,
        lower=None,
        upper=shown.factor * slo.error_budget if shown else None,
        score=round(shown.score, 4) if shown else 0.0,
        samples=len(known),
        reason=_reason(slo, shown),
    )
    return verdict, firing


def _reason(slo: Slo, burn: Burn | None) -> str:
    if burn is None:
        return "no requests in any pair of windows: nothing is known of the error budget"
    long, short, period = (duration_text(span) for span in (burn.window.long, burn.window.short, slo.period))
    if not burn.is_firing:
        return (
            f"the error budget of {period} burns {burn.long:.3g} times as fast as allowed over {long} and "
            f"{burn.short:.3g} times over {short}; both must pass {burn.factor:.3g}"
        )
    lasts = slo.period / burn.long
    return (
        f"the error budget of {period} burns {burn.long:.3g} times as fast as allowed over {long} and {burn.short:.3g} "
        f"times over {short}, the limit is {burn.factor:.3g}; at this rate a whole budget lasts {_rough(lasts)}"
    )


def describe_burn(verdict: Verdict, burn: Burn, signal: Signal, catalog: Catalog) -> Finding:
    """What the alert says: a page is critical where users feel it, a ticket is minor."""
    finding = describe_finding(verdict, signal, catalog, since=verdict.at.timestamp())
    pages = Severity.CRITICAL if signal.is_user_facing else Severity.MAJOR
    severity = pages if burn.window.urgency is BurnUrgency.PAGE else Severity.MINOR
    return Finding(
        key=verdict.id,
        labels={**finding.labels, ALERTNAME: ERROR_BUDGET_BURN, SEVERITY: severity},
        annotations={**finding.annotations, "summary": f"{signal.name}: {verdict.reason}"},
        since=verdict.at,
    )


def windowed(query: str, window: timedelta, step: timedelta) -> str:
    """The signal's query over another window.

    A ratio of rates gets the window in place of its own, which weighs every request the same. Where the query has
    subqueries or no ranges, the mean of its values over time must do, which weighs quiet minutes as much as busy ones.

    >>> windowed('sum(rate(e[10s])) / sum(rate(t[10s]))', timedelta(hours=1), timedelta(seconds=5))
    'sum(rate(e[1h])) / sum(rate(t[1h]))'
    >>> windowed('error_ratio', timedelta(minutes=5), timedelta(seconds=5))
    'avg_over_time((error_ratio)[5m:5s])'
    """
    bare = _STRING.sub(lambda found: "_" * len(found[0]), query)
    ranges = list(re.finditer(r"\[([^\]]*)\]", bare))
    text = duration_text(window)
    if not ranges or any(not _PLAIN_RANGE.fullmatch(found[1]) for found in ranges):
        return f"avg_over_time(({query.strip()})[{text}:{duration_text(step)}])"
    for found in reversed(ranges):
        query = query[: found.start(1)] + text + query[found.end(1) :]
    return query.strip()


def duration_text(span: timedelta) -> str:
    """A length of time as Prometheus writes it, in the largest unit that leaves no rest.

    >>> duration_text(timedelta(days=3)), duration_text(timedelta(minutes=90)), duration_text(timedelta(seconds=5))
    ('3d', '90m', '5s')
    """
    seconds = max(round(span.total_seconds()), 1)
    number, unit = next((seconds // size, unit) for unit, size in _UNITS if seconds % size == 0)
    return f"{number}{unit}" if unit != "w" else f"{number * 7}d"


def _rough(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours:.3g} hours" if hours < 48 else f"{hours / 24:.3g} days"


def _slo_of(signal: Signal) -> Slo:
    if signal.slo is None:
        raise InvalidInput(f"signal {signal.name} has no slo: give it one in signals.yaml")
    return signal.slo
