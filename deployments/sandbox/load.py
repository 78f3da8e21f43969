"""The shop's customers: an open-loop load generator. Commands come in on stdin, one report a second goes to stdout.

A command is a JSON line {"rates": {client: requests per second}}. Closing stdin ends the process.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from deployments.sandbox.wire import Client

DEFAULT_RATES: Mapping[str, float] = {"web": 20.0, "mobile": 14.0, "partner": 6.0}
_PATIENCE_SECONDS = 5.0
_MOST_IN_FLIGHT = 1500


@dataclass(slots=True)
class Tally:
    """What one client saw in one second. `ok` is 200, `denied` is 429, everything else is an error."""

    sent: int = 0
    ok: int = 0
    denied: int = 0
    errors: int = 0
    latencies_ms: list[float] = field(default_factory=list)

    def record(self, status: int, latency_ms: float) -> None:
        self.ok += status == 200
        self.denied += status == 429
        self.errors += status not in (200, 429)
        if status != 429:
            self.latencies_ms.append(round(latency_ms, 1))


class Customers:
    def __init__(self, port: int) -> None:
        self._port = port
        self._rates: dict[str, float] = {}
        self._drivers: dict[str, asyncio.Task[None]] = {}
        self._tallies: dict[str, Tally] = {}
        self._shots: set[asyncio.Task[None]] = set()

    def set_rates(self, rates: Mapping[str, float]) -> None:
        self._rates = dict(rates)
        for client in set(self._drivers) - set(rates):
            self._drivers.pop(client).cancel()
        for client in set(rates) - set(self._drivers):
            self._drivers[client] = asyncio.create_task(self._drive(client))

    async def _drive(self, client: str) -> None:
        """Send at the client's rate whether or not answers come, as independent customers do."""
        pool = Client(self._port)
        due = time.monotonic()
        while True:
            due = max(due + random.uniform(0.5, 1.5) / self._rates[client], time.monotonic() - 0.5)
            await asyncio.sleep(due - time.monotonic())
            if len(self._shots) < _MOST_IN_FLIGHT:
                shot = asyncio.create_task(self._shoot(client, pool))
                self._shots.add(shot)
                shot.add_done_callback(self._shots.discard)

    def _tally(self, client: str) -> Tally:
        return self._tallies.setdefault(client, Tally())

    async def _shoot(self, client: str, pool: Client) -> None:
        self._tally(client).sent += 1
        started = time.monotonic()
        try:
            reply = await pool.request("GET", "/", timeout_seconds=_PATIENCE_SECONDS, headers={"x-client": client})
            status = reply.status
        except OSError:  # TimeoutError is one
            status = 0
        self._tally(client).record(status, (time.monotonic() - started) * 1000)

    async def report(self) -> None:
        while True:
            await asyncio.sleep(1 - time.time() % 1)
            window = {client: _as_dict(tally) for client, tally in self._tallies.items()}
            self._tallies.clear()
            print(json.dumps({"at": time.time(), "clients": window}), flush=True)


def _as_dict(tally: Tally) -> dict[str, object]:
    return {name: getattr(tally, name) for name in ("sent", "ok", "denied", "errors", "latencies_ms")}


async def run(port: int) -> None:
    customers = Customers(port)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    reporting = asyncio.create_task(customers.report())
    while line := await commands.readline():
        customers.set_rates(json.loads(line)["rates"])
    reporting.cancel()


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1])))
