"""The trouble that the shop can be given: one entry per fault, each with its parameters, effect and way back."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from deployments.sandbox import deploy
from deployments.sandbox.layout import Layout
from deployments.sandbox.misconfigurations import misconfigure, mistake_of, put_right
from quell.incidents.errors import InvalidInput

Params = Mapping[str, Any]
_LONGEST_SECONDS = 3600


class Shop(Protocol):
    """What a fault may lay hands on."""

    @property
    def layout(self) -> Layout: ...

    def kill(self, instance: str) -> None: ...

    async def restart(self, instance: str) -> None: ...

    def set_surge(self, factor: float) -> None: ...

    def set_client(self, client: str, rate: float) -> None:
        """Add a client to the load; rate 0 takes it away."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    default: float
    low: float
    high: float


Parameter = str | bool | Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`inject` returns what is worth showing (a commit, say); `target` names the parameter that tells two apart."""

    meaning: str
    parameters: Mapping[str, Parameter]
    inject: Callable[[Shop, Params], Awaitable[dict[str, Any]]]
    clear: Callable[[Shop, Params], Awaitable[None]]
    target: str = "instance"


@dataclass(slots=True, kw_only=True)
class Active:
    name: str
    params: Params
    since: float
    until: float
    details: dict[str, Any] = field(default_factory=dict)


def _switch(shop: Shop, params: Params, **faults: float) -> Awaitable[dict[str, Any]]:
    url = shop.layout.url(shop.layout.instance(params["instance"]).name)
    body = {**faults, "seconds": params["seconds"]}
    return asyncio.to_thread(deploy.exchange, "POST", f"{url}/admin/faults", body)


async def _inject_errors(shop: Shop, params: Params) -> dict[str, Any]:
    await _switch(shop, params, error_share=params["share"])
    return {}


async def _inject_latency(shop: Shop, params: Params) -> dict[str, Any]:
    await _switch(shop, params, latency_ms=params["latency_ms"])
    return {}


async def _inject_cpu(shop: Shop, params: Params) -> dict[str, Any]:
    await _switch(shop, params, cpu_share=params["share"])
    return {}


async def _clear_switch(shop: Shop, params: Params) -> None:
    await _switch(shop, params)


async def _inject_bad_config(shop: Shop, params: Params) -> dict[str, Any]:
    values = {"payment_timeout_ms": int(params["payment_timeout_ms"])}
    return await asyncio.to_thread(misconfigure, shop.layout, params, values, "fail over faster when payment is slow")


async def _clear_bad_config(shop: Shop, params: Params) -> None:
    values = {"payment_timeout_ms": int(params["payment_timeout_ms"])}
    await asyncio.to_thread(put_right, shop.layout, params["instance"], values)


async def _inject_mistake(shop: Shop, params: Params) -> dict[str, Any]:
    mistake = mistake_of(params["mistake"])
    if (service := shop.layout.instance(params["instance"]).service) != mistake.service:
        raise InvalidInput(
            f"fault misconfiguration: {params['mistake']} is a mistake in a file of {mistake.service}, and "
            f"{params['instance']} is one of {service}"
        )
    values = mistake.values(shop.layout)
    return await asyncio.to_thread(misconfigure, shop.layout, params, values, mistake.summary)


async def _clear_mistake(shop: Shop, params: Params) -> None:
    values = mistake_of(params["mistake"]).values(shop.layout)
    await asyncio.to_thread(put_right, shop.layout, params["instance"], values)


async def _inject_surge(shop: Shop, params: Params) -> dict[str, Any]:
    shop.set_surge(params["factor"])
    return {}


async def _clear_surge(shop: Shop, _: Params) -> None:
    shop.set_surge(1.0)


async def _inject_noisy_client(shop: Shop, params: Params) -> dict[str, Any]:
    shop.set_client(params["client"], params["rate"])
    return {}


async def _clear_noisy_client(shop: Shop, params: Params) -> None:
    shop.set_client(params["client"], 0)


async def _inject_dependency_down(shop: Shop, params: Params) -> dict[str, Any]:
    instances = [i.name for i in shop.layout.of_service(params["service"])]
    for instance in instances:
        shop.kill(instance)
    return {"killed": instances}


async def _clear_dependency_down(shop: Shop, params: Params) -> None:
    await asyncio.gather(*(shop.restart(i.name) for i in shop.layout.of_service(params["service"])))


_SECONDS = Range(default=600, low=1, high=_LONGEST_SECONDS)
FAULTS: Mapping[str, Fault] = {
    "errors": Fault(
        meaning="an instance answers a share of its requests with 500",
        parameters={"instance": "checkout-2", "share": Range(default=0.6, low=0, high=1), "seconds": _SECONDS},
        inject=_inject_errors,
        clear=_clear_switch,
    ),
    "latency": Fault(
        meaning="an instance takes longer for every request",
        parameters={
            "instance": "checkout-2",
            "latency_ms": Range(default=400, low=1, high=10000),
            "seconds": _SECONDS,
        },
        inject=_inject_latency,
        clear=_clear_switch,
    ),
    "cpu": Fault(
        meaning="an instance burns a share of a core",
        parameters={"instance": "checkout-2", "share": Range(default=0.8, low=0.05, high=0.95), "seconds": _SECONDS},
        inject=_inject_cpu,
        clear=_clear_switch,
    ),
    "bad-config": Fault(
        meaning="a commit gives a checkout instance a payment timeout that is far too short, and it is deployed",
        parameters={
            "instance": "checkout-2",
            "payment_timeout_ms": Range(default=8, low=1, high=10000),
            "announce": True,
            "seconds": _SECONDS,
        },
        inject=_inject_bad_config,
        clear=_clear_bad_config,
    ),
    "misconfiguration": Fault(
        meaning="a commit makes one of ten mistakes in the file of an instance, and it is deployed",
        parameters={"instance": "checkout-2", "mistake": "wrong-port", "announce": True, "seconds": _SECONDS},
        inject=_inject_mistake,
        clear=_clear_mistake,
    ),
    "surge": Fault(
        meaning="every client sends a multiple of its usual traffic",
        parameters={"factor": Range(default=4, low=0, high=20), "seconds": _SECONDS},
        inject=_inject_surge,
        clear=_clear_surge,
        target="",
    ),
    "noisy-client": Fault(
        meaning="one more client sends far more than all others together",
        parameters={"client": "batch-importer", "rate": Range(default=200, low=1, high=1000), "seconds": _SECONDS},
        inject=_inject_noisy_client,
        clear=_clear_noisy_client,
        target="client",
    ),
    "dependency-down": Fault(
        meaning="all instances of a service are killed",
        parameters={"service": "payment", "seconds": _SECONDS},
        inject=_inject_dependency_down,
        clear=_clear_dependency_down,
        target="service",
    ),
}


def check_params(name: str, given: Params) -> dict[str, Any]:
    """The fault's parameters with defaults filled in. Raises InvalidInput naming parameter, value and limit."""
    if name not in FAULTS:
        raise InvalidInput(f"fault {name!r} does not exist; there are {', '.join(FAULTS)}")
    known = FAULTS[name].parameters
    if unknown := set(given) - set(known):
        raise InvalidInput(f"fault {name} does not know {', '.join(sorted(unknown))}; it knows {', '.join(known)}")
    return {key: _check(name, key, wanted, given.get(key)) for key, wanted in known.items()}


