"""The cost of a safeguard: whom it refuses, and how many of those it should not have."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from quell.response.traffic import ClientCount

LEAST_TO_JUDGE = 50  # legitimate requests in the window; a share of fewer is chance
_BUCKET_SECONDS = 5.0
_LEAST_SECONDS = 1.0  # everyday use is a rate per second: what comes within less is no excess yet
_MOST_CLIENTS = 20  # shown
_NONE: Mapping[str, ClientCount] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Requests of clients within their everyday use, and those of them that were refused, in a few seconds."""

    at: str  # when it began
    legitimate: int = 0
    wrong: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Since the safeguard is on: requests `offered` and `refused`; of those of clients within their everyday use
    (`legitimate`) how many were refused (`wrong`); how many were refused of clients whose everyday use is not known.

    `clients` are those that were refused most. `latency_ms` is the mean time of an admitted request now, where it can
    be measured, `latency_before_ms` what it was when the safeguard was put on.
    """

    offered: int = 0
    refused: int = 0
    legitimate: int = 0
    wrong: int = 0
    unknown: int = 0
    clients: Mapping[str, ClientCount] = field(default_factory=dict[str, ClientCount])
    recent: tuple[Bucket, ...] = ()
    latency_before_ms: float | None = None
    latency_ms: float | None = None

    @property
    def wrong_share(self) -> float:
        """Of legitimate requests, since it is on."""
        return self.wrong / self.legitimate if self.legitimate else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What was counted in a few seconds: over all requests, and of each client."""

    seconds: float
    offered: int
    refused: int
    clients: Mapping[str, ClientCount] = field(default_factory=lambda: _NONE)


def charge(cost: Cost, stretch: Stretch, usual: Mapping[str, float], *, now: datetime, window: timedelta) -> Cost:
    """The cost with one more stretch. `usual` is the most that each known client sends in calm times, per second."""
    legitimate = wrong = unknown = 0
    for name, count in stretch.clients.items():
        if name not in usual:
            unknown += count.refused
        elif count.offered <= usual[name] * max(stretch.seconds, _LEAST_SECONDS):
            legitimate += count.offered
            wrong += count.refused
    named = sum(count.refused for count in stretch.clients.values())
    return replace(
        cost,
        offered=cost.offered + stretch.offered,
        refused=cost.refused + stretch.refused,
        legitimate=cost.legitimate + legitimate,
        wrong=cost.wrong + wrong,
        unknown=cost.unknown + unknown + max(stretch.refused - named, 0),
        clients=_add(cost.clients, stretch.clients),
        recent=_remember(cost.recent, legitimate, wrong, now, window),
    )


def with_latency(cost: Cost, latency_ms: float | None) -> Cost:
    if latency_ms is None:
        return cost
    before = latency_ms if cost.latency_before_ms is None else cost.latency_before_ms
    return replace(cost, latency_ms=latency_ms, latency_before_ms=before)


def too_dear(cost: Cost, most_refused: float | None) -> str:
    """Why the safeguard must be lifted: it refuses too many who did nothing wrong; empty while it may stay."""
    legitimate, wrong = sum(b.legitimate for b in cost.recent), sum(b.wrong for b in cost.recent)
    if most_refused is None or legitimate < LEAST_TO_JUDGE or wrong <= most_refused * legitimate:
        return ""
    return (
        f"it refused {wrong} of the last {legitimate} requests of clients within their everyday use "
        f"({wrong / legitimate:.1%}), the limit is {most_refused:.1%}"
    )


def cost_document(mitigation: str) -> str:
    """The id of the document that holds the cost of a mitigation."""
    return f"cost {mitigation}"


def read_cost(body: Mapping[str, Any]) -> Cost:
    """The cost of a stored document."""
    values: dict[str, Any] = dict(body)
    values["clients"] = {name: ClientCount(**count) for name, count in values.get("clients", {}).items()}
    values["recent"] = tuple(Bucket(**bucket) for bucket in values.get("recent", ()))
    return Cost(**values)


def write_cost(cost: Cost) -> Mapping[str, Any]:
    return {**asdict(cost), "recent": [asdict(bucket) for bucket in cost.recent]}


def cost_in_words(cost: Cost, most_refused: float | None = None) -> str:
    """One sentence for people.

    >>> cost_in_words(Cost(offered=500, refused=40, legitimate=300, wrong=3), 0.05)
    'refused 40 of 500 requests since it is on; wrongly 3 of 300 within everyday use (1.0%, it is lifted above 5.0%)'
    """
    limit = "" if most_refused is None else f", it is lifted above {most_refused:.1%}"
    known = f"wrongly {cost.wrong} of {cost.legitimate} within everyday use ({cost.wrong_share:.1%}{limit})"
    unknown = f"; {cost.unknown} of clients whose everyday use is not known" if cost.unknown else ""
    return f"refused {cost.refused} of {cost.offered} requests since it is on; {known}{unknown}"


def _add(known: Mapping[str, ClientCount], more: Mapping[str, ClientCount]) -> Mapping[str, ClientCount]:
    """Sums by client; only those that were refused most are kept."""
    sums = dict(known)
    for name, count in more.items():
        if count.refused or name in sums:
            before = sums.get(name, ClientCount(offered=0, admitted=0))
            sums[name] = ClientCount(offered=before.offered + count.offered, admitted=before.admitted + count.admitted)
    largest = sorted(sums, key=lambda name: (-sums[name].refused, name))[:_MOST_CLIENTS]
    return {name: sums[name] for name in largest}


def _remember(
    recent: tuple[Bucket, ...], legitimate: int, wrong: int, now: datetime, window: timedelta
) -> tuple[Bucket, ...]:
    kept = [bucket for bucket in recent if now - datetime.fromisoformat(bucket.at) < window]
    if kept and (now - datetime.fromisoformat(kept[-1].at)).total_seconds() < _BUCKET_SECONDS:
        last = kept.pop()
        kept.append(replace(last, legitimate=last.legitimate + legitimate, wrong=last.wrong + wrong))
    else:
        kept.append(Bucket(at=now.isoformat(), legitimate=legitimate, wrong=wrong))
    return tuple(kept)
