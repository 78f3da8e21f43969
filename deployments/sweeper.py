"""The sweeper: a Prefect worker that runs the sweep and `reconcile` in its own process, warm.

A process worker starts a process for each run: two to three seconds of processor for imports, for a sweep that takes
a fraction of one. This one polls a pool of its own, waits for a run's moment, claims it and runs the flow in a thread.
Nobody chooses what runs here: the entrypoint picks from a list, and the pool has no variables.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Set
from datetime import timedelta
from typing import Any
from uuid import UUID

import anyio
import httpx
from anyio.abc import TaskStatus
from prefect import Flow
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import PrefectException
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Cancelled
from prefect.workers.base import BaseJobConfiguration, BaseWorker, BaseWorkerResult

from deployments.abandoned_runs import end_abandoned
from deployments.config_folder import ConfigFolder
from deployments.due_runs import due_at, superseded
from deployments.process_identity import own_identity
from deployments.work_pool import POOL, SWEEP_POOL, SWEEPER_TYPE
from flows.detection import detection_sweep
from flows.upkeep import reconcile
from quell.incidents.errors import Refused

_LOG = logging.getLogger("quell.sweeper")
_ALLOWED: tuple[Any, ...] = (detection_sweep, reconcile)
FLOWS: Mapping[str, Flow[..., Any]] = {f"{flow.fn.__module__}.{flow.fn.__name__}": flow for flow in _ALLOWED}
_POLL_SECONDS, _HEARTBEAT_SECONDS, _SETTLE_SECONDS = 1.0, 30.0, 30.0
_SEEN_AHEAD_SECONDS = 2  # more than one poll, so that every run is known before its moment
_DRAIN_SECONDS, _STOP_SECONDS = 6.0, 7.5  # for the running sweep, for everything; the supervisor kills after eight
_OVERDUE = timedelta(seconds=30)  # a thread that Prefect's timeout could not end by then cannot be ended
_LONGEST_RUN = timedelta(minutes=30)  # of a flow without a timeout
_SUPERSEDED = "a later run of this deployment was due as well"
_STUCK = 70  # exit code: the supervisor starts a new process


class Sweeper(BaseWorker[BaseJobConfiguration, Any, BaseWorkerResult]):
    """Runs what `flows` lists, each in a thread; `serve` polls until it is told to stop."""

    type = SWEEPER_TYPE

    def __init__(self, flows: Mapping[str, Flow[..., Any]] = FLOWS, *, pool: str = SWEEP_POOL) -> None:
        self.identity = own_identity()
        name = f"sweeper {self.identity}"
        super().__init__(pool, name=name, prefetch_seconds=_SEEN_AHEAD_SECONDS, create_pool_if_not_found=False)
        self._flows = flows
        self._config = ConfigFolder()
        self._running: dict[UUID, FlowRun] = {}
        self._lost: set[UUID] = set()  # claimed, and Prefect could not be told how they ended
        self._stopping = anyio.Event()

    async def serve(self) -> None:
        """Until SIGTERM or SIGINT; a run that goes on then has some seconds to end."""
        async with self, anyio.create_task_group() as loops:
            loops.start_soon(_every, _POLL_SECONDS, self.get_and_submit_flow_runs)
            loops.start_soon(_every, _HEARTBEAT_SECONDS, self.sync_with_backend)
            loops.start_soon(_every, _SETTLE_SECONDS, self._settle)
            await _asked_to_stop()
            _exit_after(_STOP_SECONDS)  # Prefect's own end (events, sockets) took over four on a busy machine
            self._stopping.set()
            loops.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await self._drain()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,  # noqa: ARG002 - the base class names it
        task_status: TaskStatus[Any] | None = None,
    ) -> BaseWorkerResult:
        """Run a claimed run here; nothing of a job's configuration means anything to a thread."""
        if task_status is not None:
            task_status.started(self.identity)
        await self._run_claimed(await self._flow_of(flow_run), flow_run)
        return BaseWorkerResult(identifier=self.identity, status_code=0)

    async def _submit_scheduled_flow_runs(self, flow_run_response: list[WorkerFlowRunResponse]) -> list[FlowRun]:
        """Take only the last of the runs that piled up in an outage; the slot would be refused to the others anyway."""
        old = superseded([one.flow_run for one in flow_run_response], time.time()) - self._submitting_flow_run_ids
        if old and self._runs_task_group is not None:
            self._submitting_flow_run_ids |= old
            self._runs_task_group.start_soon(self._drop, old)
        return await super()._submit_scheduled_flow_runs(
            [one for one in flow_run_response if one.flow_run.id not in old]
        )

    async def _drop(self, ids: Set[UUID]) -> None:
        """One after the other: an hour of them at once would keep Prefect's server from the run that counts."""
        for id in ids:
            try:
                if not self._stopping.is_set():
                    await self.client.set_flow_run_state(id, Cancelled(message=_SUPERSEDED))
            except (httpx.HTTPError, PrefectException) as error:
                _LOG.info("late run %s could not be dropped, the next poll tries again: %s", id, error)
            finally:
                self._submitting_flow_run_ids.discard(id)

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """Prepare a run, claim it at its moment and not before, and run it.

        A claim takes the deployment's one slot, so an early one would be refused because of the run before it. The
        process is on record before the claim: whoever finds the slot taken can tell by whom. Prefect's own method
        (private, 3.8.8) claims early, and asks its server seven things between a run's moment and its start.
        """
        try:
            flow = await self._flow_of(flow_run)
            await self.client.update_flow_run(flow_run.id, infrastructure_pid=self.identity)
            await self._wait_for(flow_run)
            if self._stopping.is_set():
                return
            self._lost.add(flow_run.id)  # until Prefect is known to know how it ended
            if await self._propose_pending_state(flow_run):
                await self._run_claimed(flow, flow_run)
        except Refused as error:
            await self._propose_crashed_state(flow_run, str(error))
        except Exception as error:  # noqa: BLE001 - one run must not end the process
            _LOG.warning("run %s could not be started: %s", flow_run.id, error, exc_info=True)
        finally:
            self._submitting_flow_run_ids.discard(flow_run.id)
            if self._cancelling_observer is not None:
                self._cancelling_observer.remove_in_flight_flow_run_id(flow_run.id)

    async def _flow_of(self, flow_run: FlowRun) -> Flow[..., Any]:
        """The flow of the run's deployment. Raises Refused for one that does not run here."""
        found = flow_run.deployment_id and await self.client.read_deployment(flow_run.deployment_id)
        entrypoint = found.entrypoint if found else None
        flow = self._flows.get(entrypoint or "")
        if flow is None:
            raise Refused(
                f"entrypoint {entrypoint} does not run in pool {self._work_pool_name}, which runs only "
                f"{', '.join(self._flows)}: deploy it to pool {POOL}"
            )
        return flow

    async def _run_claimed(self, flow: Flow[..., Any], flow_run: FlowRun) -> None:
        if not self._running and self._config.renew():
            _LOG.info("the configuration changed: it is read anew")
        self._running[flow_run.id] = flow_run
        try:
            await self._run_in_thread(flow, await self.client.read_flow_run(flow_run.id))
            await self._end_if_cancelling(flow_run)
            self._lost.discard(flow_run.id)
        finally:
            self._running.pop(flow_run.id)

    async def _run_in_thread(self, flow: Flow[..., Any], flow_run: FlowRun) -> None:
        allowed = longest_run(flow) + _OVERDUE
        with anyio.move_on_after(allowed.total_seconds()) as overdue:
            await anyio.to_thread.run_sync(_run, flow, flow_run, abandon_on_cancel=True)
        if overdue.cancelled_caught:
            await self._give_up(flow_run, f"it did not end within {allowed.total_seconds():.0f} s")

    async def _wait_for(self, flow_run: FlowRun) -> None:
        with anyio.move_on_after(max(due_at(flow_run) - time.time(), 0.0)):
            await self._stopping.wait()

    async def _end_if_cancelling(self, flow_run: FlowRun) -> None:
        """A thread is not killed: a run that somebody cancels ends by itself, and then Prefect is told."""
        state = (await self.client.read_flow_run(flow_run.id)).state
        if state is not None and state.type is StateType.CANCELLING:
            await self.client.set_flow_run_state(flow_run.id, Cancelled(message="cancelled while it ran"), force=True)

    async def _settle(self) -> None:
        longest = max(map(longest_run, self._flows.values())) + 2 * _OVERDUE
        lost = self._lost - self._submitting_flow_run_ids
        for sentence in await end_abandoned(self.client, self._work_pool_name, longest, lost):
            _LOG.warning("%s", sentence)
        self._lost -= lost

    async def _drain(self) -> None:
        with anyio.move_on_after(_DRAIN_SECONDS) as late:
            while self._submitting_flow_run_ids:
                await anyio.sleep(0.05)
        if late.cancelled_caught:
            for flow_run in tuple(self._running.values()):
                await self._propose_crashed_state(flow_run, f"the sweeper stopped, and gave it {_DRAIN_SECONDS:.0f} s")
            _exit(0)

    async def _give_up(self, flow_run: FlowRun, reason: str) -> None:
        """A thread cannot be killed, a process can: end this one, so that a new one sweeps."""
        _LOG.critical("run %s: %s; this process ends, so that a new one goes on", flow_run.id, reason)
        with anyio.move_on_after(5):
            await self._propose_crashed_state(flow_run, reason)
        _exit(_STUCK)


