"""A baseline as it is stored: a JSON body that a person can read, and a blob with the arrays."""

from collections.abc import Mapping
from datetime import datetime
from io import BytesIO
from typing import Any

import numpy as np

from quell.detection.baseline import Baseline
from quell.detection.season import SEASONS
from quell.incidents.errors import InvalidInput

FORMAT = 1
_ARRAYS = (
    "level",
    "season",
    "margin_up",
    "margin_down",
    "extreme_up",
    "extreme_down",
    "samples",
    "presence",
    "zero_share",
)


def baseline_id(signal: str) -> str:
    """The id of the document that holds a signal's baseline."""
    return f"baseline:{signal}"


def encode(baseline: Baseline) -> tuple[dict[str, Any], bytes]:
    """Body and blob of the document; `decode` gives the same baseline back."""
    body = {
        "format": FORMAT,
        "version": baseline.version,
        "signal": baseline.signal,
        "fitted_at": baseline.fitted_at.isoformat(),
        "minimum_samples": baseline.minimum_samples,
        "false_alarms_per_week": baseline.false_alarms_per_week,
        "series": [dict(labels) for labels in baseline.labels],
    }
    arrays: dict[str, Any] = {name: getattr(baseline, name) for name in _ARRAYS}
    profiles: dict[str, Any] = {f"profile_{s.name}": p for s, p in zip(SEASONS, baseline.profiles, strict=True)}
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays, **profiles)
    return body, buffer.getvalue()


def decode(body: Mapping[str, Any], blob: bytes) -> Baseline:
    """Raises InvalidInput where the format is one this version does not know."""
    if body.get("format") != FORMAT:
        raise InvalidInput(
            f"baseline of {body.get('signal')} has format {body.get('format')}, this version reads {FORMAT}: refresh it"
        )
    with np.load(BytesIO(blob), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in _ARRAYS}
        profiles = tuple(stored[f"profile_{season.name}"] for season in SEASONS)
    return Baseline(
        version=body["version"],
        signal=body["signal"],
        fitted_at=datetime.fromisoformat(body["fitted_at"]),
        minimum_samples=body["minimum_samples"],
        false_alarms_per_week=body["false_alarms_per_week"],
        labels=tuple(body["series"]),
        profiles=profiles,
        **arrays,
    )
