"""Recomputing limits on Dask workers: the signals in shards, each worker studies its own with one thread."""

import os
from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any
from zlib import crc32

from distributed import Client, LocalCluster, wait

from benchmarks.made_up_signals import MadeUp, made_up_signal, recomputed

SHARDS = 8
REPEATS = 5


def measure_on_dask(signals: int, days: int) -> dict[str, Any]:
    """Seconds with one and with two workers on the same shards, the best of five in turn, and their ratio.

    The histories lie in the workers' memory before the clock starts, as if each had asked for its own; a checksum of
    the limits comes back. `ratio_by_cpu` compares the CPU seconds that one worker needs for all shards with those of
    the busier of two: what the wall clock shows where nobody else uses the machine.
    """
    load = os.getloadavg()[0]
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            protocol="tcp://",
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        one, two = _measure(client, signals, days)
    return {
        "signals": signals,
        "shards": SHARDS,
        "seconds_one_worker": min(one.seconds),
        "seconds_two_workers": min(two.seconds),
        "ratio": min(one.seconds) / min(two.seconds),
        "ratio_by_cpu": min(one.busiest) / min(two.busiest),
        "same_result": one.sums == two.sums,
        "load_before": load,
    }


@dataclass(slots=True)
class _Placement:
    """Where the shards lie, and what each repeat took: by the clock, and of the busiest worker's CPU."""

    workers: list[str]
    histories: list[Any]
    seconds: list[float] = field(default_factory=list[float])
    busiest: list[float] = field(default_factory=list[float])
    sums: list[int] = field(default_factory=list[int])


def _measure(client: Client, signals: int, days: int) -> list[_Placement]:
    first, second = client.scheduler_info()["workers"]
    shards = [list(range(n, signals, SHARDS)) for n in range(SHARDS)]
    placements: list[_Placement] = []
    for workers in ([first] * SHARDS, [first, second] * (SHARDS // 2)):
        made = [
            client.submit(make_shard, numbers, days, workers=[at], pure=False)
            for numbers, at in zip(shards, workers, strict=True)
        ]
        wait(made)
        placements.append(_Placement(workers, made))
    for _ in range(REPEATS):
        for placement in placements:
            _study(client, placement)
    return placements


def _study(client: Client, placement: _Placement) -> None:
    begun = perf_counter()
    studied = [
        client.submit(study_shard, shard, workers=[at], pure=False)
        for shard, at in zip(placement.histories, placement.workers, strict=True)
    ]
    results = client.gather(studied)
    placement.seconds.append(perf_counter() - begun)
    spent = Counter[str]()
    for (_, cpu), at in zip(results, placement.workers, strict=True):
        spent[at] += cpu
    placement.busiest.append(max(spent.values()))
    placement.sums = [checksum for checksum, _ in results]


def make_shard(numbers: list[int], days: int) -> list[MadeUp]:
    return [made_up_signal(number, days) for number in numbers]


def study_shard(shard: list[MadeUp]) -> tuple[int, float]:
    """Study the signals here; a checksum of their limits and backtests, and the CPU seconds that it took."""
    begun = process_time()
    studied = [recomputed(one) for one in shard]
    said = repr([(one.limits, str(one.new), str(one.old)) for one in studied])
    return crc32(said.encode()), process_time() - begun
