"""The fit of many series on Dask workers: the columns in shards, each worker fits its own with one thread."""

import os
from time import perf_counter
from typing import Any
from zlib import crc32

import numba
import numpy as np
from distributed import Client, LocalCluster, wait

from benchmarks.made_up_fleet import POINTS_A_DAY, made_up
from quell.detection.fleet import fit_fleet
from quell.incidents.series import FloatArray

SHARDS = 8
REPEATS = 5


def measure_on_dask(points: int, series: int, room: int) -> dict[str, Any]:
    """Seconds with one and with two workers on the same shards, the best of five in turn, and their ratio.

    The history lies in the workers' memory before the clock starts, as if each had asked for its own; each keeps what
    it fitted, and a checksum comes back.
    """
    load = os.getloadavg()[0]
    os.environ["NUMBA_NUM_THREADS"] = "1"  # of the workers, which inherit it; this process has read it already
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
        one, two = _measure(client, points, series, room)
    return {
        "series": series,
        "points": points,
        "shards": SHARDS,
        "seconds_one_worker": one[0],
        "seconds_two_workers": two[0],
        "ratio": one[0] / two[0],
        "same_result": one[1] == two[1],
        "load_before": load,
    }


def _measure(client: Client, points: int, series: int, room: int) -> list[tuple[float, list[int]]]:
    threads = client.run(numba.get_num_threads)
    assert set(threads.values()) == {1}, threads
    client.run(fit_shard, made_up(3 * POINTS_A_DAY, 4), room)  # compiles
    first, second = client.scheduler_info()["workers"]
    placements = [[first] * SHARDS, [first, second] * (SHARDS // 2)]
    histories = [
        [
            client.submit(made_up, points, series // SHARDS, seed=n + 1, workers=[at], pure=False)
            for n, at in enumerate(p)
        ]
        for p in placements
    ]
    wait([shard for shards in histories for shard in shards])
    found: list[tuple[float, list[int]]] = [(float("inf"), [])] * 2
    for _ in range(REPEATS):
        for which, (placement, shards) in enumerate(zip(placements, histories, strict=True)):
            begun = perf_counter()
            fitted = [
                client.submit(fit_shard, shard, room, workers=[at], pure=False)
                for shard, at in zip(shards, placement, strict=True)
            ]
            sums = client.gather(fitted)
            found[which] = (min(found[which][0], perf_counter() - begun), sums)
    return found


def fit_shard(history: FloatArray, room: int) -> int:
    """Fit the columns here; returns a checksum of what was fitted."""
    fleet = fit_fleet(history, period=POINTS_A_DAY, room=room)
    return crc32(np.ascontiguousarray(fleet.outlook).data, crc32(np.ascontiguousarray(fleet.memory).data))
