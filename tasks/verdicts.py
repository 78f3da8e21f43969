"""Verdicts in the store: of each signal one table of columns, and a record for each series that is in trouble.

A record is written while its series is not normal, and once more when it is again, so that every record tells the
latest that is known of a series that was ever in trouble. The many that never are cost no record.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from quell.detection.columns import BoolArray
from quell.detection.judged import KINDS, Judged
from quell.detection.verdict_table import decode_table, encode_labels, encode_table, labels_digest, labels_id, table_id
from quell.incidents.signal import Signal
from quell.incidents.verdict import Verdict, VerdictKind
from quell.ports import Document, Transaction
from tasks.resources import Resources

TABLE, LABELS = "verdicts", "verdict-labels"
WRITTEN_AT_ONCE = 5_000  # the store admits one writer: others get their turn in between
_TROUBLE = tuple(kind for kind in KINDS if kind.is_trouble)
_NOT_NORMAL = tuple(kind for kind in KINDS if kind is not VerdictKind.NORMAL)


def keep_verdicts(res: Resources, judged: Judged, signal: Signal) -> dict[int, Verdict]:
    """Store what one sweep says of a signal's series: the records first, so that the table never promises more.

    Returns the records by the place of their series: every one in trouble is among them.
    """
    with res.store.reading() as tx:
        troubled = [verdict.id for verdict in tx.verdicts.find({"signal": signal.name, "kind": _NOT_NORMAL})]
        labels = tx.documents.get(labels_id(signal.name))
    places: list[int] = np.flatnonzero(_needs_record(judged, troubled)).tolist()
    records = {place: judged.verdict(place) for place in places}
    keep_records(res, list(records.values()))
    body, blob = encode_table(judged, signal.unit)
    with res.store.writing() as tx:
        if labels is None or labels.body["labels"] != labels_digest(judged):
            tx.documents.put(_labels_document(judged))
        tx.documents.put(Document(id=table_id(signal.name), kind=TABLE, updated_at=judged.at, body=body, blob=blob))
    return records


def keep_records(res: Resources, verdicts: Sequence[Verdict]) -> None:
    """Store verdicts as records, whatever they say."""
    for start in range(0, len(verdicts), WRITTEN_AT_ONCE):
        with res.store.writing() as tx:
            tx.verdicts.put_all(verdicts[start : start + WRITTEN_AT_ONCE])


def latest_verdicts(tx: Transaction, signal: str) -> list[Verdict]:
    """What the last sweep said of each series of a signal; empty before the first one."""
    table, labels = tx.documents.get(table_id(signal)), tx.documents.get(labels_id(signal))
    if table is None or labels is None:
        return []
    judged = decode_table(table.body, table.blob, labels.blob)
    records = {verdict.id: verdict for verdict in tx.verdicts.find({"signal": signal, "at": judged.at})}
    return [records.get(judged.id(place)) or judged.verdict(place) for place in range(len(judged))]


def _needs_record(judged: Judged, troubled: Iterable[str]) -> BoolArray:
    """The series in trouble, and those whose record says that they are not normal."""
    needs = judged.has_kind(_TROUBLE)
    prefix = f"{judged.signal}:"
    ends = [id.removeprefix(prefix) for id in troubled]
    known = [int(end, 16) for end in ends if ":" not in end]  # an error budget's verdict has a part more
    return needs | np.isin(judged.prints, np.array(known, dtype=np.uint64)) if known else needs


def _labels_document(judged: Judged) -> Document:
    return Document(
        id=labels_id(judged.signal),
        kind=LABELS,
        updated_at=judged.at,
        body={"labels": labels_digest(judged)},
        blob=encode_labels(judged.labels),
    )
