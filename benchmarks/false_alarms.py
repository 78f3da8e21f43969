"""False alarms of Quell's own verdicts: how often per series and week, and what share of the real ones is caught.

Verdicts at the recommended threshold, found without labels. An episode is an unbroken run of anomalous rows outside the
labelled segments; a segment is caught when one of its first 8 rows is anomalous. DIR is that of the benchmark `kpi`.
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.delay_score import DELAY, LabelledSeries, score_at
from benchmarks.report import data_parser, print_json, print_table
from benchmarks.scored_files import score_labelled
from quell.detection.scoring import RECOMMENDED


def main() -> None:
    arguments = data_parser(__doc__).parse_args()
    series, _ = score_labelled(arguments.data)
    each = [(one.name, *_of_one(one)) for one in series]
    whole = score_at(series, RECOMMENDED)
    rates = np.array([rate for _, rate, _, _ in each])
    figures: dict[str, Any] = {
        "series": len(series),
        "series_weeks": sum(one.weeks for one in series),
        "false_episodes_per_series_week": whole.false_episodes_per_series_week,
        "median_of_series": float(np.median(rates)),
        "worst_series": float(rates.max()),
        "segments_caught_share": whole.segments_hit / whole.segments if whole.segments else None,
        "at_0.5": asdict(whole),
        "per_series": {name: {"per_week": rate, "caught": hit, "segments": count} for name, rate, hit, count in each},
    }
    if arguments.json:
        print_json(figures)
        return
    rows = [(name, figures[name]) for name in figures if name not in ("at_0.5", "per_series")]
    print_table(f"Verdicts at {RECOMMENDED}, caught within {DELAY} rows", ("figure", "value"), rows)
    worst = sorted(each, key=lambda one: -one[1])[:10]
    print_table("Series with most false alarms", ("series", "episodes/week", "caught", "segments"), worst)


def _of_one(series: LabelledSeries) -> tuple[float, int, int]:
    """False episodes per week, segments caught, segments."""
    found = score_at([series], RECOMMENDED)
    return found.false_episodes_per_series_week or 0.0, found.segments_hit, found.segments


if __name__ == "__main__":
    main()
