"""What fixes are killed on: a real repository, instances that are processes, a real HAProxy, a person who commits."""

import csv
import re
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fix_remote import remote_of
from deployments.sandbox.ports import free_port
from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.incidents.matcher import parse_matchers
from quell.incidents.series import SeriesMatrix
from quell.incidents.service import Catalog, ConfigRepository, Instance, Service
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.response.autonomy import Autonomy
from quell.response.fix_approval import FixPolicy, Undoing
from quell.response.playbook import ApprovalPolicy, FleetLimits, Limits, Playbook, RecoveryRule, StepTemplate
from tasks.lane_journal import BACKEND_RESPONSES, RESPONSES
from tasks.resources import Resources

BACKEND = "be_shop"
INSTANCES = tuple(f"shop-{n}" for n in (1, 2, 3))
SCRIPT = Path(__file__).with_name("fix_service.py")
GOOD = "payment_timeout_ms: 800\nretries: 1\nname: {name}\n\n# limits\n\nworkers: 4\n"
PYTHON = (sys.executable, "-S", "-E", str(SCRIPT))
_START_SECONDS = 15.0
_STOP = """#!/bin/sh
# stands still in the middle of git where it is told to
[ "$FIX_KILLS_STOP" = "$1" ] || exit 0
[ -e "$FIX_KILLS_MARK" ] && exit 0
case "$1" in prepared|committed) grep -q refs/heads/ || exit 0 ;; esac
echo $$ "$1" > "$FIX_KILLS_MARK.new" && mv "$FIX_KILLS_MARK.new" "$FIX_KILLS_MARK"
[ "$FIX_KILLS_MODE" = orphan ] && exec sleep 0.6
exec sleep 60
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where everything is. `later` are the seconds by which the clock of Quell is ahead."""

    store: str
    folder: Path
    socket: str
    port: int  # of HAProxy
    ports: Mapping[str, int]  # of the instances
    later: float = 0.0
    prometheus: str = ""
    remote: str = ""  # address of the repository's remote `origin`, where the branch counts then
    kind: str = "instance"  # whose file the fix is about: of one instance, of colours, or of all instances (pilot)

    @property
    def repository(self) -> Path:
        return self.folder / "shop"

    @property
    def mark(self) -> Path:
        """Is written by whoever stands still in the middle of a command."""
        return self.folder / "stands-still"

    def broken(self, instance: str) -> Path:
        return self.folder / f"broken-{instance}"

    def running(self, instance: str) -> str:
        connection = HTTPConnection("127.0.0.1", self.ports[instance], timeout=5)
        connection.request("GET", "/running")
        text = connection.getresponse().read().decode()
        connection.close()
        return text


def file_of(instance: str) -> str:
    return f"services/{instance}.yaml"


