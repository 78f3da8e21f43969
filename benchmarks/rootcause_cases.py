"""The open root-cause data as cases: windows before and during, calls, target, and who it was.

PetShop: normal operation of the same traffic, as its authors use it. Nezha: one minute rows; normal is what came before
the fault, without the rows of earlier listed faults (a product knows its past incidents and keeps them out of normal);
where fewer than 12 rows came before, rows after the last fault of the day. Return and exception faults hardly show in
metrics and are left out. Quiet windows come from the fault-free parts.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.report import stop
from quell.triage.rootcause.window import Column, Window

FAULT_SECONDS = 300.0  # how long a listed fault of Nezha is taken to last
NEZHA_ROWS, NEZHA_WINDOW, NEZHA_FEWEST = 60, 5, 12
PETSHOP_QUIET_ROWS, PETSHOP_WINDOW = 200, 5
CALL_LATENCIES = frozenset({"source_50", "destination_50"})
RESOURCE_AND_NETWORK = frozenset({"cpu_contention", "cpu_consumed", "network_delay"})


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    group: str
    normal: Window
    abnormal: Window
    calls: tuple[tuple[str, str], ...]
    target: Column | None
    truth: tuple[str, ...]  # empty on quiet windows


def petshop(folder: Path) -> list[Case]:
    cases: list[Case] = []
    for scenario in ("low_traffic", "high_traffic"):
        normal, calls = _petshop_normal(folder / scenario), _petshop_calls(folder / scenario)
        for file in sorted((folder / scenario).glob("*/issue_*/target.json")):
            told = json.loads(file.read_text(encoding="utf-8"))
            target = told["target"]
            cases.append(
                Case(
                    name=str(file.parent.relative_to(folder)), group=f"petshop {scenario}/{target['metric']}",
                    normal=normal, abnormal=_petshop_window(file.parent / "metrics.csv"), calls=calls,
                    target=(target["node"], f"{target['metric']}_{target['agg']}"),
                    truth=(told["root_cause"]["node"],),
                )
            )  # fmt: skip
    return cases


def petshop_quiet(folder: Path, count: int, seed: int) -> Iterator[Case]:
    """Random windows of normal operation after 200 rows of it; targets take turns."""
    random = np.random.default_rng(seed)
    parts = [(_petshop_normal(folder / s), _petshop_calls(folder / s)) for s in ("low_traffic", "high_traffic")]
    for number in range(count):
        window, calls = parts[number % 2]
        end = int(random.integers(PETSHOP_QUIET_ROWS, len(window.values) - PETSHOP_WINDOW))
        metric = ("latency_Average", "availability_Average")[number // 2 % 2]
        yield Case(
            name=f"petshop quiet {number}", group="petshop quiet", calls=calls, target=("PetSite", metric), truth=(),
            normal=_rows(window, slice(end - PETSHOP_QUIET_ROWS, end)),
            abnormal=_rows(window, slice(end, end + PETSHOP_WINDOW)),
        )  # fmt: skip


def _petshop_normal(folder: Path) -> Window:
    return _petshop_window(folder / "noissue" / "metrics.csv")


def _petshop_window(file: Path) -> Window:
    table = pd.read_csv(file, header=[0, 1, 2], index_col=0)
    return Window(columns=tuple((a, f"{b}_{c}") for a, b, c in table.columns), values=table.to_numpy(float))


def _petshop_calls(folder: Path) -> tuple[tuple[str, str], ...]:
    table = pd.read_csv(folder / "graph.csv", index_col=0)
    return tuple((str(a), str(b)) for a in table.index for b in table.columns if table.loc[a, b])


@dataclass(frozen=True, kw_only=True)
class Day:
    """Nezha's day: all metrics at one minute, and the listed faults as (epoch seconds, pod, type)."""

    times: np.ndarray
    window: Window
    calls: tuple[tuple[str, str], ...]
    faults: tuple[tuple[float, str, str], ...]

    def without_call_latencies(self) -> "Day":
        kept = [place for place, (_, metric) in enumerate(self.window.columns) if metric not in CALL_LATENCIES]
        columns = tuple(self.window.columns[place] for place in kept)
        return replace(self, window=Window(columns=columns, values=self.window.values[:, kept]))


NEZHA_TARGET = ("Frontend", "LatencyP95(s)")


