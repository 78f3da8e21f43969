"""What fixes of a service are tried on whose instances all read one file; each can be reloaded by itself."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from benchmarks.colour_ground import FILE, TEXT, open_incident, put_repository_right
from benchmarks.fix_ground import (
    BACKEND,
    INSTANCES,
    PYTHON,
    Ground,
    config_of,
    free_port,
    git,
    make_repository,
    reload,
    resources,
    serving,
    set_key,
)
from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.config.config import Config
from quell.incidents.incident import IncidentState
from quell.incidents.mitigation import MitigationState
from quell.incidents.service import Catalog, ConfigRepository, Instance, Service
from tasks.effect import apply_mitigation
from tasks.planning import plan_manual
from tasks.record import get_mitigation, move
from tasks.resources import Resources
from tasks.rollback import move_to

PILOT = INSTANCES[-1]  # while nothing is contained: the last that serves
RELOAD = "port-of-{instance}"  # the file in which a reload finds where to send it


@contextmanager
def pilot_ground_of(
    store: str, folder: Path, *, more: str = "", names: tuple[str, ...] = INSTANCES
) -> Generator[Ground]:
    """Everything up. It ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = {name: free_port() for name in names}
    servers = "\n".join(f"  server {name} 127.0.0.1:{port} weight 100" for name, port in ports.items())
    with TrialProxy(folder / "proxy", more=f"backend {BACKEND}\n{servers}\n{more}", route=BACKEND) as proxy:
        ground = Ground(store=store, folder=folder, socket=proxy.socket, port=proxy.port, ports=ports, kind="pilot")
        make_repository(ground, {FILE: TEXT})
        for name, port in ports.items():
            (folder / RELOAD.format(instance=name)).write_text(str(port))
        with serving(ground, dict.fromkeys(names, FILE)):
            yield ground


def pilot_resources(ground: Ground, *, can_tell: bool = True) -> Resources:
    """`can_tell`: whether an instance can be asked what it runs."""
    return replace(resources(ground), config=_config(ground, can_tell=can_tell))


def _config(ground: Ground, *, can_tell: bool) -> Config:
    def command(verb: str) -> tuple[str, ...]:
        return ("sh", "-c", 'exec "$@" "$(cat "$0")"', str(ground.folder / RELOAD), *PYTHON, verb)

    repository = ConfigRepository(
        path=str(ground.repository),
        files={"shop": FILE},
        validate=("grep", "-q", "payment_timeout_ms", "{file}"),
        reload=command("reload"),
        running=command("running") if can_tell else (),
        one_by_one=True,
    )
    instances = tuple(
        Instance(name=name, service="shop", server=f"{BACKEND}/{name}", url=f"http://127.0.0.1:{port}")
        for name, port in ground.ports.items()
    )
    service = Service(name="shop", team="shop", is_user_facing=True, instances=instances, repository=repository)
    return replace(config_of(ground), catalog=Catalog(services={"shop": service}))


def break_all(ground: Ground, value: int = 5) -> str:
    """A person's bad commit, in force on every instance; the commit's id."""
    deploy(ground, "payment_timeout_ms", value, "shop: fail faster")
    return git(ground.repository, "rev-parse", "HEAD")


def deploy(ground: Ground, key: str, value: int, subject: str) -> None:
    """A person changes the file and puts it into force everywhere. Raises CalledProcessError."""
    text = set_key((ground.repository / FILE).read_text(), key, value)
    (ground.repository / FILE).write_text(text)
    git(ground.repository, "commit", "--quiet", "-m", subject, "--", FILE)
    reload(ground, ground.ports)


def drain(res: Resources, incident: str, instance: str) -> str:
    """Contain the incident by isolating one instance, which helps; the mitigation's id."""
    planned = plan_manual(res, "isolate", "shop", instance, incident, "bob", "test")
    apply_mitigation(res, planned.id)
    with res.store.writing() as tx:
        current = get_mitigation(tx, planned.id)
        move(tx, current, MitigationState.EFFECTIVE, now=res.clock(), by="quell", why="users are well")
    move_to(res, incident, IncidentState.CONTAINED, "isolated")
    return planned.id


def begin(ground: Ground, res: Resources, *, drained: str = "") -> str:
    """The bad commit serves everywhere, and one instance is out where it is named; the incident."""
    incident = open_incident(res, break_all(ground))
    if drained:
        drain(res, incident, drained)
    return incident


def servers_of(ground: Ground) -> Mapping[str, tuple[str, int]]:
    """Instance -> administrative state and weight."""
    found = RuntimeClient(ground.socket, timedelta(seconds=5)).servers()
    return {name: (found[f"{BACKEND}/{name}"].admin_state, found[f"{BACKEND}/{name}"].weight) for name in ground.ports}


def runs_of(ground: Ground) -> Mapping[str, str]:
    """Instance -> the first line of what it runs."""
    return {name: ground.running(name).splitlines()[0] for name in ground.ports}


def cut_off(ground: Ground, instance: str) -> None:
    """It can neither be reloaded nor asked what it runs, until it is joined again."""
    (ground.folder / RELOAD.format(instance=instance)).write_text("1")  # nobody listens there


def join(ground: Ground, instance: str) -> None:
    (ground.folder / RELOAD.format(instance=instance)).write_text(str(ground.ports[instance]))


def put_right(ground: Ground) -> None:
    """Everything as it was at first, and nothing left over."""
    put_repository_right(ground, INSTANCES)
    for name in INSTANCES:
        join(ground, name)
    reload(ground, INSTANCES)
    client = RuntimeClient(ground.socket, timedelta(seconds=5))
    for name in INSTANCES:
        client.order("set", "server", f"{BACKEND}/{name}", "state", "ready")
        client.order("set", "weight", f"{BACKEND}/{name}", "100")
