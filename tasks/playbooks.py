"""The playbooks with their records: how often each was used, whether it helped, and what it may do by itself."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from quell.incidents.errors import InvalidInput
from quell.incidents.mitigation import Mitigation, MitigationState, Recovery
from quell.response.autonomy import Standing, has_failed, standing_of
from quell.response.playbook import Playbook
from tasks.resources import Resources

_UNTOUCHED = (MitigationState.REFUSED, MitigationState.EXPIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybookRecord:
    """One playbook and one kind of alert that it answered; `answers` is empty where a person asked, or nothing yet."""

    playbook: str
    answers: str
    standing: Standing
    uses: int = 0
    effective: int = 0
    failed: int = 0
    last_used_at: datetime | None = None


def playbook_records(res: Resources) -> list[PlaybookRecord]:
    """Every configured playbook, for each kind of alert that it answered."""
    with res.store.reading() as tx:
        past = tx.mitigations.find(order="created_at", descending=True)
    records: list[PlaybookRecord] = []
    for book in res.config.playbooks.values():
        own = [m for m in past if m.playbook == book.name]
        kinds = sorted({m.answers for m in own} - {""}) or [""]
        records += [_record(res, book, kind, [m for m in own if m.answers == kind]) for kind in kinds]
    return records


def get_playbook(res: Resources, name: str) -> Playbook:
    """Raises InvalidInput, naming the nearest."""
    found = res.config.playbooks.get(name)
    if found is None:
        near = difflib.get_close_matches(name, res.config.playbooks, n=1, cutoff=0.0)
        raise InvalidInput(f"playbook {name!r} is not configured; did you mean {near[0] if near else 'none'!r}?")
    return found


def _record(res: Resources, book: Playbook, answers: str, past: Sequence[Mitigation]) -> PlaybookRecord:
    used = [m for m in past if m.state not in _UNTOUCHED]
    return PlaybookRecord(
        playbook=book.name,
        answers=answers,
        standing=standing_of(book.autonomy, res.config.environment, past),
        uses=len(used),
        effective=sum(m.recovery is Recovery.EFFECTIVE for m in used),
        failed=sum(has_failed(m) for m in used),
        last_used_at=used[0].created_at if used else None,
    )
