"""What fixes of a service in two colours are tried on: a file in git, instances of each colour, a real HAProxy."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from benchmarks.fix_ground import (
    GOOD,
    PYTHON,
    Ground,
    config_of,
    git,
    make_repository,
    reload,
    resources,
    serving,
    set_key,
)
from deployments.sandbox.ports import free_port
from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.adapters.git import GitRepository
from quell.config.config import Config
from quell.incidents.change import Change, ChangeKind
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.service import BlueGreen, Catalog, ConfigRepository, Instance, Service
from quell.incidents.suspect import Suspect
from quell.ports import Transaction
from tasks.resources import Resources

BLUE, GREEN = "be_blue", "be_jade"
COLOURS = {BLUE: ("blue-1", "blue-2"), GREEN: ("jade-1", "jade-2")}
NAMES = tuple(name for names in COLOURS.values() for name in names)
FILE = "services/shop.yaml"
TEXT = GOOD.format(name="shop")
ROUTE = BlueGreen(route="shop", backends=(BLUE, GREEN), probes=("/ready",), keep_warm=timedelta(minutes=10))


@contextmanager
def colour_ground_of(store: str, folder: Path, *, more: str = "") -> Generator[Ground]:
    """Everything up; blue serves. It ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = {name: free_port() for name in NAMES}
    backends = "\n".join(
        f"backend {backend}\n" + "\n".join(f"  server {name} 127.0.0.1:{ports[name]} weight 100" for name in names)
        for backend, names in COLOURS.items()
    )
    with TrialProxy(folder / "proxy", more=f"{backends}\n{more}", route=BLUE) as proxy:
        ground = Ground(store=store, folder=folder, socket=proxy.socket, port=proxy.port, ports=ports, kind="colours")
        make_repository(ground, {FILE: TEXT})
        with serving(ground, dict.fromkeys(NAMES, FILE)):
            yield ground


def colour_resources(ground: Ground, colours: BlueGreen = ROUTE) -> Resources:
    return replace(resources(ground), config=_config(ground, colours))


def _config(ground: Ground, colours: BlueGreen) -> Config:
    """The file is the service's, and a reload is for one instance."""
    for name, port in ground.ports.items():
        (ground.folder / f"port-of-{name}").write_text(str(port))
    port_of = str(ground.folder / "port-of-{instance}")

    def command(verb: str) -> tuple[str, ...]:
        return ("sh", "-c", 'exec "$@" "$(cat "$0")"', port_of, *PYTHON, verb)

    repository = ConfigRepository(
        path=str(ground.repository),
        files={"shop": FILE},
        validate=("grep", "-q", "payment_timeout_ms", "{file}"),
        reload=command("reload"),
        running=command("running"),
    )
    instances = tuple(
        Instance(name=name, service="shop", server=f"{backend}/{name}", url=f"http://127.0.0.1:{ground.ports[name]}")
        for backend, names in COLOURS.items()
        for name in names
    )
    service = Service(
        name="shop",
        team="shop",
        is_user_facing=True,
        instances=instances,
        repository=repository,
        blue_green=colours,
    )
    return replace(config_of(ground), catalog=Catalog(services={"shop": service}))


def break_it(ground: Ground, live: str = BLUE, value: int = 5) -> str:
    """A person's bad commit, in force on the colour that serves; the commit's id."""
    text = set_key((ground.repository / FILE).read_text(), "payment_timeout_ms", value)
    (ground.repository / FILE).write_text(text)
    git(ground.repository, "commit", "--quiet", "-m", "shop: fail faster", "--", FILE)
    reload(ground, COLOURS[live])
    return git(ground.repository, "rev-parse", "HEAD")


def open_incident(res: Resources, commit: str) -> str:
    """An incident with the change that caused it."""
    now = res.clock()
    with res.store.writing() as tx:
        number = tx.next_number("INC")
        change = Change(
            id=f"CHG-{number}",
            kind=ChangeKind.CONFIG,
            service="shop",
            summary="fail faster",
            at=now - timedelta(seconds=100),
            commit=commit,
            received_at=now,
        )
        tx.changes.add(change)
        _add_incident(tx, f"INC-{number}", change, res)
    return f"INC-{number}"


def _add_incident(tx: Transaction, id: str, change: Change, res: Resources) -> None:
    now = res.clock()
    tx.incidents.add(
        Incident(
            id=IncidentId(id),
            state=IncidentState.TRIAGED,
            severity=Severity.CRITICAL,
            title="shop fails",
            service="shop",
            onset_at=now - timedelta(seconds=90),
            opened_at=now,
            updated_at=now,
            opened_because="test",
            opened_by="test",
            changes=(change.id,),
            suspects=(Suspect(node="shop", metric="errors", score=0.9, reason="", change=change.id),),
        )
    )


def route_of(ground: Ground) -> Mapping[str, str]:
    """What the route's two maps say: which backend serves, and what is split off."""
    client = RuntimeClient(ground.socket, timedelta(seconds=5))
    maps = client.map_ids()
    return {name: client.map_entries(maps[f"{name}.map"])["shop"] for name in ("backends", "splits")}


def set_route(ground: Ground, name: str, value: str) -> None:
    """As a person does it: at once, and in the map's file."""
    (ground.folder / f"proxy/maps/{name}.map").write_text(f"shop {value}\n")
    client = RuntimeClient(ground.socket, timedelta(seconds=5))
    client.order("set", "map", client.map_ids()[f"{name}.map"], "shop", value)


def runs(ground: Ground, backend: str) -> set[str]:
    """The first line of what the instances of a colour run."""
    return {ground.running(name).splitlines()[0] for name in COLOURS[backend]}


def break_colour(ground: Ground, backend: str, path: str = "") -> None:
    """Its instances fail for a reason that is not in the file: on this path only, or on all."""
    for name in COLOURS[backend]:
        ground.broken(name).write_text(path)


def put_right(ground: Ground) -> None:
    """Everything as it was at first: blue serves, both run what is committed, and nothing is left over."""
    put_repository_right(ground, NAMES)
    reload(ground, NAMES)
    set_route(ground, "backends", BLUE)
    set_route(ground, "splits", "none:0")


def put_repository_right(ground: Ground, names: Sequence[str]) -> None:
    """The instances fail no more, the service's file is as it was at first, and no lock or branch is left over."""
    folder = ground.repository
    for name in names:
        ground.broken(name).unlink(missing_ok=True)
    for path in (folder / ".git").glob("*.lock"):
        path.unlink()
    git(folder, "reset", "--hard", "--quiet")
    for branch in git(folder, "branch", "--format=%(refname:short)").split():
        if branch != "main":
            GitRepository(folder).forget(branch)
    if (folder / FILE).read_text() != TEXT:
        (folder / FILE).write_text(TEXT)
        git(folder, "commit", "--quiet", "-m", "as at first", "--", FILE)


def committed(ground: Ground) -> str:
    return git(ground.repository, "show", f"main:{FILE}").splitlines()[0]
