"""A baseline as it is stored: a small JSON body that a person can read, and a blob with labels and arrays.

They lie in two documents, so that whoever has the baseline already reads only the small one, and sees by its digest
that nothing changed.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from quell.detection.baseline import Baseline
from quell.detection.fleet import Fleet
from quell.detection.memory import KEPT
from quell.detection.packed import digest, pack, unpack
from quell.incidents.errors import InvalidInput

FORMAT = 3
_ARRAYS = ("fingerprints", "samples", "presence", "zero_share")
_FLEET_ARRAYS = ("memory", "outlook")


def baseline_id(signal: str) -> str:
    """The id of the document that says which baseline a signal has."""
    return f"baseline:{signal}"


def arrays_id(signal: str) -> str:
    """The id of the document that holds that baseline's labels and arrays."""
    return f"baseline:{signal}:arrays"


def encode(baseline: Baseline) -> tuple[dict[str, Any], bytes]:
    """Body and blob of the documents; `decode` gives the same baseline back."""
    labels = np.frombuffer(msgspec.json.encode([dict(one) for one in baseline.labels]), dtype=np.uint8)
    arrays: dict[str, Any] = {name: getattr(baseline, name) for name in _ARRAYS}
    fleet: dict[str, Any] = {name: getattr(baseline.fleet, name) for name in _FLEET_ARRAYS}
    index, blob = pack(arrays | fleet | {"labels": labels})
    body = {
        "format": FORMAT,
        "version": baseline.version,
        "signal": baseline.signal,
        "fitted_at": baseline.fitted_at.isoformat(),
        "minimum_samples": baseline.minimum_samples,
        "false_alarms_per_week": baseline.false_alarms_per_week,
        "step_seconds": baseline.step_seconds,
        "first": baseline.first,
        "fleet": {name: getattr(baseline.fleet, name) for name in ("period", "room", "fitted", "slot")},
        "series": len(baseline.labels),
        "arrays": index,
        "digest": digest(blob),
    }
    return body, blob


def decode(body: Mapping[str, Any], blob: bytes) -> Baseline:
    """Raises InvalidInput where the format is one this version does not know."""
    check_format(body)
    arrays = unpack(body["arrays"], blob)
    # Copied, because machine code is made anew for arrays that cannot be written to.
    fleet = Fleet(**{name: arrays.pop(name).copy() for name in _FLEET_ARRAYS}, **body["fleet"])
    labels = msgspec.json.decode(arrays.pop("labels").data, type=list[dict[str, str]])
    if fleet.memory.shape[1:] != (KEPT,):
        raise InvalidInput(
            f"baseline {body['version']} keeps {fleet.memory.shape[1]} numbers of each series, this version {KEPT}: "
            "refresh it"
        )
    return Baseline(
        version=body["version"],
        signal=body["signal"],
        fitted_at=datetime.fromisoformat(body["fitted_at"]),
        minimum_samples=body["minimum_samples"],
        false_alarms_per_week=body["false_alarms_per_week"],
        labels=tuple(labels),
        step_seconds=body["step_seconds"],
        first=body["first"],
        fleet=fleet,
        **arrays,
    )


def check_format(body: Mapping[str, Any]) -> None:
    """Raises InvalidInput where the format is one this version does not know."""
    if body.get("format") != FORMAT:
        raise InvalidInput(
            f"baseline of {body.get('signal')} has format {body.get('format')}, this version reads {FORMAT}: refresh it"
        )
