"""All verdicts of a signal's last sweep as one stored value: a JSON body that a person can read, and columns in a blob.

Series in trouble have a record of their own besides, with their sentence; the sentence of a normal one is made of its
numbers again, and those that warm up share a few.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from quell.detection.judged import Judged
from quell.detection.packed import digest, pack, unpack
from quell.detection.words import describe_value
from quell.incidents.errors import InvalidInput
from quell.incidents.labels import Labels
from quell.incidents.verdict import VerdictKind

FORMAT = 1
_COLUMNS = ("prints", "known", "value", "expected", "lower", "upper", "score", "since")


def table_id(signal: str) -> str:
    """The id of the document that holds the last verdicts on a signal's series."""
    return f"verdicts:{signal}"


def labels_id(signal: str) -> str:
    """The id of the document that holds the labels of those series; it changes only when they do."""
    return f"verdicts:{signal}:labels"


def encode_table(judged: Judged, unit: str) -> tuple[dict[str, Any], bytes]:
    """Body and blob; `decode_table` gives the same verdicts back, except the sentences of those in trouble."""
    sentences, sentence = _sentences(judged)
    small = {"samples": judged.samples.astype(np.int32), "kind": judged.kind.astype(np.uint8), "sentence": sentence}
    index, blob = pack({name: getattr(judged, name) for name in _COLUMNS} | small)
    body = {
        "format": FORMAT,
        "signal": judged.signal,
        "at": judged.at.isoformat(),
        "baseline": judged.baseline,
        "unit": unit,
        "series": len(judged),
        "kinds": judged.counts(),
        "labels": labels_digest(judged),
        "sentences": sentences,
        "columns": index,
    }
    return body, blob


def labels_digest(judged: Judged) -> str:
    """What identifies the labels and their order."""
    return digest(judged.prints.tobytes())


def encode_labels(labels: tuple[Labels, ...]) -> bytes:
    return msgspec.json.encode(labels)


def decode_table(body: Mapping[str, Any], blob: bytes, labels: bytes) -> Judged:
    """Raises InvalidInput where the format is one this version does not know."""
    if body.get("format") != FORMAT:
        raise InvalidInput(
            f"verdicts of {body.get('signal')} have format {body.get('format')}, this version reads {FORMAT}: "
            "the next sweep writes them anew"
        )
    columns = unpack(body["columns"], blob)
    sentences, sentence, unit = list[str](body["sentences"]), columns.pop("sentence"), str(body["unit"])

    def why(place: int) -> str:
        if sentence[place] >= 0:
            return sentences[int(sentence[place])]
        value, expected, lower, upper = _numbers(columns, place)
        return describe_value(value, expected, lower, upper, unit=unit)

    return Judged(
        signal=body["signal"],
        at=datetime.fromisoformat(body["at"]),
        baseline=body["baseline"],
        labels=tuple(msgspec.json.decode(labels, type=list[dict[str, str]])),
        why=why,
        **(columns | {name: columns[name].astype(np.int64) for name in ("kind", "samples")}),
    )


def _numbers(columns: Mapping[str, Any], place: int) -> tuple[float, float, float, float]:
    return (
        float(columns["value"][place]),
        float(columns["expected"][place]),
        float(columns["lower"][place]),
        float(columns["upper"][place]),
    )


def _sentences(judged: Judged) -> tuple[list[str], NDArray[np.int32]]:
    """The distinct sentences of series that warm up, and each series' place among them; -1: made of its numbers."""
    place_of: dict[str, int] = {}
    sentence = np.full(len(judged), -1, dtype=np.int32)
    for place in judged.places((VerdictKind.WARMING_UP,)):
        sentence[place] = place_of.setdefault(judged.why(place), len(place_of))
    return list(place_of), sentence