def _check(name: str, key: str, wanted: Parameter, value: object) -> object:
    if not isinstance(wanted, Range):
        value = wanted if value is None else value
        if type(value) is not type(wanted):
            raise InvalidInput(f"fault {name}: {key} is {value!r}, must be like {wanted!r}")
        return value
    if value is None:
        return wanted.default
    if isinstance(value, bool) or not isinstance(value, int | float) or not wanted.low <= value <= wanted.high:
        raise InvalidInput(f"fault {name}: {key} is {value!r}, must be a number from {wanted.low} to {wanted.high}")
    return value


class ActiveFaults:
    """The faults in force; each is cleared on request or when its time is over."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._active: dict[tuple[str, str], Active] = {}
        self._lock = asyncio.Lock()

    def show(self) -> list[dict[str, Any]]:
        return [
            {"name": a.name, "params": dict(a.params), "since": a.since, "until": a.until, **a.details}
            for a in self._active.values()
        ]

    async def inject(self, name: str, given: Params) -> dict[str, Any]:
        """Replaces the same fault on the same target. Raises QuellError."""
        params = check_params(name, given)
        async with self._lock:
            now = time.time()
            active = Active(name=name, params=params, since=now, until=now + params["seconds"])
            active.details = await FAULTS[name].inject(self._shop, params)
            self._active[name, str(params.get(FAULTS[name].target, ""))] = active
            return {"name": name, "params": params, "since": now, "until": active.until, **active.details}

    async def clear(self, name: str, target: str = "") -> int:
        """Clear the fault (on one target, or all of that name); returns how many were in force. Raises QuellError."""
        check_params(name, {})
        async with self._lock:
            keys = [key for key in self._active if key[0] == name and target in ("", key[1])]
            for key in keys:
                await FAULTS[name].clear(self._shop, self._active[key].params)
                del self._active[key]
            return len(keys)

    async def expire(self) -> None:
        """Runs for ever: ends what is over."""
        while True:
            await asyncio.sleep(0.5)
            for (name, target), active in list(self._active.items()):
                if active.until <= time.time():
                    await self.clear(name, target)