@contextmanager
def ground_of(store: str, folder: Path, *, more: str = "", has_remote: bool = False) -> Generator[Ground]:
    """Everything up; it ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = {name: free_port() for name in INSTANCES}
    servers = "\n".join(f"  server {name} 127.0.0.1:{port} weight 100" for name, port in ports.items())
    with TrialProxy(folder / "proxy", more=f"backend {BACKEND}\n{servers}\n{more}", route=BACKEND) as proxy:
        ground = Ground(store=store, folder=folder, socket=proxy.socket, port=proxy.port, ports=ports)
        make_repository(ground)
        remote = remote_of(ground.repository) if has_remote else nullcontext("")
        with remote as address, serving(ground, {name: file_of(name) for name in INSTANCES}):
            yield replace(ground, remote=address)


def make_repository(ground: Ground, files: Mapping[str, str] | None = None) -> None:
    """With hooks and a filter that can stop git in the middle: while it writes files, and while it moves a branch."""
    folder = ground.repository
    (folder / "services").mkdir(parents=True)
    git(folder, "init", "--quiet", "-b", "main")
    for file, text in (files or {file_of(name): GOOD.format(name=name) for name in INSTANCES}).items():
        (folder / file).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "first")
    git(folder, "pack-refs", "--all")  # as in every clone
    stop = ground.folder / "stop.sh"
    stop.write_text(_STOP)
    stop.chmod(0o755)
    hook = folder / ".git/hooks/reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f'#!/bin/sh\nexec "{stop}" "$1"\n')
    hook.chmod(0o755)
    (folder / ".git/info").mkdir(exist_ok=True)
    (folder / ".git/info/attributes").write_text("*.yaml filter=stop\n")
    git(folder, "config", "filter.stop.smudge", f'"{stop}" smudge </dev/null; cat')
    git(folder, "config", "filter.stop.clean", "cat")


def git(folder: Path, *arguments: str) -> str:
    """As a person. Raises CalledProcessError."""
    command = ["git", "-c", "user.name=dana", "-c", "user.email=dana@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def commit_and_deploy(ground: Ground, texts: Mapping[str, str], subject: str) -> str:
    """A person changes files of the working tree and puts them into force; the commit's id.

    Raises CalledProcessError where somebody else was faster; it is as if nothing was done then.
    """
    for file, text in texts.items():
        (ground.repository / file).write_text(text)
    git(ground.repository, "add", "--", *texts)
    git(ground.repository, "commit", "--quiet", "-m", subject, "--", *texts)
    if ground.remote:
        try:
            git(ground.repository, "push", "--quiet", "origin", "main")
        except subprocess.CalledProcessError:
            git(ground.repository, "reset", "--quiet", "--keep", "HEAD^")
            raise
    reload(ground, [name for name in INSTANCES if file_of(name) in texts])
    return git(ground.repository, "rev-parse", "HEAD")


def reload(ground: Ground, names: Iterable[str]) -> None:
    for name in names:
        subprocess.run([*PYTHON, "reload", str(ground.ports[name])], check=True, timeout=15)


def set_key(text: str, key: str, value: int) -> str:
    return re.sub(rf"^{key}: \d+", f"{key}: {value}", text, flags=re.MULTILINE)


class ProxyMetrics:
    """What HAProxy's exporter would say, asked at HAProxy; the users' signal is always well."""

    def __init__(self, socket_path: str) -> None:
        self._client = RuntimeClient(socket_path, timedelta(seconds=5))

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:  # noqa: ARG002
        labels: list[dict[str, str]] = []
        values: list[float] = []
        proxy = query.partition('proxy="')[2].rstrip('"}')
        is_whole = query.startswith(BACKEND_RESPONSES)
        if query.startswith((RESPONSES, BACKEND_RESPONSES)):
            for row in csv.DictReader(self._client.ask("show", "stat").removeprefix("# ").splitlines()):
                if row["pxname"] == proxy and (row["svname"] == "BACKEND") is is_whole:
                    for code in ("2xx", "5xx"):
                        labels.append({"code": code} | ({} if is_whole else {"server": row["svname"]}))
                        values.append(float(row[f"hrsp_{code}"] or 0))
        return SeriesMatrix(
            timestamps=np.array([time.time()]) if labels else np.empty(0),
            values=np.array([values]) if labels else np.empty((0, 0)),
            labels=tuple(labels),
        )

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:  # noqa: ARG002
        times = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        return SeriesMatrix(timestamps=times, values=np.zeros((len(times), 1)), labels=({},))


def resources(ground: Ground) -> Resources:
    proxy = HAProxyActuator(
        socket=ground.socket, maps=ground.folder / "proxy/maps", state_file=ground.folder / "proxy/server-state"
    )
    metrics: Any = ProxyMetrics(ground.socket)
    return Resources(
        config=config_of(ground),
        store=SqlStore(ground.store),
        metrics=metrics,
        actuators={"haproxy": proxy},
        clock=lambda: datetime.now(UTC) + timedelta(seconds=ground.later),
    )


def config_of(ground: Ground) -> Config:
    """A shop of three instances, each with its file; the playbook isolates one without asking."""
    instances = tuple(Instance(name=name, service="shop", server=f"{BACKEND}/{name}") for name in INSTANCES)
    repository = ConfigRepository(
        path=str(ground.repository),
        remote="origin" if ground.remote else "",
        files={name: file_of(name) for name in INSTANCES},
        validate=("grep", "-q", "payment_timeout_ms", "{file}"),
        reload=("sh", "-c", 'exec "$@" "$(cat "$0")"', str(ground.folder / "port-of-{instance}"), *PYTHON, "reload"),
    )
    for name, port in ground.ports.items():
        (ground.folder / f"port-of-{name}").write_text(str(port))
    service = Service(name="shop", team="shop", is_user_facing=True, instances=instances, repository=repository)
    signal = Signal(
        name="errors",
        query="q",
        kind=SignalKind.ERROR_RATIO,
        direction=Direction.HIGH,
        unit="ratio",
        step=timedelta(seconds=1),
        is_user_facing=True,
    )
    book = Playbook(
        name="isolate",
        description="Drain one server.",
        owner="platform",
        matchers=parse_matchers('{service=~".+"}'),
        target_kind="instance",
        steps=(StepTemplate(actuator="haproxy", action="isolate", target="{server}", backoff=timedelta(0)),),
        recovery=RecoveryRule(signal="errors", below=0.02, hold=timedelta(milliseconds=1)),
        approval=ApprovalPolicy(above_capacity_share=1.0),
        limits=Limits(capacity_floor=0.3, cooldown=timedelta(0), per_hour=100_000),
        autonomy=Autonomy(successes=0),
    )
    return Config(
        folder=ground.folder,
        connections=Connections(store=ground.store, prometheus=ground.prometheus),
        catalog=Catalog(services={"shop": service}),
        signals={"errors": signal},
        playbooks={book.name: book},
        fleet_limits=FleetLimits(most_active=1000, per_hour=1_000_000, evidence_kinds=0),
        fixes=FixPolicy(undo=Undoing.AUTOMATIC),
    )


@contextmanager
def serving(ground: Ground, files: Mapping[str, str]) -> Iterator[None]:
    """The instances as processes, each with its file."""
    processes = [
        subprocess.Popen(
            [*PYTHON, "serve", str(ground.ports[name]), str(ground.repository / file), str(ground.broken(name)), name],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, file in files.items()
    ]
    try:
        for port in ground.ports.values():
            _wait_until_up(port)
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=10)


def _wait_until_up(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
