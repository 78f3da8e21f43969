"""Pictures of NAB files: `python -m benchmarks.nab_pictures --data DIR --out FOLDER KEY...` writes one SVG per file.

The value, where each labelled window begins and ends, and where the detector flags a row at the recommended threshold.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.report import data_parser
from benchmarks.scored_files import nab_keys
from quell.adapters.metrics.history_file import read_history
from quell.detection.scoring import RECOMMENDED, score_series
from quell.incidents.chart import signal_chart
from quell.incidents.series import FloatArray

COLUMNS = 700  # of the picture; each shows its smallest and its largest value
MOST_FLAGS = 12


def main() -> None:
    parser = data_parser(__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("keys", nargs="+", metavar="KEY", help="as in the windows file: realTraffic/speed_7578.csv")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    windows = nab_keys(arguments.data)
    for key in arguments.keys:
        text = picture(arguments.data / "data" / key, windows[key])
        (arguments.out / f"{Path(key).stem}.svg").write_text(text, encoding="utf-8")


def picture(path: Path, windows: tuple[tuple[float, float], ...]) -> str:
    history = read_history(path)
    score = score_series(history.timestamps, history.values).score
    flagged = np.flatnonzero(score >= RECOMMENDED)
    shown = np.sort(flagged[np.argsort(-score[flagged])][:MOST_FLAGS])
    events = [(_moment(begin), f"[{number}") for number, (begin, _) in enumerate(windows, start=1)]
    events += [(_moment(end), f"{number}]") for number, (_, end) in enumerate(windows, start=1)]
    events += [(_moment(history.timestamps[row]), "!") for row in shown]
    rows = thinned(history.values)
    rising = rows[np.diff(history.timestamps[rows], prepend=-np.inf) > 0]
    return signal_chart(
        title=f"{path.stem}: [n n] a labelled window, ! flagged ({len(flagged)} rows)",
        unit="",
        timestamps=history.timestamps[rising],
        values=history.values[rising],
        lower=None,
        upper=None,
        events=sorted(events),
    )


def thinned(values: FloatArray) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Rows of the smallest and the largest value of each column of the picture."""
    parts = np.array_split(np.arange(len(values)), min(COLUMNS, len(values)))
    ends = [(int(part[np.argmin(values[part])]), int(part[np.argmax(values[part])])) for part in parts]
    return np.unique(np.array(ends, dtype=np.int64))


def _moment(second: float) -> datetime:
    return datetime.fromtimestamp(float(second), UTC)


if __name__ == "__main__":
    main()
