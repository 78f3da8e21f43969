"""The page that `quell score --plot` writes: value, band, score and anomalies of one series, to zoom into.

plotly.js is put beside the pages once, from the plotly package; nothing is fetched. The page holds every row and draws
what fits the screen: the smallest and largest value of each pixel column, so that a million rows stay quick and no
spike is lost.
"""

import base64
import json
from datetime import UTC, datetime
from html import escape
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile
from string import Template
from typing import Any

import numpy as np

from deployments.cli.scored_series import ScoredSeries
from quell.detection.scoring import RECOMMENDED, VERDICTS, VIEWS
from quell.incidents.errors import Unavailable
from quell.incidents.series import FloatArray

LIBRARY = "plotly.min.js"
MOST_LISTED = 300
MOST_DECADES = 6
_HERE = Path(__file__).parent


def put_library(folder: Path) -> None:
    """plotly.js beside the pages, copied without importing plotly, which takes longer than the work."""
    found = find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise Unavailable("pages need plotly.js from the package plotly: run make setup")
    copyfile(Path(found.submodule_search_locations[0]) / "package_data" / LIBRARY, folder / LIBRARY)


def page(series: ScoredSeries) -> str:
    """One HTML page; it needs `plotly.min.js` beside it."""
    data = json.dumps(_data(series), separators=(",", ":"))
    return Template((_HERE / "score_plot.html").read_text(encoding="utf-8")).substitute(
        title=escape(series.name),
        library=LIBRARY,
        facts=escape(_facts(series)),
        # JSON inside a script element: only "</" could end it early.
        data=data.replace("</", "<\\/"),
        script=(_HERE / "score_plot.js").read_text(encoding="utf-8"),
    )


def _facts(series: ScoredSeries) -> str:
    count, rows = len(_episodes(series)), len(series.values)
    span = f"{_moment(series.timestamps.min())} – {_moment(series.timestamps.max())} UTC"
    anomalies = "1 anomaly" if count == 1 else f"{count:,} anomalies" if count else "no anomaly"
    return f"{rows:,} rows, {span}, {anomalies}"


def _data(series: ScoredSeries) -> dict[str, Any]:
    scores = series.scores
    return {
        "time": _packed(series.timestamps * 1000.0, "<f8"),
        "value": _packed(series.values, "<f8"),
        "expected": _packed(scores.expected, "<f4"),
        "lower": _packed(scores.lower, "<f4"),
        "upper": _packed(scores.upper, "<f4"),
        "score": _packed(series.score, "<f4"),
        "trouble": _packed(series.is_trouble, "u1"),
        "threshold": RECOMMENDED,
        "episodes": [_episode(series, start, end) for start, end in _listed(series)],
        "count": len(_episodes(series)),
    }


def _episodes(series: ScoredSeries) -> list[tuple[int, int]]:
    """First row and the row after the last of each unbroken run of anomalous rows."""
    edges = np.flatnonzero(np.diff(series.is_trouble.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _listed(series: ScoredSeries) -> list[tuple[int, int]]:
    """The rarest ones, in the order of time."""
    rarest = sorted(_episodes(series), key=lambda run: -series.score[run[0] : run[1]].max())
    return sorted(rarest[:MOST_LISTED])


def _episode(series: ScoredSeries, start: int, end: int) -> dict[str, Any]:
    scores, peak = series.scores, start + int(np.argmax(series.score[start:end]))
    return {
        "first": start,
        "last": end - 1,
        "peak": peak,
        "from": _moment(series.timestamps[start]),
        "rows": end - start,
        "verdict": VERDICTS[scores.verdict[peak]].value.replace("_", " "),
        "view": VIEWS[scores.view[peak]],
        "value": _number(series.values[peak]),
        "expected": _number(scores.expected[peak]),
        "lower": _number(scores.lower[peak]),
        "upper": _number(scores.upper[peak]),
        "score": round(float(series.score[peak]), 3),
        "rarity": _rarity(float(scores.decades[peak])),
    }


def _rarity(decades: float) -> str:
    """One significant digit is all that an estimate of rarity is worth, and nothing beyond a million."""
    if decades > MOST_DECADES:
        return f"< 1 in {10**MOST_DECADES:,}"
    return f"1 in {float(f'{10.0 ** max(decades, 0.0):.1g}'):,.0f}"


def _packed(values: Any, form: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=form).tobytes()).decode("ascii")


def _number(value: float) -> str | None:
    return f"{value:.5g}" if np.isfinite(value) else None


def _moment(second: float | FloatArray) -> str:
    return datetime.fromtimestamp(float(second), UTC).strftime("%Y-%m-%d %H:%M:%S")
