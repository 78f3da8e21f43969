"""What the customers saw in the last seconds, for `GET /load`."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

_KEPT_SECONDS = 120


class LoadReport:
    """The load generator's one-second windows of the last two minutes."""

    def __init__(self) -> None:
        self._windows: deque[Mapping[str, Any]] = deque(maxlen=_KEPT_SECONDS)

    def add(self, window: Mapping[str, Any]) -> None:
        self._windows.append(window)

    def __len__(self) -> int:
        return len(self._windows)

    def summarise(self, seconds: int, now: float) -> dict[str, Any]:
        """Per client and in total over the last whole `seconds`: counts, shares (0..1) and latencies in ms."""
        windows = [w for w in self._windows if w["at"] > now - seconds - 0.5][-seconds:]
        names = sorted({client for window in windows for client in window["clients"]})
        parts = {name: [w["clients"][name] for w in windows if name in w["clients"]] for name in names}
        return {
            "seconds": len(windows),
            "total": _sum((part for of_client in parts.values() for part in of_client), len(windows)),
            "clients": {name: _sum(of_client, len(windows)) for name, of_client in parts.items()},
        }

    def series(self, seconds: int) -> list[dict[str, Any]]:
        """One total per second, oldest first, for a chart."""
        return [{"at": w["at"], **_sum(w["clients"].values(), 1)} for w in list(self._windows)[-seconds:]]


def _sum(parts: Iterable[Mapping[str, Any]], seconds: int) -> dict[str, Any]:
    parts = list(parts)
    counts = {name: sum(part[name] for part in parts) for name in ("sent", "ok", "denied", "errors")}
    latencies = sorted(value for part in parts for value in part["latencies_ms"])
    served = counts["ok"] + counts["errors"]
    return {
        "requests": served + counts["denied"],
        **counts,
        "rate": round(counts["sent"] / seconds, 2) if seconds else 0.0,
        "error_ratio": round(counts["errors"] / served, 4) if served else None,
        "p50_ms": _quantile(latencies, 0.5),
        "p99_ms": _quantile(latencies, 0.99),
        "max_ms": latencies[-1] if latencies else None,
    }


def _quantile(ordered: list[float], q: float) -> float | None:
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)] if ordered else None