def read_nezha(folder: Path) -> Day:
    day = folder / "2022-08-22"
    if not day.is_dir():
        stop(f"{folder} has no 2022-08-22: give the folder that holds petshop and nezha as --data")
    tables = [_nezha_table(file) for file in sorted((day / "metric").glob("*.csv")) if file.name != "dependency.csv"]
    table = pd.concat(tables, axis=1).sort_index()
    graph = pd.read_csv(day / "metric" / "dependency.csv")
    listed = json.loads((day / "2022-08-22-fault_list.json").read_text(encoding="utf-8"))
    faults = tuple(
        (datetime.fromisoformat(f["inject_time"]).replace(tzinfo=UTC).timestamp(), f["inject_pod"], f["inject_type"])
        for hour in listed.values()
        for f in hour
    )
    window = Window(columns=tuple(table.columns), values=table.to_numpy(float))
    calls = tuple(zip(graph["Source"], graph["Target"], strict=True))
    return Day(times=table.index.to_numpy(float), window=window, calls=calls, faults=faults)


def _nezha_table(file: Path) -> pd.DataFrame:
    """One file on whole minutes; the column of epoch seconds is wrong in one of them and not used."""
    table = pd.read_csv(file)
    moments = pd.to_datetime(table.iloc[:, 0].str.slice(0, 16), utc=True)
    values = table.select_dtypes("number").drop(columns=[n for n in table.columns if n.lower() == "timestamp"])
    values.index = pd.Index(moments.to_numpy("datetime64[s]").astype(np.int64))
    if file.name.endswith("_metric.csv"):
        node = file.name.removesuffix("_metric.csv")
        values.columns = pd.Index([(node, name) for name in values.columns], tupleize_cols=False)
    elif file.name == "front_service.csv":
        values.columns = pd.Index([("Frontend", name) for name in values.columns], tupleize_cols=False)
    else:
        values.columns = pd.Index([(name, file.stem) for name in values.columns], tupleize_cols=False)
    return values[~values.index.duplicated()]


def nezha(day: Day, *, rows: int = NEZHA_ROWS, known_faults: bool = True, late: int = 0) -> list[Case]:
    """`known_faults`: rows of earlier listed faults are kept out of normal; `late`: minutes by which onset is known."""
    ill = np.zeros(len(day.times), bool)
    for at, _, _ in day.faults:
        ill |= (day.times >= at - 60) & (day.times < at + FAULT_SECONDS)
    after = np.flatnonzero(day.times > max(at for at, _, _ in day.faults) + 4 * FAULT_SECONDS)
    cases: list[Case] = []
    for at, pod, kind in day.faults:
        if kind not in RESOURCE_AND_NETWORK:
            continue
        begin = int(np.searchsorted(day.times, at - at % 60))  # the minute it was injected in is neither
        first = int(np.searchsorted(day.times, at)) + late
        before = [i for i in range(begin) if not (known_faults and ill[i])][-rows:]
        if len(before) < NEZHA_FEWEST:
            before = list(after[:rows])
        cases.append(
            Case(
                name=f"nezha {datetime.fromtimestamp(at, UTC):%H:%M} {kind}", calls=day.calls, target=NEZHA_TARGET,
                group="nezha network" if kind.startswith("network") else "nezha cpu", truth=(pod,),
                normal=_rows(day.window, before), abnormal=_rows(day.window, slice(first, first + NEZHA_WINDOW)),
            )
        )  # fmt: skip
    return cases


def nezha_quiet(day: Day, count: int, seed: int, *, rows: int = NEZHA_ROWS) -> Iterator[Case]:
    """Random windows from well after the last listed fault, after `rows` rows from there."""
    random = np.random.default_rng(seed)
    start = int(np.searchsorted(day.times, max(at for at, _, _ in day.faults) + 4 * FAULT_SECONDS))
    for number in range(count):
        end = int(random.integers(start + rows, len(day.times) - NEZHA_WINDOW))
        yield Case(
            name=f"nezha quiet {number}", group="nezha quiet", calls=day.calls, target=NEZHA_TARGET, truth=(),
            normal=_rows(day.window, slice(end - rows, end)),
            abnormal=_rows(day.window, slice(end, end + NEZHA_WINDOW)),
        )  # fmt: skip


def _rows(window: Window, rows: slice | list[int]) -> Window:
    return replace(window, values=window.values[rows])
