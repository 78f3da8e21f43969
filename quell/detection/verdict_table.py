"""All verdicts of a signal's last sweep as one stored value: a JSON body that a person can read, and columns in a blob.

Series in trouble have a record of their own besides, with their sentence; the sentence of a normal one is made of its
numbers again, and those that warm up share a few.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from quell.detection.judged import Judged
from quell.detection.words import describe_value
from quell.incidents.errors import InvalidInput
from quell.incidents.labels import Labels
from quell.incidents.verdict import VerdictKind

FORMAT = 1
_COLUMNS: tuple[tuple[str, str], ...] = (
    ("prints", "<u8"),
    ("value", "<f8"),
    ("expected", "<f8"),
    ("lower", "<f8"),
    ("upper", "<f8"),
    ("score", "<f8"),
    ("since", "<f8"),
    ("samples", "<i4"),
    ("sentence", "<i4"),
    ("kind", "<u1"),
    ("known", "<u1"),
)


def table_id(signal: str) -> str:
    """The id of the document that holds the last verdicts on a signal's series."""
    return f"verdicts:{signal}"


def labels_id(signal: str) -> str:
    """The id of the document that holds the labels of those series; it changes only when they do."""
    return f"verdicts:{signal}:labels"


def encode_table(judged: Judged, unit: str) -> tuple[dict[str, Any], bytes]:
    """Body and blob; `decode_table` gives the same verdicts back, except the sentences of those in trouble."""
    sentences, sentence = _sentences(judged)
    arrays: dict[str, Any] = {name: getattr(judged, name) for name, _ in _COLUMNS if name != "sentence"}
    arrays["sentence"] = sentence
    blob = b"".join(np.ascontiguousarray(arrays[name], dtype=kind).tobytes() for name, kind in _COLUMNS)
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
    }
    return body, blob


def labels_digest(judged: Judged) -> str:
    """What identifies the labels and their order."""
    return blake2b(judged.prints.tobytes(), digest_size=12).hexdigest()


def encode_labels(labels: tuple[Labels, ...]) -> bytes:
    return msgspec.json.encode(labels)


def decode_table(body: Mapping[str, Any], blob: bytes, labels: bytes) -> Judged:
    """Raises InvalidInput where the format is one this version does not know."""
    if body.get("format") != FORMAT:
        raise InvalidInput(
            f"verdicts of {body.get('signal')} have format {body.get('format')}, this version reads {FORMAT}: "
            "the next sweep writes them anew"
        )
    arrays: dict[str, Any] = {}
    offset, count = 0, int(body["series"])
    for name, kind in _COLUMNS:
        arrays[name] = np.frombuffer(blob, dtype=kind, count=count, offset=offset)
        offset += arrays[name].nbytes
    arrays |= {"kind": arrays["kind"].astype(np.int64), "known": arrays["known"].astype(np.bool_)}
    sentences, sentence, unit = list[str](body["sentences"]), arrays.pop("sentence"), str(body["unit"])

    def why(place: int) -> str:
        if sentence[place] >= 0:
            return sentences[int(sentence[place])]
        value, expected, lower, upper = (float(arrays[name][place]) for name in ("value", "expected", "lower", "upper"))
        return describe_value(value, expected, lower, upper, unit)

    return Judged(
        signal=body["signal"],
        at=datetime.fromisoformat(body["at"]),
        baseline=body["baseline"],
        labels=tuple(msgspec.json.decode(labels, type=list[dict[str, str]])),
        why=why,
        **arrays,
    )


def _sentences(judged: Judged) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct sentences of series that warm up, and each series' place among them; -1: made of its numbers."""
    place_of: dict[str, int] = {}
    sentence = np.full(len(judged), -1, dtype=np.int64)
    for place in judged.places((VerdictKind.WARMING_UP,)):
        sentence[place] = place_of.setdefault(judged.why(place), len(place_of))
    return list(place_of), sentence
