"""The weekly report as rows for CSV and Parquet: one row for each figure."""

from collections.abc import Iterator, Mapping

from quell.prevention.weekly.section import WeeklyReport

COLUMNS = (
    "week",
    "section",
    "figure",
    "name",
    "unit",
    "value",
    "n",
    "median",
    "p90",
    "value_before",
    "n_before",
    "waiting",
    "records",
    "incidents",
    "flow_runs",
)
LISTS = ("records", "incidents", "flow_runs")


def export_rows(report: WeeklyReport) -> Iterator[Mapping[str, object]]:
    """Missing numbers are None. Lists name each id once, in their order."""
    for section, figure in report.figures:
        yield {
            "week": report.week.name,
            "section": section.key,
            "figure": figure.key,
            "name": figure.name,
            "unit": str(figure.unit),
            "value": figure.value,
            "n": figure.n,
            "median": figure.median,
            "p90": figure.p90,
            "value_before": figure.before,
            "n_before": figure.n_before,
            "waiting": figure.waiting,
            "records": [one.id for one in figure.behind],
            "incidents": list(dict.fromkeys(one.incident for one in figure.behind if one.incident)),
            "flow_runs": list(dict.fromkeys(run for one in figure.behind for run in one.runs)),
        }
