"""`quell suspects DIR`: what it reads, what it prints, and what it says when a file is wrong."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from deployments.cli.main import app

COLUMNS = ("shop/api/web/cpu %", "cart/cpu %", "mail/cpu %")


def write(folder: Path, name: str, *, factor: float = 1.0, rows: int = 30, start: int = 0, form: str = "iso") -> Path:
    random = np.random.default_rng(start)
    moments = pd.date_range("2026-11-23T08:00:00Z", periods=rows, freq="min") + pd.Timedelta(minutes=start)
    epoch = moments.to_numpy("datetime64[s]").astype(np.int64)
    first = {"iso": moments.strftime("%Y-%m-%dT%H:%M:%SZ"), "s": epoch, "ms": epoch * 1000}[form]
    values = np.exp(random.normal(0, 0.05, (rows, 3))) * [10.0, 10.0 * factor, 10.0]
    table = pd.DataFrame({"timestamp": first, **dict(zip(COLUMNS, values.T, strict=True))})
    file = folder / name
    table.to_parquet(file) if name.endswith("parquet") else table.to_csv(file, index=False)
    return file


def call(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["suspects", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def suspects(folder: Path) -> list[dict[str, object]]:
    code, out, err = call(folder, "--json")
    assert code == 0, err
    return json.loads(out)["suspects"]


@pytest.mark.parametrize("form", ["iso", "s", "ms"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_busy_node_is_first_whatever_the_form_of_time_and_file(tmp_path: Path, form: str, ending: str) -> None:
    write(tmp_path, f"normal.{ending}", form=form)
    write(tmp_path, f"abnormal.{ending}", form=form, start=60, rows=8, factor=5)
    first = suspects(tmp_path)[0]
    assert list(first) == ["node", "metric", "score", "reason"]
    assert first["node"] == "cart" and first["metric"] == "cpu %"


def test_the_last_slash_separates_node_and_metric(tmp_path: Path) -> None:
    write(tmp_path, "normal.csv")
    file = write(tmp_path, "abnormal.csv", start=60, rows=8)
    table = pd.read_csv(file)
    table[COLUMNS[0]] *= 6
    table.to_csv(file, index=False)
    assert suspects(tmp_path)[0]["node"] == "shop/api/web"


def test_nobody_is_an_answer(tmp_path: Path) -> None:
    write(tmp_path, "normal.csv")
    write(tmp_path, "abnormal.csv", start=60, rows=8)
    assert suspects(tmp_path) == []
    assert "nobody stands out" in call(tmp_path)[1]


def test_a_change_beside_it_is_named(tmp_path: Path) -> None:
    write(tmp_path, "normal.csv")
    write(tmp_path, "abnormal.csv", start=60, rows=8, factor=5)
    (tmp_path / "changes.jsonl").write_text(
        '{"id": "c7", "service": "cart", "at": "2026-11-23T08:58:00Z", "summary": "release 7"}\n', encoding="utf-8"
    )
    (tmp_path / "graph.csv").write_text("caller,callee\nshop/api/web,cart\n", encoding="utf-8")
    (tmp_path / "target.json").write_text('{"node": "shop/api/web", "metric": "latency"}', encoding="utf-8")
    first = suspects(tmp_path)[0]
    assert first["change"] == "c7" and "release 7" in str(first["reason"])


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("normal.csv", "timestamp,a/cpu\n2026-11-23T08:00:00Z,1\n2026-11-23T08:01:00Z,2\n", "has 2 rows, needs 3"),
        ("normal.csv", "timestamp,a/cpu\n1,1\n2,fast\n3,1\n", "line 3: a/cpu is not a number: 'fast'"),
        ("normal.csv", "timestamp,a/cpu\n1,1\nsoon,1\n3,1\n", "line 3"),
        ("normal.csv", "timestamp,cpu\n1,1\n2,1\n3,1\n", "name columns like cart/latency_p95"),
        ("normal.csv", "timestamp,a/cpu,a/cpu \n1,1,1\n2,1,1\n3,1,1\n", "'a/cpu' is there twice"),
        ("normal.csv", "timestamp,z/cpu\n1,1\n2,1\n3,1\n", "no column in common"),
        ("graph.csv", "from,to\na,b\n", "has no column 'caller'"),
        ("target.json", '{"node": "a"}', "metric is None"),
        ("target.json", "{", "is not JSON"),
        ("changes.json", '[{"service": "a", "at": "yesterday"}]', "change 1: at is 'yesterday'"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, file: str, text: str, said: str) -> None:
    """Whoever exports by hand at night needs the line, not a traceback."""
    for name in ("normal.csv", "abnormal.csv"):
        (tmp_path / name).write_text("timestamp,a/cpu\n1,1\n2,1\n3,1\n", encoding="utf-8")
    (tmp_path / file).write_text(text, encoding="utf-8")
    code, _, err = call(tmp_path)
    assert code == 1 and said in err and str(tmp_path / file if "common" not in said else tmp_path) in err


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, "normal.csv")
    assert "has no abnormal.csv or abnormal.parquet" in call(tmp_path)[2]
    assert "does not exist" in call(tmp_path / "nowhere")[2]
