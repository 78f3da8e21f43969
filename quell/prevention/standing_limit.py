"""Standing limits from measured traffic: what each client has needed without trouble, with headroom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import ceil

import numpy as np
from scipy.special import betaincinv, chdtri

from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.standing import MOST, NEW, OTHERS, can_be_named, span_in_words

CLIENT = "client"  # the label that names one
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingPolicy:
    """How standing limits are learned. `signal` measures requests per second of each client, over `window`.

    History is cut into blocks (a day, say); a client needs `least_blocks` of them for a limit of its own. `headroom` is
    at least 2: HAProxy's counter may read as much as two windows hold. `promised` are requests per second that a client
    may always send, whatever history says. A client of `unnamed` is what requests without a name are counted as.
    """

    signal: str
    window: timedelta = timedelta(seconds=10)
    block: timedelta = timedelta(days=1)
    least_blocks: int = 7
    headroom: float = 2.0
    shadow: timedelta = timedelta(days=1)
    unnamed: tuple[str, ...] = ()
    promised: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """The limit of one client, of each new one or of those together, in requests per window.

    `usual` is the peak (requests per second) that the limit rests on, `highest` the highest one of all; `above` is how
    many of `blocks` have a peak above the limit.
    """

    name: str
    limit: int
    usual: float
    highest: float
    blocks: int
    above: int
    basis: str

    @property
    def most_above(self) -> float:
        """The share (0..1) of blocks above the limit that the history cannot rule out (Clopper and Pearson, 1934)."""
        if self.above >= self.blocks:
            return 1.0
        return float(betaincinv(self.above + 1, self.blocks - self.above, CONFIDENCE))


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingProposal:
    """`learned` begins with NEW and OTHERS; it is empty where `reason` says why nothing can be proposed.

    `left_out` are clients without a limit of their own, each with the reason: the limit of new ones holds for them.
    """

    learned: tuple[Learned, ...]
    left_out: Mapping[str, str]
    blocks: int
    reason: str = ""

    @property
    def limits(self) -> Mapping[str, int]:
        return {one.name: one.limit for one in self.learned}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """The peak (requests per second) of each block in which a client sent anything, in their order."""

    name: str
    peaks: tuple[float, ...]

    @property
    def recurring(self) -> float:
        """The peak that was reached in two blocks: one flood that nobody noticed is not learned from."""
        return sorted(self.peaks)[-2] if len(self.peaks) > 1 else 0.0


def propose_standing(history: SeriesMatrix, policy: StandingPolicy) -> StandingProposal:
    """Limits for clients, for each new one and for those together, from requests per second (T, S) without incidents.

    Times that teach nothing are NaN. Each client's limit is `headroom` times the peak that it reached in two blocks, of
    which the count is taken at its upper 95 % Poisson bound: a peak of one request says little. A new client gets what
    any known one sent when it was first seen, whatever strangers sent; those without a limit of their own together get
    what they sent within that, and never less than two new clients. It assumes that tomorrow's use is like history's;
    `Learned.most_above` says how far the history can vouch for that.
    """
    names, values = join_clients(history)
    blocks = np.floor(history.timestamps / policy.block.total_seconds())
    total = _use("", blocks, _sum(values))
    if len(total.peaks) < policy.least_blocks:
        seen = f"{len(total.peaks)} blocks of {span_in_words(policy.block)}"
        reason = f"history has {seen} with traffic, needs {policy.least_blocks}"
        return StandingProposal(learned=(), left_out={}, blocks=len(total.peaks), reason=reason)
    uses = [_use(name, blocks, values[:, column]) for column, name in enumerate(names)]
    uses += [Use(name=name, peaks=()) for name in policy.promised if name not in names]
    left_out = {use.name: why for use in uses if (why := _why_left_out(use, policy))}
    known = [use for use in uses if use.name not in left_out]
    own = [_learn(use, use.recurring, policy, f"reached in 2 of {len(use.peaks)} blocks") for use in known]
    first = Use(name=NEW, peaks=tuple(use.peaks[0] for use in known if use.peaks))
    if not first.peaks:
        reason = f"no client was seen in {policy.least_blocks} blocks: what a new one may send cannot be told"
        return StandingProposal(learned=(), left_out=left_out, blocks=len(total.peaks), reason=reason)
    new = _learn(
        first, max(first.peaks), policy, f"the most that one of {len(first.peaks)} known clients sent at first"
    )
    unnamed = np.array([name in left_out for name in names], dtype=np.bool_)
    # each at most what it may send, so that a flood of one stranger does not make room for the next one
    within = np.where(np.isin(names, policy.unnamed), np.inf, new.limit / policy.window.total_seconds())
    others = _learn_others(_use(OTHERS, blocks, _sum(np.minimum(values, within)[:, unnamed])), new.limit, policy)
    return StandingProposal(learned=(new, others, *own), left_out=left_out, blocks=len(total.peaks))


def _learn_others(use: Use, new: int, policy: StandingPolicy) -> Learned:
    learned = _learn(use, use.recurring, policy, f"reached in 2 of {len(use.peaks)} blocks")
    if learned.limit >= 2 * new:
        return learned
    return _at_least(learned, use, 2 * new, policy, "two new clients at once")


def join_clients(matrix: SeriesMatrix) -> tuple[list[str], FloatArray]:
    """Names in lower case, as the limiter compares them, and the sum of each one's series, shape (T, clients).

    NaN only where none of the series has a sample. Series without a client's label are left out.
    """
    columns: dict[str, list[int]] = {}
    for column, labels in enumerate(matrix.labels):
        if name := labels.get(CLIENT, "").lower():
            columns.setdefault(name, []).append(column)
    names = sorted(columns)
    joined = [_sum(matrix.values[:, columns[name]]) for name in names]
    return names, np.column_stack(joined) if joined else np.empty((len(matrix.timestamps), 0))


def _sum(values: FloatArray) -> FloatArray:
    known = np.isfinite(values)
    return np.where(known.any(axis=1), np.where(known, values, 0.0).sum(axis=1), np.nan)


def _use(name: str, blocks: FloatArray, rates: FloatArray) -> Use:
    sent = np.isfinite(rates) & (rates > 0)
    if not sent.any():
        return Use(name=name, peaks=())
    rates, blocks = rates[sent], blocks[sent]
    starts = np.flatnonzero(np.diff(blocks, prepend=-1.0))
    return Use(name=name, peaks=tuple(np.maximum.reduceat(rates, starts).tolist()))


def _why_left_out(use: Use, policy: StandingPolicy) -> str:
    if use.name in policy.unnamed:
        return "stands for requests without a name"
    if not can_be_named(use.name):
        return "its name cannot stand in a map"
    if use.name in policy.promised:
        return ""
    if len(use.peaks) < policy.least_blocks:
        return f"seen in {len(use.peaks)} blocks, needs {policy.least_blocks}"
    return ""


def _learn(use: Use, usual: float, policy: StandingPolicy, basis: str) -> Learned:
    seconds = policy.window.total_seconds()
    # upper bound of a Poisson mean: chi2 quantile with 2(n + 1) degrees of freedom, halved (Garwood, 1936)
    count = float(chdtri(2 * (usual * seconds + 1), 1 - CONFIDENCE)) / 2
    limit = min(max(ceil(policy.headroom * count), 1), MOST)
    promised = ceil(policy.promised.get(use.name, 0.0) * seconds)
    learned = Learned(
        name=use.name,
        limit=limit,
        usual=usual,
        highest=max(use.peaks, default=0.0),
        blocks=len(use.peaks),
        above=_above(use.peaks, limit, seconds),
        basis=basis,
    )
    return learned if promised <= limit else _at_least(learned, use, promised, policy, "promised in quell.toml")


def _at_least(learned: Learned, use: Use, limit: int, policy: StandingPolicy, basis: str) -> Learned:
    above = _above(use.peaks, limit, policy.window.total_seconds())
    return replace(learned, limit=limit, above=above, basis=f"{basis}; {learned.basis}")


def _above(peaks: Sequence[float], limit: int, seconds: float) -> int:
    return sum(peak * seconds > limit for peak in peaks)
