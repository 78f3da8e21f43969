"""Whether HAProxy has what the configuration names: servers, maps, routes in two colours, the window of limits."""

import math
from collections.abc import Iterator, Mapping

from deployments.cli.finding import Finding
from quell.adapters.actuators.haproxy_runtime import RuntimeClient, ServerState
from quell.adapters.actuators.haproxy_standing import StandingMap
from quell.config.config import Config
from quell.config.problem import did_you_mean
from quell.incidents.errors import InvalidInput
from quell.incidents.service import BlueGreen, Instance
from quell.resolution.rollout import MOST_WEIGHT

_ROUNDING = 1e-9
_MAPS_OF_ACTION = {
    "throttle": ("limits.map",),
    "throttle_all": ("knobs.map",),
    "shed": ("knobs.map",),
    "switch": ("backends.map",),
    "split": ("splits.map",),
    "adaptive": ("adaptive.map", "knobs.map"),
}


def check_haproxy(config: Config) -> Iterator[Finding]:
    """Whether HAProxy knows every instance's server, and uses the maps that the playbooks change."""
    c = config.connections
    if not c.haproxy_socket:
        return
    client = RuntimeClient(c.haproxy_socket, c.timeout)
    servers = client.servers()
    for instance in config.catalog.instances.values():
        if instance.server is None:
            continue  # it cannot be isolated, and `quell mitigate` says so
        if instance.server in servers:
            state = servers[instance.server]
            text = f"{instance.server} is {state.admin_state}, weight {state.weight}"
            coarse = _too_coarse(config, instance, servers)
            yield Finding(part="haproxy", subject=instance.name, is_ok=not coarse, text=text + coarse)
        else:
            text = f'server "{instance.server}" does not exist{did_you_mean(instance.server, servers)}'
            yield Finding(part="haproxy", subject=instance.name, is_ok=False, text=text)
    yield from _check_maps(config, frozenset(client.map_ids()))
    yield from _check_colours(config, client)
    yield from _check_standing(config, client)


def _too_coarse(config: Config, instance: Instance, servers: Mapping[str, ServerState]) -> str:
    """Why weights at HAProxy, whole numbers, cannot give the shares asked for; then more would be given without a word.

    HAProxy's own default, a weight of 1, knows no share between none and all.
    """
    full = servers[str(instance.server)].initial_weight
    backend = str(instance.server).partition("/")[0]
    peers = sum(s.initial_weight for name, s in servers.items() if name.partition("/")[0] == backend) - full
    shares = [(min(b.release.shares), f"release of {b.name}") for b in config.playbooks.values() if b.release.shares]
    wanted = [(full * share, share, what) for share, what in shares]
    service = config.catalog.services[instance.service]
    if service.repository is not None and service.blue_green is None and peers:
        share = min(config.canary.shares)
        wanted.append((peers * share / (1 - share) if share < 1 else full, share, "canary"))
    for weight, share, what in wanted:
        if full and weight < 1 - _ROUNDING:
            least = min(math.ceil(full / weight), MOST_WEIGHT)
            return (
                f": too little for a share of {share:.2g} ({what}); write `weight {max(least, 100)}` at all servers of "
                f"{backend} in haproxy.cfg, or ask for larger shares"
            )
    return ""


def _check_maps(config: Config, used: frozenset[str]) -> Iterator[Finding]:
    folder = config.connections.haproxy_maps
    steps = [step for book in config.playbooks.values() for step in book.steps if step.actuator == "haproxy"]
    needed = {name for step in steps for name in _MAPS_OF_ACTION.get(step.action, ())}
    for name in sorted(needed | ({"standing.map"} if config.standing else set())):
        file = folder / name if folder else None
        if name not in used:
            text = f"HAProxy uses no {name}; it uses {', '.join(sorted(used)) or 'no map'}"
        elif file is not None and not file.is_file():
            text = f"{file} does not exist; HAProxy would forget the limit at its next reload"
        else:
            text = ""
        yield Finding(part="haproxy", subject=name, is_ok=not text, text=text or "in use")


def _check_colours(config: Config, client: RuntimeClient) -> Iterator[Finding]:
    """Whether the route of each service in two colours is there to be switched and to be split."""
    maps = client.map_ids()
    for service in config.catalog.services.values():
        colours = service.blue_green
        if colours is None:
            continue
        for name in ("backends.map", "splits.map"):
            routes = client.map_entries(maps[name]) if name in maps else {}
            wrong = _wrong_route(colours, name, routes)
            said = wrong or f"route {colours.route} is there"
            yield Finding(part="haproxy", subject=f"{service.name}, {name}", is_ok=not wrong, text=said)


def _wrong_route(colours: BlueGreen, name: str, routes: Mapping[str, str]) -> str:
    if colours.route not in routes:
        return f'{name} has no route "{colours.route}"{did_you_mean(colours.route, routes)}: see docs/fixes.md'
    if name == "backends.map" and routes[colours.route] not in colours.backends:
        return f"route {colours.route} is served by {routes[colours.route]}, not by {' or '.join(colours.backends)}"
    return ""


def _check_standing(config: Config, client: RuntimeClient) -> Iterator[Finding]:
    """Whether HAProxy counts over the window that standing limits are learned for."""
    if config.standing is None:
        return
    try:
        StandingMap(client, config.connections.haproxy_maps).check_window(config.standing.window)
        yield Finding(part="haproxy", subject="standing limits", is_ok=True, text="counted over their window")
    except InvalidInput as error:
        yield Finding(part="haproxy", subject="standing limits", is_ok=False, text=str(error))
