"""Quell's detector on all 58 files of the Numenta Anomaly Benchmark, one configuration, causal.

All three profiles: at the threshold that is best for the profile (as published figures are) and at 0.5, the
recommended one. DIR holds data/ and labels/.
"""

from dataclasses import asdict
from typing import Any

from benchmarks.nab_score import PROFILES, lost_by_file, rank
from benchmarks.report import data_parser, print_json, print_table
from benchmarks.scored_files import score_nab
from quell.detection.scoring import RECOMMENDED

# Standard, low FP, low FN, at the best threshold; from the benchmark's own results and the detectors' authors.
PUBLISHED = {
    "ARTime": (74.9, 65.2, 80.4),
    "Numenta HTM": (70.1, 63.1, 74.3),
    "CAD OSE": (69.9, 67.0, 73.2),
    "NumentaTM": (64.6, 56.7, 69.2),
    "earthgecko Skyline": (58.2, 46.2, 63.8),
    "KNN-CAD": (58.0, 43.4, 64.8),
    "Relative Entropy": (54.6, 47.6, 58.8),
    "Random Cut Forest": (51.7, 38.4, 59.7),
    "Twitter ADVec": (47.1, 33.6, 53.5),
    "Windowed Gaussian": (39.6, 20.9, 47.4),
    "Etsy Skyline": (35.7, 27.1, 44.5),
}


def main() -> None:
    parser = data_parser(__doc__)
    parser.add_argument("--worst", type=int, default=10, metavar="N", help="files to list, those that lose most")
    arguments = parser.parse_args()
    files, speed = score_nab(arguments.data)
    ranking = rank(files)
    best = {name: ranking.score(profile) for name, profile in PROFILES.items()}
    fixed = {name: ranking.score(profile, RECOMMENDED) for name, profile in PROFILES.items()}
    worst = lost_by_file(files, best["standard"].threshold or float("inf"))[: arguments.worst]
    if arguments.json:
        print_json(_figures(len(files), ranking.windows, best, fixed, worst, speed))
        return
    rows = [("Quell, best threshold", *(one.score for one in best.values()))]
    rows += [("Quell, at 0.5", *(one.score for one in fixed.values()))]
    rows += [(f"{name} (published)", *scores) for name, scores in PUBLISHED.items()]
    print_table(
        f"NAB, {len(files)} files, {ranking.windows} windows", ("detector", "standard", "low FP", "low FN"), rows
    )
    detail = [
        (f"{where}, {name}", one.threshold, one.windows_hit, one.rows_inside, one.rows_outside)
        for where, found in (("best", best), ("at 0.5", fixed))
        for name, one in found.items()
    ]
    print_table("Flags", ("profile", "threshold", "windows caught", "rows inside", "rows outside"), detail)
    print_table("Files that lose most", ("file", "points lost", "windows", "caught", "false rows"), worst)
    print(f"{speed:,.0f} rows per second and core")


def _figures(files: int, windows: int, best: Any, fixed: Any, worst: Any, speed: float) -> dict[str, Any]:
    return {
        "files": files,
        "windows": windows,
        "best": {name: asdict(one) for name, one in best.items()},
        "at_0.5": {name: asdict(one) for name, one in fixed.items()},
        "published": {name: dict(zip(PROFILES, scores, strict=True)) for name, scores in PUBLISHED.items()},
        "worst": [
            dict(zip(("file", "points_lost", "windows", "caught", "false_rows"), one, strict=True)) for one in worst
        ],
        "rows_per_second": speed,
    }


if __name__ == "__main__":
    main()