def longest_run(flow: Flow[..., Any]) -> timedelta:
    """How long a run may last before it counts as stuck."""
    return timedelta(seconds=flow.timeout_seconds) if flow.timeout_seconds else _LONGEST_RUN


def _run(flow: Flow[..., Any], flow_run: FlowRun) -> None:
    """What goes wrong in the flow is in the run's state.

    Without Prefect's heartbeats, which let every run end up to a second later, with its slot: `abandoned_runs` tells
    what is dead from the process itself.
    """
    changed: dict[Any, Any] = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(changed):
        run_flow(flow, flow_run=flow_run, return_type="state")


async def _every(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Work at a steady pace; Prefect's server may be away, and is asked again with growing pauses."""
    failures = 0
    while True:
        try:
            await work()
            failures = 0
        except (httpx.HTTPError, PrefectException) as error:
            failures += 1
            _LOG.warning("Prefect's server does not do what it is asked, trying again: %s", error)
        await anyio.sleep(min(seconds * 2**failures, max(10.0, seconds)))


async def _asked_to_stop() -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            return


def _exit_after(seconds: float) -> None:
    timer = threading.Timer(seconds, _exit, (0,))
    timer.daemon = True
    timer.start()


def _exit(code: int) -> None:
    """Without waiting for threads, which an ordinary exit does."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def main() -> None:
    """Run until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    anyio.run(Sweeper().serve)


if __name__ == "__main__":
    main()
