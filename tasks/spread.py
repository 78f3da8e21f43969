"""Shards of work spread over workers: on a Dask scheduler where one is configured, otherwise in threads."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from prefect.futures import PrefectFuture, PrefectFutureList
from prefect.tasks import Task

from quell.incidents.errors import Unavailable
from tasks.resources import resources
from tasks.runs import log

if TYPE_CHECKING:
    from prefect_dask.task_runners import DaskTaskRunner

CONNECT_WITHIN = timedelta(seconds=5)  # to the scheduler, and again for a first worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The results in the order of the shards; `note` says where they did not run where they should have."""

    results: list[Any]
    note: str = ""


def spread(task: Task[..., Any], *, within: timedelta, **parameters: Any) -> Spread:
    """Run the task once for each entry of the parameters that are lists, as one Prefect task each.

    On the Dask scheduler of the configuration, if there is one. Where it or its workers are away, or not done `within`
    the time, the flow's own threads do all of it again, and the note says so: work is late rather than missing.
    """
    address = resources().config.detection.dask_scheduler
    if address is None:
        return Spread(results=_in_threads(task, parameters))
    try:
        return Spread(results=_on_dask(address, task, parameters, within))
    except Exception as error:  # noqa: BLE001 - whatever is wrong over there, the work is done here, and fails here if it must
        note = f"Ran in threads of its own process: {error}"
        log().warning("%s", note)
        return Spread(results=_in_threads(task, parameters), note=note)


def _in_threads(task: Task[..., Any], parameters: Mapping[str, Any]) -> list[Any]:
    futures = cast("PrefectFutureList[PrefectFuture[Any]]", task.map(**parameters))
    return cast("list[Any]", futures.result())


def _on_dask(address: str, task: Task[..., Any], parameters: Mapping[str, Any], within: timedelta) -> list[Any]:
    from prefect_dask.task_runners import DaskTaskRunner  # 0.15 s of every run, for those who use it

    runner = DaskTaskRunner(address=address, client_kwargs={"timeout": CONNECT_WITHIN.total_seconds()})
    with runner:
        client = _connect(runner, address)
        deadline = time.monotonic() + within.total_seconds()
        futures = cast("list[Any]", runner.map(task, dict(parameters)))
        try:
            return [future.result(timeout=max(deadline - time.monotonic(), 0.1)) for future in futures]
        except TimeoutError as error:
            client.cancel([future.wrapped_future for future in futures])
            raise Unavailable(
                f"dask scheduler at {address} was not done within {within.total_seconds():.0f} s: look at its workers"
            ) from error


def _connect(runner: "DaskTaskRunner", address: str) -> Any:
    """The scheduler's client, once it has a worker. Raises Unavailable."""
    seconds = CONNECT_WITHIN.total_seconds()
    client: Any
    try:
        client = runner.client
    except (OSError, ValueError, TimeoutError) as error:
        raise Unavailable(
            f"dask scheduler at {address} cannot be reached within {seconds:.0f} s: check that it runs and that "
            f"dask_scheduler under [detection] in quell.toml is its address ({error})"
        ) from error
    try:
        client.wait_for_workers(1, timeout=seconds)
    except TimeoutError as error:
        raise Unavailable(
            f"dask scheduler at {address} has no worker after {seconds:.0f} s: start one with `dask worker {address}`"
        ) from error
    return client
