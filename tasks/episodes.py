"""Episodes in the store: which series are in trouble, and what the inbox has been told of it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from quell.detection.episode import Episode, Finding, begin_or_continue, from_body, letters, rest, to_body
from quell.incidents.incident import Severity
from quell.incidents.labels import ALERTNAME, SERVICE, SEVERITY, SIGNAL
from quell.incidents.verdict import VerdictKind
from quell.ports import Document, Transaction
from tasks.resources import Resources

EPISODES = "sweep:alerts"
EPISODES_KIND = "sweep-alerts"
FAILING = "sweep:failing"
FAILURES_BEFORE_ALERT = 3
SWEEP_FAILING = "SweepFailing"


def record_findings(res: Resources, findings: Sequence[Finding], *, at: datetime, judged: frozenset[str]) -> None:
    """Begin, continue and end episodes by one sweep; `judged` names the signals that it could ask."""
    confirm = res.config.detection.confirm_sweeps
    with res.store.writing() as tx:
        known = open_episodes(tx, EPISODES)
        after = {f.key: begin_or_continue(known.get(f.key), f) for f in findings}
        for key, episode in known.items():
            if key in after:
                continue
            rested = rest(episode, now=at, confirm_sweeps=confirm) if _is_calm(tx, episode, at, judged) else episode
            if rested is not None:
                after[key] = rested
        _keep(tx, EPISODES, after, at)
    _deliver(res, EPISODES, at, confirm)


def _is_calm(tx: Transaction, episode: Episode, at: datetime, judged: frozenset[str]) -> bool:
    """Whether this sweep judged the series normal, or judged its signal and the series is no longer expected."""
    verdict = tx.verdicts.get(episode.key)
    if verdict is None:  # the episode of a whole signal has no verdict of its own
        return episode.labels.get(SIGNAL) in judged
    if verdict.at < at:
        return verdict.signal in judged
    return verdict.kind is VerdictKind.NORMAL


def record_failures(res: Resources, errors: Mapping[str, str], *, at: datetime) -> None:
    """Count sweeps that could not judge; after three in a row Quell raises an alert about itself."""
    record_condition(res, FAILING, _failing(errors, at) if errors else None, at=at, confirm=FAILURES_BEFORE_ALERT)


def record_condition(res: Resources, document: str, trouble: Finding | None, *, at: datetime, confirm: int) -> None:
    """Begin, continue or end the one episode of a document: an alert that Quell raises about itself."""
    with res.store.writing() as tx:
        episode = open_episodes(tx, document).get(document)
        if trouble is not None:
            after = begin_or_continue(episode, trouble)
        else:
            after = rest(episode, now=at, confirm_sweeps=confirm) if episode else None
        _keep(tx, document, {document: after} if after else {}, at)
    _deliver(res, document, at, confirm)


def _failing(errors: Mapping[str, str], at: datetime) -> Finding:
    name, error = next(iter(errors.items()))
    return Finding(
        key=FAILING,
        labels={ALERTNAME: SWEEP_FAILING, SERVICE: "quell", SEVERITY: Severity.MAJOR},
        annotations={
            "summary": f"the sweep cannot judge {len(errors)} signals: {error}",
            "reason": error,
            "signals": ", ".join(errors) or name,
        },
        since=at,
    )


def open_episodes(tx: Transaction, document: str) -> dict[str, Episode]:
    """The episodes that are not over, or whose end the inbox has not taken."""
    found = tx.documents.get(document)
    return from_body(found.body["episodes"]) if found else {}


def _keep(tx: Transaction, document: str, episodes: Mapping[str, Episode], at: datetime) -> None:
    body = {"episodes": to_body(episodes)}
    tx.documents.put(Document(id=document, kind=EPISODES_KIND, updated_at=at, body=body))


def _deliver(res: Resources, document: str, at: datetime, confirm: int) -> None:
    """Give the inbox what it has not taken; only then call it delivered, so that a crash between repeats harmlessly."""
    with res.store.reading() as tx:
        episodes = open_episodes(tx, document)
    due = letters(episodes.values(), now=res.clock(), confirm_sweeps=confirm)
    if not due:
        return
    res.store.receive(due)
    with res.store.writing() as tx:
        _keep(tx, document, _delivered(open_episodes(tx, document).values(), confirm), at)


def _delivered(episodes: Iterable[Episode], confirm: int) -> dict[str, Episode]:
    return {e.key: e.as_delivered() if e.troubled >= confirm else e for e in episodes if not e.is_over}
