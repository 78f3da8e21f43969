"""Which verdicts deserve a person's look: judged near the limit, or newly anomalous; one per series and episode."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from quell.detection.finding import describe_finding
from quell.detection.judged import Judged
from quell.incidents.anomaly import Anomaly
from quell.incidents.labels import SERVICE, Fingerprint, fingerprint
from quell.incidents.service import Catalog
from quell.incidents.signal import Signal
from quell.incidents.verdict import Verdict, VerdictKind

# Scores this close to the limit (0.5) could as well have gone the other way: a person's word is worth most there.
NEAR_LIMIT = (0.4, 0.52)
SAME_EPISODE = timedelta(minutes=10)  # a series calm for longer than this begins a new episode
# A person looks at a few dozen; what waits beyond that is only weight. The least telling give way first.
MOST_WAITING = 200
MOST_WAITING_PER_SIGNAL = 25
_JUDGED = frozenset({VerdictKind.NORMAL, VerdictKind.ANOMALOUS, VerdictKind.DROP_TO_ZERO})


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A verdict worth a look; the number of the anomaly is given by the store."""

    verdict: Verdict
    since: datetime
    because: str
    fingerprint: Fingerprint
    service: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a sweep changes about the anomalies: some begin, some go on, some that wait give way."""

    begun: tuple[Candidate, ...]
    continued: tuple[Anomaly, ...]
    dropped: tuple[str, ...]
    left_out: int  # candidates for which there was no room


def why_look(verdict: Verdict) -> str | None:
    """Why a person should look at the verdict; None when nobody needs to."""
    if verdict.kind not in _JUDGED:
        return None
    low, high = NEAR_LIMIT
    if low <= verdict.score <= high:
        side = "just inside" if verdict.kind is VerdictKind.NORMAL else "just outside"
        return f"judged {side} the limit: score {verdict.score:.2f}, the limit is 0.5"
    if verdict.kind is not VerdictKind.NORMAL:
        return f"newly anomalous: score {verdict.score:.2f}"
    return None


def review_candidates(found: Iterable[tuple[Verdict, float]], signal: Signal, catalog: Catalog) -> list[Candidate]:
    """The verdicts worth a look, the most telling first, at most as many as may wait of one signal.

    `found` gives with each verdict when its trouble began (epoch seconds), as `judge_with_onset` does.
    """
    telling = [(verdict, since, because) for verdict, since in found if (because := why_look(verdict)) is not None]
    telling.sort(key=lambda entry: _telling(entry[0].kind, entry[0].score), reverse=True)
    return [_candidate(*entry, signal=signal, catalog=catalog) for entry in telling[:MOST_WAITING_PER_SIGNAL]]


def candidates_of(judged: Judged, signal: Signal, catalog: Catalog) -> list[Candidate]:
    """The candidates of a whole signal: only the verdicts worth a look are put into words."""
    low, high = NEAR_LIMIT
    is_bad = judged.has_kind((VerdictKind.ANOMALOUS, VerdictKind.DROP_TO_ZERO))
    is_near = judged.has_kind((VerdictKind.NORMAL,)) & (judged.score >= low) & (judged.score <= high)
    places = np.flatnonzero(is_bad | is_near)
    order = np.lexsort((-judged.score[places], ~is_bad[places]))  # the most telling first, as in `review_candidates`
    chosen: list[int] = places[order[:MOST_WAITING_PER_SIGNAL]].tolist()
    return review_candidates(((judged.verdict(i), float(judged.since[i])) for i in chosen), signal, catalog)


def _candidate(verdict: Verdict, since: float, because: str, *, signal: Signal, catalog: Catalog) -> Candidate:
    labels = describe_finding(verdict, signal, catalog, since=since).labels
    began = verdict.at if verdict.kind is VerdictKind.NORMAL else datetime.fromtimestamp(round(since, 3), UTC)
    return Candidate(
        verdict=verdict,
        since=min(began, verdict.at),
        because=because,
        fingerprint=fingerprint(labels),
        service=labels.get(SERVICE),
    )


def select(candidates: Sequence[Candidate], recent: Mapping[str, Anomaly], waiting: Sequence[Anomaly]) -> Selection:
    """Fit a sweep's candidates into what is there.

    `recent` holds by series the anomalies of the last SAME_EPISODE, `waiting` all without a label. Of what would wait
    beyond the limits the least telling give way: near the limit before anomalous, the older before the newer.
    """
    continued = tuple(go_on(recent[c.verdict.id], c) for c in candidates if c.verdict.id in recent)
    fresh = [candidate for candidate in candidates if candidate.verdict.id not in recent]
    updated = {anomaly.id: anomaly for anomaly in continued}
    ranked: list[tuple[tuple[bool, datetime, float], str, Anomaly | Candidate]] = []
    for anomaly in waiting:
        now = updated.get(anomaly.id, anomaly)
        ranked.append((_rank(now.kind, now.last_at, now.score), now.signal, now))
    ranked += [(_rank(c.verdict.kind, c.verdict.at, c.verdict.score), c.verdict.signal, c) for c in fresh]
    ranked.sort(key=lambda entry: entry[0], reverse=True)
    kept, dropped = _within_limits([(signal, item) for _, signal, item in ranked])
    begun = tuple(item for item in kept if isinstance(item, Candidate))
    gone = {item.id for item in dropped if isinstance(item, Anomaly)}
    return Selection(
        begun=begun,
        continued=tuple(anomaly for anomaly in continued if anomaly.id not in gone),
        dropped=tuple(sorted(gone)),
        left_out=len(fresh) - len(begun),
    )


def _within_limits(
    ranked: Sequence[tuple[str, Anomaly | Candidate]],
) -> tuple[list[Anomaly | Candidate], list[Anomaly | Candidate]]:
    kept: list[Anomaly | Candidate] = []
    dropped: list[Anomaly | Candidate] = []
    of_signal: dict[str, int] = {}
    for signal, item in ranked:
        has_room = len(kept) < MOST_WAITING and of_signal.get(signal, 0) < MOST_WAITING_PER_SIGNAL
        (kept if has_room else dropped).append(item)
        of_signal[signal] = of_signal.get(signal, 0) + has_room
    return kept, dropped


def begin(candidate: Candidate, id: str) -> Anomaly:
    """The anomaly under its number, waiting for a label."""
    verdict = candidate.verdict
    return Anomaly(
        id=id,
        series=verdict.id,
        signal=verdict.signal,
        labels=verdict.labels,
        service=candidate.service,
        fingerprint=candidate.fingerprint,
        started_at=candidate.since,
        last_at=verdict.at,
        worst_at=verdict.at,
        kind=verdict.kind,
        value=verdict.value,
        expected=verdict.expected,
        lower=verdict.lower,
        upper=verdict.upper,
        score=verdict.score,
        reason=verdict.reason,
        because=candidate.because,
        baseline=verdict.baseline,
    )


def go_on(anomaly: Anomaly, candidate: Candidate) -> Anomaly:
    """The anomaly after one more sweep; it shows its worst moment."""
    verdict = candidate.verdict
    lasted = replace(anomaly, last_at=max(anomaly.last_at, verdict.at))
    if _telling(verdict.kind, verdict.score) <= _telling(anomaly.kind, anomaly.score):
        return lasted
    worst = begin(candidate, anomaly.id)
    return replace(
        lasted,
        worst_at=worst.worst_at,
        kind=worst.kind,
        value=worst.value,
        expected=worst.expected,
        lower=worst.lower,
        upper=worst.upper,
        score=worst.score,
        reason=worst.reason,
        because=worst.because,
        baseline=worst.baseline,
    )


def _telling(kind: VerdictKind, score: float) -> tuple[bool, float]:
    return kind is not VerdictKind.NORMAL, score


def _rank(kind: VerdictKind, at: datetime, score: float) -> tuple[bool, datetime, float]:
    return kind is not VerdictKind.NORMAL, at, score
