"""Traffic: what a load balancer counted at one moment, and the rates between two moments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCount:
    """Requests of one client since the load balancer first saw it."""

    offered: int
    admitted: int

    @property
    def refused(self) -> int:
        return max(self.offered - self.admitted, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Counters of requests at one moment: all of them, and those that nothing refused. `is_whole`: every client that
    the load balancer remembers is there, so that one that was not there before is new.
    """

    at_seconds: float
    offered: int
    admitted: int
    clients: Mapping[str, ClientCount] = field(default_factory=dict[str, ClientCount])
    is_whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Counters of a limiter that stays on, at one moment: all requests, those of clients without a limit of their own
    (of which `refused` is what a limit on them together refused), and clients that were ever refused.
    """

    at_seconds: float
    total: ClientCount
    others: ClientCount
    clients: Mapping[str, ClientCount] = field(default_factory=dict[str, ClientCount])


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Counters at one moment. `at_seconds` is a clock that only runs forward; `in_flight` were admitted and are not
    answered. `answered` are answers of the service, `failed` its 5xx and those of the load balancer for it.

    `offered` counts every request, `admitted` those that no limit refused; `clients` only those seen lately.
    """

    at_seconds: float
    in_flight: int
    answered: int
    failed: int
    offered: int
    admitted: int
    clients: Mapping[str, ClientCount] = field(default_factory=dict[str, ClientCount])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Rates per second over a stretch of time.

    `in_flight` and `latency_ms`, the mean time of a request, are of now; `least_latency_ms` is with as few in flight as
    there were at any look: it is high only if requests waited all the time. `demands` is what each client offered.
    """

    seconds: float
    in_flight: float
    latency_ms: float
    least_latency_ms: float
    goodput: float
    failed: float
    offered: float
    refused: float
    demands: Mapping[str, float] = field(default_factory=dict[str, float])


def read_rates(looks: Sequence[Traffic]) -> Reading | None:
    """The rates between the first and the last look; None for fewer than two, or when counters began anew.

    The mean time follows from how many are in flight and how many are answered per second (Little's law: L = lambda W),
    which tells of now; an average over the last thousand answers would tell of ten seconds ago. A client that the first
    look did not see has no demand yet: its counters may be old.
    """
    if len(looks) < 2:
        return None
    first, last = looks[0], looks[-1]
    seconds = last.at_seconds - first.at_seconds
    done = last.answered - first.answered + last.failed - first.failed
    if seconds <= 0 or last.offered < first.offered or last.answered < first.answered or last.failed < first.failed:
        return None
    in_flight = sum(look.in_flight for look in looks[-2:]) / 2
    refused = (last.offered - first.offered) - (last.admitted - first.admitted)
    return Reading(
        seconds=seconds,
        in_flight=in_flight,
        latency_ms=_latency(in_flight, done / seconds),
        least_latency_ms=_latency(min(look.in_flight for look in looks), done / seconds),
        goodput=(last.answered - first.answered) / seconds,
        failed=(last.failed - first.failed) / seconds,
        offered=(last.offered - first.offered) / seconds,
        refused=max(refused, 0) / seconds,
        demands={
            name: (count.offered - before.offered) / seconds
            for name, count in last.clients.items()
            if (before := first.clients.get(name)) is not None and count.offered > before.offered
        },
    )


def count_between(first: Requests, last: Requests) -> tuple[ClientCount, Mapping[str, ClientCount]] | None:
    """Requests between two moments, all and by client; None when the counters began anew."""
    if last.at_seconds <= first.at_seconds or last.offered < first.offered or last.admitted < first.admitted:
        return None
    total = ClientCount(offered=last.offered - first.offered, admitted=last.admitted - first.admitted)
    found = {name: _since(first, name, count) for name, count in last.clients.items()}
    return total, {name: count for name, count in found.items() if count.offered > 0}


def counted_between(first: Counted, last: Counted) -> Counted | None:
    """The same over the time between two moments (`at_seconds` is its length); None when the counters began anew."""
    if last.at_seconds <= first.at_seconds or last.total.offered < first.total.offered:
        return None
    nothing = ClientCount(offered=0, admitted=0)
    pairs = {name: (first.clients.get(name, nothing), count) for name, count in last.clients.items()}
    return Counted(
        at_seconds=last.at_seconds - first.at_seconds,
        total=_grown(first.total, last.total),
        others=_grown(first.others, last.others),
        clients={name: grown for name, (old, new) in pairs.items() if (grown := _grown(old, new)).offered > 0},
    )


def _grown(old: ClientCount, new: ClientCount) -> ClientCount:
    """One that was forgotten and came back begins at 0."""
    if new.offered < old.offered or new.refused < old.refused:
        return new
    refused = new.refused - old.refused
    return ClientCount(offered=new.offered - old.offered, admitted=max(new.offered - old.offered - refused, 0))


def _since(first: Requests, name: str, now: ClientCount) -> ClientCount:
    """One that was forgotten and came back begins at 0; of one that the first look did not ask for nothing is known."""
    before = first.clients.get(name)
    if before is None or before.offered > now.offered:
        return now if first.is_whole else ClientCount(offered=0, admitted=0)
    return ClientCount(offered=now.offered - before.offered, admitted=max(now.admitted - before.admitted, 0))


def _latency(in_flight: float, done_per_second: float) -> float:
    """Milliseconds; without end where requests wait and none is answered."""
    if done_per_second > 0:
        return in_flight / done_per_second * 1000
    return float("inf") if in_flight > 0 else 0.0
