"""`quell score` on real files: what it writes, what it warns of, what it refuses, and how it ends."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner, Result

from deployments.cli import score_files as score_files_module
from deployments.cli.main import app
from deployments.cli.score_signal import stems_of

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
COLUMNS = ["timestamp", "value", "expected", "lower", "upper", "anomaly_score", "verdict"]
ROWS, SPIKE = 1500, 1400


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("NO_COLOR", "1")


def noisy(rows: int = ROWS) -> np.ndarray:
    values = 100.0 + np.random.default_rng(3).normal(0.0, 1.0, rows)
    if rows > SPIKE:
        values[SPIKE] = 160.0
    return values.round(3)


def moments(rows: int = ROWS) -> pd.DatetimeIndex:
    return pd.date_range("2026-11-01", periods=rows, freq="5min")


def write_csv(path: Path, timestamps: object, values: object, **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"timestamp": timestamps, "value": values, **more}).to_csv(path, index=False)
    return path


def score(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["score", *(str(one) for one in arguments)])


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def scored(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype={"timestamp": str})
    assert list(table.columns) == COLUMNS
    assert np.isfinite(table["anomaly_score"]).all() and table["anomaly_score"].between(0.0, 1.0).all()
    return table


def test_each_row_gets_a_score_and_the_decision_at_one_half(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "web.csv", moments().astype(str), noisy(), label=0)
    done = score(path, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    table = scored(tmp_path / "out" / "web.csv")
    assert len(table) == ROWS and table["timestamp"].tolist() == moments().astype(str).tolist()
    assert table["value"].tolist() == noisy().tolist()
    assert table["verdict"][SPIKE] == "anomalous" and table["verdict"][0] == "warming_up"
    assert ((table["verdict"] == "anomalous") == (table["anomaly_score"] >= 0.5)).all()
    assert table["upper"][SPIKE] < 160.0 and "web" in done.stdout
    assert names_in(tmp_path / "out") == ["web.csv"]


def test_what_comes_later_changes_nothing(tmp_path: Path) -> None:
    """Every row is judged on what came before it only: a file cut off has the same scores as far as it goes."""
    whole = write_csv(tmp_path / "whole.csv", moments().astype(str), noisy())
    cut = write_csv(tmp_path / "cut.csv", moments(900).astype(str), noisy()[:900])
    assert score(whole, cut, "--out", tmp_path / "out").exit_code == 0
    pd.testing.assert_frame_equal(scored(tmp_path / "out" / "cut.csv"), scored(tmp_path / "out" / "whole.csv")[:900])


@pytest.mark.parametrize(
    "written",
    [
        moments().strftime("%Y-%m-%dT%H:%M:%SZ"),
        moments().strftime("%Y-%m-%d %H:%M:%S+01:00"),
        (1_790_000_000 + 300 * np.arange(ROWS)).astype(str),
        [f"{1_790_000_000.5 + 300 * row:.1f}" for row in range(ROWS)],
    ],
    ids=["zulu", "offset", "epoch", "fraction of a second"],
)
def test_timestamps_come_back_as_they_were_written(tmp_path: Path, written: object) -> None:
    path = write_csv(tmp_path / "web.csv", written, noisy())
    assert score(path, "--out", tmp_path / "out").exit_code == 0
    assert scored(tmp_path / "out" / "web.csv")["timestamp"].tolist() == list(written)  # type: ignore[call-overload]


def test_parquet_is_scored_like_csv(tmp_path: Path) -> None:
    table = pd.DataFrame({"timestamp": moments(), "value": noisy(), "label": 0})
    table.to_parquet(tmp_path / "naive.parquet")
    table.assign(timestamp=table["timestamp"].dt.tz_localize("Europe/Berlin")).to_parquet(tmp_path / "zone.parquet")
    table.assign(timestamp=moments().astype("datetime64[s]").astype(np.int64)).to_parquet(tmp_path / "epoch.parquet")
    table.set_index("timestamp").to_parquet(tmp_path / "index.parquet")
    names = ("naive", "zone", "epoch", "index")
    done = score(*(tmp_path / f"{name}.parquet" for name in names), "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    naive, zone, epoch, index = (scored(tmp_path / "out" / f"{name}.csv") for name in names)
    assert naive["timestamp"][1] == "2026-11-01T00:05:00" and zone["timestamp"][1] == "2026-10-31T23:05:00Z"
    assert epoch["timestamp"][0] == "1793491200"
    for other in (zone, epoch, index):
        assert other["anomaly_score"].tolist() == naive["anomaly_score"].tolist()


def test_an_empty_value_is_a_missing_sample(tmp_path: Path) -> None:
    values = noisy()
    values[[200, 201]] = np.nan
    path = write_csv(tmp_path / "web.csv", moments().astype(str), values)
    assert score(path, "--out", tmp_path / "out").exit_code == 0
    table = scored(tmp_path / "out" / "web.csv")
    assert table["verdict"][[200, 201]].tolist() == ["no_data", "no_data"] and table["verdict"][202] != "no_data"
    assert table["anomaly_score"][200] == 0.0 and np.isnan(table["value"][200])


def test_an_infinite_value_is_missing_and_said_so(tmp_path: Path) -> None:
    values = noisy()
    values[300] = np.inf
    done = score(write_csv(tmp_path / "web.csv", moments().astype(str), values), "--out", tmp_path / "out")
    assert done.exit_code == 0 and "web.csv, line 302: value is infinite (1 rows)" in done.stderr
    assert scored(tmp_path / "out" / "web.csv")["verdict"][300] == "no_data"


def test_a_repeated_or_backward_row_is_a_warning_and_keeps_its_place(tmp_path: Path) -> None:
    """Real exports repeat an hour when the clocks change; their rows stay, in the order of the file."""
    hour = moments().astype(str).tolist()
    hour[500] = hour[499]
    hour[700:] = moments(ROWS - 12).astype(str).tolist()[688:]
    done = score(write_csv(tmp_path / "web.csv", hour, noisy()), "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert f"web.csv, line 502: timestamp '{hour[500]}' is there twice: scored in the order of the file" in done.stderr
    assert f"web.csv, line 702: timestamp '{hour[700]}' is earlier than the row before it" in done.stderr
    assert scored(tmp_path / "out" / "web.csv")["timestamp"].tolist() == hour


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("time,value\n1,2\n", "bad.csv has no column 'timestamp': the header has time, value"),
        ("timestamp,reading\n1,2\n", "bad.csv has no column 'value': the header has timestamp, reading"),
        ("timestamp,value\n1,2\n2,four\n", "bad.csv, line 3: value is not a number: 'four'"),
        ("timestamp,value\n1,2\n\n3,4\n", "bad.csv, line 3: timestamp is missing"),
        ("timestamp,value\n2026-11-01,2\nsoon,4\n", "line 3: timestamp is not a time (ISO 8601 or epoch): 'soon'"),
        ("timestamp,value\n1,2\nsoon,4\n", "line 3: timestamp is not an epoch number as in the first row: 'soon'"),
        ("timestamp,value\n3,2\n1,4\n2,6\n", "bad.csv, line 3: timestamp '1' is earlier than the row before it ('3')"),
        ("timestamp,value\n1,2\n1,4\n1,6\n", "line 3: timestamp '1' is there twice, 2 of 3 rows are like that"),
        ("timestamp,value\n", "bad.csv has no rows"),
        ("", "bad.csv cannot be read as CSV: No columns to parse from file"),
        ("timestamp,value\n1,2\n2,3,4,5\n", "bad.csv cannot be read as CSV: Error tokenizing data"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_and_the_good_files_are_written(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    good = write_csv(tmp_path / "good.csv", moments(200).astype(str), noisy(200))
    done = score(tmp_path / "bad.csv", good, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert complaint in done.stderr and "1 of 2 not scored, 1 written" in done.stderr
    assert names_in(tmp_path / "out") == ["good.csv"]


def test_the_repair_that_an_error_names_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(Path("web.csv"), moments().astype(str)[::-1], noisy())
    done = score("web.csv", "--out", "out")
    assert done.exit_code == 1 and "1499 of 1500 rows are like that: repair the file first" in done.stderr
    code = done.stderr.partition('python -c "')[2].partition('"')[0]
    exec(code)
    assert score("web-repaired.csv", "--out", "out").exit_code == 0
    assert scored(Path("out/web-repaired.csv"))["timestamp"].tolist() == moments().astype(str).tolist()


def test_files_joined_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    """One step back of days is no clock change: everything after it would be judged on its own future."""
    late = [*moments().astype(str)[750:], *moments().astype(str)[:750]]
    done = score(write_csv(tmp_path / "web.csv", late, noisy()), "--out", tmp_path / "out")
    assert done.exit_code == 1 and "line 752" in done.stderr and ".sort_values('timestamp')" in done.stderr


def test_two_inputs_of_one_stem_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    first = write_csv(tmp_path / "a" / "web.csv", moments(200).astype(str), noisy(200))
    second = write_csv(tmp_path / "b" / "web.csv", moments(200).astype(str), noisy(200))
    done = score(first, second, "--out", tmp_path / "out")
    assert done.exit_code == 1 and "would both become" in done.stderr and not (tmp_path / "out").exists()


def test_a_result_never_replaces_an_input(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "web.csv", moments(200).astype(str), noisy(200))
    before = path.read_bytes()
    done = score(path, "--out", tmp_path)
    assert done.exit_code == 1 and "give another folder as --out" in done.stderr and path.read_bytes() == before


def test_files_or_a_signal_must_be_named(tmp_path: Path) -> None:
    assert score("--out", tmp_path / "out").exit_code == 1
    assert score("--out", tmp_path / "out", "--signal", "errors", "some.csv").exit_code == 1


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    done = score(tmp_path, tmp_path / "none.csv", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "is a folder: name its files" in done.stderr and "none.csv does not exist" in done.stderr


def test_two_processes_write_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write_csv(tmp_path / f"{name}.csv", moments().astype(str), noisy() + len(name)) for name in ("a", "bb")]
    (tmp_path / "bad.csv").write_text("timestamp,value\n1,x\n")
    assert score(*paths, "--out", tmp_path / "one").exit_code == 0
    monkeypatch.setattr(score_files_module, "WORTH_PROCESSES_ROWS", 0)
    done = score(*paths, tmp_path / "bad.csv", "--out", tmp_path / "two")
    assert done.exit_code == 1 and "line 2: value is not a number: 'x'" in done.stderr
    for path in paths:
        assert (tmp_path / "one" / path.name).read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "web.csv", moments().astype(str), noisy())
    assert score(path, "--out", tmp_path / "out", "--plot").exit_code == 0
    page = (tmp_path / "out" / "web.html").read_text()
    assert 'src="plotly.min.js"' in page and "http" not in page and "1,500 rows" in page
    assert (tmp_path / "out" / "plotly.min.js").stat().st_size > 1_000_000


def test_series_of_a_signal_get_names_that_tell_them_apart() -> None:
    labels = [{"service": "shop", "instance": "a/1"}, {"service": "shop", "instance": "b"}]
    assert stems_of("errors", labels) == ["errors-a_1", "errors-b"]
    assert stems_of("errors", labels[:1]) == ["errors"]
    assert stems_of("x", [{"a": "1-2", "b": "3"}, {"a": "1", "b": "2-3"}]) == ["x-1-2-3-0", "x-1-2-3-1"]


@pytest.fixture
def configured(tmp_path: Path, backfilled_prometheus: Callable[[str], str]) -> Path:
    """A configuration whose signal `shop-traffic` has two series, the last three hours of them in a real Prometheus."""
    newest = int(datetime.now(UTC).timestamp()) // 60 * 60 - 60
    lines = ["# TYPE made_up_rate gauge"]
    for instance in ("web-1", "web-2"):
        for row, value in enumerate(noisy(180)):
            lines.append(f'made_up_rate{{instance="{instance}"}} {value} {newest - 60 * (179 - row)}')
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    settings, signals = folder / "quell.toml", folder / "signals.yaml"
    address = backfilled_prometheus("\n".join([*lines, "# EOF", ""]))
    settings.write_text(settings.read_text().replace("http://127.0.0.1:7450", address))
    table = yaml.safe_load(signals.read_text())
    table["signals"]["shop-traffic"] |= {"query": "made_up_rate", "step": "1m"}
    signals.write_text(yaml.safe_dump(table))
    return folder


def test_a_signal_is_scored_from_its_history(tmp_path: Path, configured: Path) -> None:
    done = score(
        "--signal", "shop-traffic", "--since", "4h", "--out", tmp_path / "out", "--config", configured, "--plot"
    )
    assert done.exit_code == 0, done.stderr
    assert names_in(tmp_path / "out") == [
        "plotly.min.js", "shop-traffic-web-1.csv", "shop-traffic-web-1.html",
        "shop-traffic-web-2.csv", "shop-traffic-web-2.html",
    ]  # fmt: skip
    table = scored(tmp_path / "out" / "shop-traffic-web-1.csv")
    assert 170 <= len(table) <= 190 and not np.isnan(table["value"][0]) and table["timestamp"][0].endswith("Z")
    assert "normal" in set(table["verdict"])


def test_an_unknown_signal_is_named_with_its_neighbour(tmp_path: Path, configured: Path) -> None:
    done = score("--signal", "shop-trafic", "--out", tmp_path / "out", "--config", configured)
    assert done.exit_code == 1 and "'shop-trafic' is not in" in done.stderr and "shop-traffic" in done.stderr
    assert not (tmp_path / "out").exists()
