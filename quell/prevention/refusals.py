"""Refusals: who would be refused by standing limits, or is, how often, and in which minute most.

In shadow they are computed from measured traffic; of limits in force HAProxy counts them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.standing import NEW, OTHERS
from quell.prevention.backtest import Trouble
from quell.prevention.history import Period, rows_within
from quell.prevention.standing_limit import join_clients

SHADOW, IN_FORCE = "standing-shadow", "standing-refusals"  # the kinds of the stored records
MOST_KEPT = 200  # clients that a record lists: those refused most; all are counted


def refusals_id(kind: str, threshold: str) -> str:
    """Where a version's record is stored; `kind` is SHADOW or IN_FORCE."""
    return f"{kind}:{threshold}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Requests of one client, or of OTHERS together: sent, refused, and refused in incidents (not in `refused`).

    `worst` is the most that was refused in one minute, `worst_at` that minute; `minutes` had a refusal. `last` is the
    minute (epoch minutes) that is being counted, with `last_refused` so far.
    """

    offered: float = 0.0
    refused: float = 0.0
    in_incidents: float = 0.0
    minutes: int = 0
    worst: float = 0.0
    worst_at: datetime | None = None
    last: int = 0
    last_refused: float = 0.0

    @property
    def share(self) -> float:
        """0..1 of what it sent."""
        return min((self.refused + self.in_incidents) / self.offered, 1.0) if self.offered else 0.0

    def send(self, offered: float) -> "Refused":
        return replace(self, offered=self.offered + offered)

    def refuse(self, minute: int, refused: float, *, is_trouble: bool) -> "Refused":
        """With what was refused in one minute, or in a further part of it."""
        so_far = self.last_refused if minute == self.last else 0.0
        in_minute = so_far + refused
        is_worst = in_minute > self.worst
        return replace(
            self,
            refused=self.refused + (0.0 if is_trouble else refused),
            in_incidents=self.in_incidents + (refused if is_trouble else 0.0),
            minutes=self.minutes + (so_far == 0.0),
            worst=in_minute if is_worst else self.worst,
            worst_at=datetime.fromtimestamp(minute * 60, UTC) if is_worst else self.worst_at,
            last=minute,
            last_refused=in_minute,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """From `since` to `until`, of which `measured` has samples. `others` counts what the limit on those without a
    line together refuses beside what limits of clients do; `clients` are those that were refused.
    """

    since: datetime
    until: datetime
    measured: timedelta = timedelta()
    offered: float = 0.0
    refused: float = 0.0
    in_incidents: float = 0.0
    others: Refused = field(default_factory=Refused)
    clients: Mapping[str, Refused] = field(default_factory=dict[str, Refused])

    @property
    def share(self) -> float:
        """0..1 of all requests outside of incidents that were refused."""
        return min(self.refused / self.offered, 1.0) if self.offered else 0.0

    def worst_first(self) -> list[tuple[str, Refused]]:
        """Those that were refused, OTHERS among them, most first."""
        found = [(name, one) for name, one in (*self.clients.items(), (OTHERS, self.others)) if one.minutes]
        return sorted(found, key=lambda pair: (-pair[1].refused - pair[1].in_incidents, pair[0]))


def add_counts(
    record: Refusals,
    minute: int,
    clients: Mapping[str, tuple[float, float]],
    *,
    offered: float,
    others: tuple[float, float],
    is_trouble: bool,
) -> Refusals:
    """The record with what was counted in one minute, or in a part of it: client -> requests sent and refused.

    `offered` are all requests, also those of clients that are not listed; `others` are those without a line: sent, and
    refused by the limit on all of them together.
    """
    sent = {name: count for name, (count, _) in clients.items()}
    refused = {name: count for name, (_, count) in clients.items() if count > 0}
    return _refuse(_send(record, sent, offered, others[0]), minute, refused, others[1], is_trouble=is_trouble)


def _send(record: Refusals, sent: Mapping[str, float], offered: float, others: float) -> Refusals:
    clients = dict(record.clients)
    for name, count in sent.items():
        clients[name] = clients.get(name, Refused()).send(count)
    return replace(
        record, offered=record.offered + offered, others=record.others.send(others), clients=_most_refused(clients)
    )


def _refuse(
    record: Refusals, minute: int, refused: Mapping[str, float], others: float, *, is_trouble: bool
) -> Refusals:
    clients = dict(record.clients)
    for name, count in refused.items():
        clients[name] = clients.get(name, Refused()).refuse(minute, count, is_trouble=is_trouble)
    total = sum(refused.values()) + others
    return replace(
        record,
        refused=record.refused + (0.0 if is_trouble else total),
        in_incidents=record.in_incidents + (total if is_trouble else 0.0),
        others=record.others.refuse(minute, others, is_trouble=is_trouble) if others > 0 else record.others,
        clients=_most_refused(clients),
    )


def extend_shadow(
    record: Refusals,
    matrix: SeriesMatrix,
    limits: Mapping[str, int],
    *,
    window: timedelta,
    unnamed: Sequence[str] = (),
    excluded: Iterable[Period] = (),
    troubles: Sequence[Trouble] = (),
) -> Refusals:
    """The record with what `limits` would have refused after its end, from requests per second (T, S) of each client.

    A limiter that counts only what it admits lets through the limit and refuses the rest. Times in `excluded`
    (maintenance) do not count; refusals in incidents are counted apart. A gap in the samples is not measured.
    """
    times = matrix.timestamps
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    counted = (times > record.until.timestamp()) & np.isfinite(matrix.values).any(axis=1)
    for period in excluded:
        counted[rows_within(times, period)] = False
    if not step or not (times > record.until.timestamp()).any():
        return record
    names, rates = join_clients(matrix)
    sent = np.nan_to_num(rates[counted]) * step
    limit = np.array([_limit_of(name, limits, unnamed) for name in names]) / window.total_seconds() * step
    refused = np.maximum(sent - limit, 0.0)
    others = np.array([name not in limits for name in names], dtype=np.bool_)
    admitted = (sent - refused)[:, others].sum(axis=1)
    beside = np.maximum(admitted - limits.get(OTHERS, np.inf) / window.total_seconds() * step, 0.0)
    record = replace(
        record,
        until=datetime.fromtimestamp(float(times[-1]), UTC),
        measured=record.measured + timedelta(seconds=float(np.count_nonzero(counted)) * step),
    )
    return _add_rows(record, times[counted], names, sent, refused, beside, troubles, limits)


def _add_rows(
    record: Refusals,
    times: FloatArray,
    names: Sequence[str],
    sent: FloatArray,
    refused: FloatArray,
    beside: FloatArray,
    troubles: Sequence[Trouble],
    limits: Mapping[str, int],
) -> Refusals:
    totals = {name: float(total) for name, total in zip(names, sent.sum(axis=0), strict=True) if total > 0}
    unnamed = sum(total for name, total in totals.items() if name not in limits)
    record = _send(record, totals, sum(totals.values()), unnamed)
    is_trouble = np.zeros(len(times), dtype=np.bool_)
    for trouble in troubles:
        is_trouble[rows_within(times, trouble.period)] = True
    rows = np.flatnonzero(refused.any(axis=1) | (beside > 0))
    if not rows.size:
        return record
    minutes, inside = np.floor(times[rows] / 60).astype(np.int64), is_trouble[rows]
    edges = np.flatnonzero((np.diff(minutes, prepend=-1) != 0) | np.diff(inside, prepend=False)).tolist()
    for start, end in zip(edges, [*edges[1:], len(rows)], strict=True):
        stretch = refused[rows[start:end]].sum(axis=0)
        counts = {name: float(stretch[n]) for n, name in enumerate(names) if stretch[n] > 0}
        record = _refuse(
            record,
            int(minutes[start]),
            counts,
            float(beside[rows[start:end]].sum()),
            is_trouble=bool(inside[start]),
        )
    return record


def _limit_of(name: str, limits: Mapping[str, int], unnamed: Sequence[str]) -> float:
    """Requests in the window; requests without a name are limited by OTHERS alone."""
    return np.inf if name in unnamed else float(limits.get(name, limits.get(NEW, np.inf)))


def _most_refused(clients: Mapping[str, Refused]) -> Mapping[str, Refused]:
    if len(clients) <= MOST_KEPT:
        return clients
    order = sorted(
        clients, key=lambda name: (-clients[name].refused - clients[name].in_incidents, -clients[name].offered)
    )
    return {name: clients[name] for name in order[:MOST_KEPT]}


def to_body(record: Refusals) -> dict[str, Any]:
    """The record as JSON holds it."""
    return {
        "since": record.since.isoformat(),
        "until": record.until.isoformat(),
        "measured_seconds": record.measured.total_seconds(),
        "offered": record.offered,
        "refused": record.refused,
        "in_incidents": record.in_incidents,
        "others": _client_body(record.others),
        "clients": {name: _client_body(one) for name, one in record.clients.items()},
    }


def from_body(body: Mapping[str, Any]) -> Refusals:
    return Refusals(
        since=datetime.fromisoformat(body["since"]),
        until=datetime.fromisoformat(body["until"]),
        measured=timedelta(seconds=body["measured_seconds"]),
        offered=body["offered"],
        refused=body["refused"],
        in_incidents=body["in_incidents"],
        others=_client(body["others"]),
        clients={name: _client(one) for name, one in body["clients"].items()},
    )


def _client_body(one: Refused) -> dict[str, Any]:
    return {
        "offered": one.offered,
        "refused": one.refused,
        "in_incidents": one.in_incidents,
        "minutes": one.minutes,
        "worst": one.worst,
        "worst_at": one.worst_at.isoformat() if one.worst_at else "",
        "last": one.last,
        "last_refused": one.last_refused,
    }


def _client(body: Mapping[str, Any]) -> Refused:
    values = dict(body)
    worst_at = values.pop("worst_at")
    return Refused(**values, worst_at=datetime.fromisoformat(worst_at) if worst_at else None)
