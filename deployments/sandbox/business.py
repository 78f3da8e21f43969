"""What the shop does with a customer's request, service by service."""

import asyncio
import random
import resource
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from deployments.sandbox.layout import Layout
from deployments.sandbox.settings import Settings
from deployments.sandbox.wire import Client

Outcome = tuple[int, str]  # status, one sentence
Calls = Mapping[str, Client]  # by service, through HAProxy's internal frontends
DEPENDENCIES: Mapping[str, tuple[str, ...]] = {"storefront": ("checkout", "catalog"), "checkout": ("payment",)}


def open_calls(layout: Layout, settings: Settings) -> Calls:
    """The settings say where each dependency is asked; 0 is the load balancer's own frontend."""
    needed = DEPENDENCIES.get(settings.service, ())
    return {name: Client(settings.values[f"{name}_port"] or layout.port(f"fe_{name}")) for name in needed}


class Storefront:
    """Renders a page with a few workers, asks checkout and catalog for its parts; a long queue hurts everybody."""

    def __init__(self, settings: Settings, calls: Calls) -> None:
        self._settings = settings
        self._calls = calls
        self._workers = asyncio.Semaphore(settings.values["workers"])
        self._waiting = 0

    async def __call__(self) -> Outcome:
        if self._waiting >= self._settings.values["queue_limit"]:
            return 503, f"queue is full: {self._waiting} requests wait"
        self._waiting += 1
        try:
            async with self._workers:
                await asyncio.sleep(self._settings.seconds("render_ms"))
        finally:
            self._waiting -= 1
        parts = [self._part(service) for service in DEPENDENCIES["storefront"]]
        if self._settings.values["coupons"]:
            parts.append(self._part("catalog", "/coupons"))
        outcomes = await asyncio.gather(*parts)
        failed = [text for status, text in outcomes if status != 200]
        return (500, "; ".join(failed)) if failed else (200, "page rendered")

    async def _part(self, service: str, path: str = "/") -> Outcome:
        patience = self._settings.seconds(f"{service}_timeout_ms")
        return await call(self._calls[service], service, patience, path=path)


class Checkout:
    """Takes an order: own work, then payment, tried again when it takes too long."""

    def __init__(self, settings: Settings, calls: Calls) -> None:
        self._settings = settings
        self._calls = calls
        self._second, self._taken = 0, 0  # the present second, and the orders taken in it

    async def __call__(self) -> Outcome:
        return self._refusal() or await self._take_order()

    def _refusal(self) -> Outcome | None:
        values, second = self._settings.values, int(time.monotonic())
        self._second, self._taken = second, self._taken + 1 if second == self._second else 1
        if self._taken > values["orders_per_second"]:
            return 503, f"more than {values['orders_per_second']} orders a second"
        if memory_mb() > values["memory_mb"]:
            return 500, f"out of memory: {memory_mb()} MB of {values['memory_mb']} MB"
        if int(f"{datetime.now(UTC):%Y%m%d}") > values["certificate_until"]:
            return 500, f"the certificate ended on {values['certificate_until']}"
        return None

    async def _take_order(self) -> Outcome:
        await asyncio.sleep(self._settings.seconds("work_ms"))
        outcome: Outcome = (500, "payment was not tried")
        for _ in range(self._settings.values["retries"] + 1):
            outcome = await call(self._calls["payment"], "payment", self._settings.seconds("payment_timeout_ms"))
            if outcome[0] != 504:
                break
        return (200, "order taken") if outcome[0] == 200 else (500, outcome[1])


class Payment:
    """Waits for the bank."""

    def __init__(self, settings: Settings, calls: Calls) -> None:  # noqa: ARG002 - every business is made alike
        self._settings = settings

    async def __call__(self) -> Outcome:
        await asyncio.sleep(random.uniform(self._settings.seconds("fastest_ms"), self._settings.seconds("slowest_ms")))
        return 200, "paid"


class Catalog:
    """Looks products up."""

    def __init__(self, settings: Settings, calls: Calls) -> None:  # noqa: ARG002 - every business is made alike
        self._settings = settings

    async def __call__(self) -> Outcome:
        await asyncio.sleep(self._settings.seconds("work_ms"))
        return 200, f"{self._settings.values['page_size']} products"


BUSINESSES: Mapping[str, Callable[[Settings, Calls], Callable[[], Awaitable[Outcome]]]] = {
    "storefront": Storefront,
    "checkout": Checkout,
    "payment": Payment,
    "catalog": Catalog,
}


async def call(client: Client, service: str, timeout_seconds: float, *, path: str = "/") -> Outcome:
    """Who answers in a service's place has answered nothing."""
    try:
        reply = await client.request("GET", path, timeout_seconds=timeout_seconds)
    except TimeoutError:
        return 504, f"{service} gave no answer within {timeout_seconds * 1000:.0f} ms"
    except OSError as error:
        return 502, f"{service} cannot be reached: {error}"
    if reply.status == 200 and f'"instance": "{service}-'.encode() not in reply.body:
        return 502, f"somebody else answers where {service} is asked"
    return reply.status, f"{service} answered {reply.status}"


def memory_mb() -> int:
    """What this process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 2**20
