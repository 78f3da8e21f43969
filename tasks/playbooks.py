"""The playbooks with their records: how often each was used, whether it helped, and what it may do by itself."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quell.incidents.errors import InvalidInput
from quell.incidents.mitigation import Mitigation
from quell.incidents.outcome import Outcomes, by_playbook, count_outcomes
from quell.ports import Transaction
from quell.response.autonomy import Standing, standing_of
from quell.response.cost import cost_document, read_cost
from quell.response.playbook import Playbook
from tasks.doubts import MOST_PAST
from tasks.resources import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybookRecord:
    """One playbook and one kind of alert that it answered; `answers` is empty where a person asked, or nothing yet."""

    playbook: str
    answers: str
    standing: Standing
    outcomes: Outcomes


def playbook_records(res: Resources) -> list[PlaybookRecord]:
    """Every configured playbook, for each kind of alert that it answered, over its last mitigations (`MOST_PAST`)."""
    records: list[PlaybookRecord] = []
    with res.store.reading() as tx:
        for book in res.config.playbooks.values():
            where = {"playbook": book.name}
            past = tx.mitigations.find(where, order="created_at", descending=True, limit=MOST_PAST)
            refused = wrongly_refused(tx, past)
            kinds = {kind: own for (_, kind), own in by_playbook(past).items()}
            shown = [kind for kind in kinds if kind] or [""]
            records += [_record(res, book, kind, kinds.get(kind, ()), refused) for kind in shown]
    return records


def wrongly_refused(tx: Transaction, mitigations: Iterable[Mitigation]) -> Mapping[str, int]:
    """Safeguard -> how many requests of clients within their everyday use it refused, where that was measured."""
    ids = {cost_document(mitigation.id): mitigation.id for mitigation in mitigations}
    found = tx.documents.find({"id": tuple(ids)}) if ids else []
    return {ids[document.id]: read_cost(document.body).wrong for document in found}


def get_playbook(res: Resources, name: str) -> Playbook:
    """Raises InvalidInput, naming the nearest."""
    found = res.config.playbooks.get(name)
    if found is None:
        near = difflib.get_close_matches(name, res.config.playbooks, n=1, cutoff=0.0)
        raise InvalidInput(f"playbook {name!r} is not configured; did you mean {near[0] if near else 'none'!r}?")
    return found


def _record(
    res: Resources, book: Playbook, answers: str, past: tuple[Mitigation, ...], refused: Mapping[str, int]
) -> PlaybookRecord:
    return PlaybookRecord(
        playbook=book.name,
        answers=answers,
        standing=standing_of(book.autonomy, res.config.environment, past),
        outcomes=count_outcomes(past, res.clock(), refused),
    )
