"""Series from CSV and Parquet: what is read, and how a mistake in a file is named."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quell.adapters.metrics.files import FileSource, read_series, read_wide
from quell.incidents.errors import InvalidInput, NotFound

pytestmark = pytest.mark.integration

START = datetime(2026, 11, 1, tzinfo=UTC)


def write(folder: Path, text: str, name: str = "series.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "moments",
    [
        ("2026-11-01 00:00:00", "2026-11-01 00:05:00"),
        ("2026-11-01T00:00:00Z", "2026-11-01T00:05:00Z"),
        ("2026-11-01T01:00:00+01:00", "2026-11-01T01:05:00.000+01:00"),
        ("1793491200", "1793491500"),
        ("1793491200000", "1793491500000"),
    ],
)
def test_times_may_be_written_in_any_common_way(tmp_path: Path, moments: tuple[str, str]) -> None:
    path = write(tmp_path, f"timestamp,value,label\n{moments[0]},1.5,0\n{moments[1]},,1\n")
    found = read_series(path)
    assert found.timestamps.tolist() == [START.timestamp(), START.timestamp() + 300]
    assert found.values[0, 0] == 1.5 and np.isnan(found.values[1, 0])
    assert found.labels == ({},)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("time,value\n1,2\n", r"series.csv has no column 'timestamp': the header has time, value"),
        ("timestamp,value\n1,2\n3,four\n5,six\n", r"series.csv, line 3: value is not a number: 'four'"),
        ("timestamp,value\n2026-11-01,2\nyesterday,4\n", r"line 3: timestamp is not a time .*: 'yesterday'"),
        ("timestamp,value\n1,2\n1,4\n", r"line 3: timestamp is there twice: '1'"),
        ("timestamp,value\n5,2\n7,2\n6,4\n", r"line 4: timestamp is earlier than the line before it .*: '6'"),
        ("", r"series.csv cannot be read as .csv: No columns"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_value(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        read_series(write(tmp_path, text))


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none.csv does not exist"):
        read_series(tmp_path / "none.csv")


def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    path = tmp_path / "series.parquet"
    moments = pd.date_range("2026-11-01", periods=3, freq="1min")
    pd.DataFrame({"timestamp": moments, "value": [1.0, np.nan, 3.0]}).to_parquet(path)
    found = read_series(path)
    assert found.timestamps.tolist() == [START.timestamp() + 60 * n for n in range(3)]
    pd.DataFrame({"timestamp": moments[[0, 0]], "value": [1, 2]}).to_parquet(path)
    with pytest.raises(InvalidInput, match="row 2: timestamp is there twice"):
        read_series(path)


def test_a_wide_file_is_one_series_per_column(tmp_path: Path) -> None:
    found = read_wide(write(tmp_path, "timestamp,web/cpu,db/cpu\n10,1,2\n20,3,4\n"))
    assert found.labels == ({"column": "web/cpu"}, {"column": "db/cpu"})
    assert found.values.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_recording_answers_like_a_server(tmp_path: Path) -> None:
    write(tmp_path, "timestamp,a,b\n100,1,5\n110,2,6\n140,3,7\n", "shop.csv")
    source = FileSource(tmp_path)
    first = datetime.fromtimestamp(100, UTC)
    found = source.range("shop:a", start=first, end=first + timedelta(seconds=45), step=timedelta(seconds=15))
    assert found.timestamps.tolist() == [100, 115, 130, 145]
    assert found.values[[0, 1, 3], 0].tolist() == [1, 2, 3] and np.isnan(found.values[2, 0])
    assert source.instant("shop").values.tolist() == [[3.0, 7.0]]
    with pytest.raises(InvalidInput, match=r"has no column 'c': it has a, b"):
        source.instant("shop:c")
    with pytest.raises(InvalidInput, match=r"query 'none' names no recording"):
        source.instant("none")
