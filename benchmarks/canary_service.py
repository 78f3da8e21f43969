"""A service with a cache, a slow path and pauses, for canaries: `python -m benchmarks.canary_service PORT NAME CHANGE`.

Seven requests in ten come from the cache, most others from the store, five in a hundred take the slow path; every two
seconds or so it stands still for a moment, as a collector of garbage makes it, and one request in 200 fails. CHANGE is
what a bad release does to it: `none`, `slower` (everything takes 10 % longer), `tail` (only the slow path does) or
`errors` (one request in a hundred more fails). The times are drawn by lot; what the loop, HAProxy and the machine add
is as it is.
"""

import asyncio
import random
import sys
import time
from dataclasses import dataclass

from deployments.sandbox.wire import Request, Response, json_response, serve

SLOW_SHARE, ERROR_SHARE, ADDED = 0.05, 0.005, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    times: float = 1.0
    slow_times: float = 1.0
    error_share: float = ERROR_SHARE


CHANGES = {
    "none": Behaviour(),
    "slower": Behaviour(times=1 + ADDED),
    "tail": Behaviour(slow_times=1 + ADDED),
    "errors": Behaviour(error_share=ERROR_SHARE + 0.01),
}


def draw_seconds(behaviour: Behaviour) -> float:
    path = random.random()
    if path < SLOW_SHARE:
        seconds = random.lognormvariate(-2.5, 0.3) * behaviour.slow_times
    elif path < 0.3:
        seconds = random.gammavariate(4.0, 0.005)
    else:
        seconds = random.gammavariate(5.0, 0.001)
    return seconds * behaviour.times


async def _serve(port: int, name: str, behaviour: Behaviour) -> None:
    async def handle(request: Request) -> Response:  # noqa: ARG001 - every request is the same
        await asyncio.sleep(draw_seconds(behaviour))
        failed = random.random() < behaviour.error_share
        return json_response({"instance": name}, 500 if failed else 200)

    server = await serve(handle, port)
    async with server:
        while True:
            await asyncio.sleep(random.expovariate(0.5))
            time.sleep(random.uniform(0.005, 0.02) * behaviour.times)  # the whole process stands still


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2], CHANGES[sys.argv[3]]))
