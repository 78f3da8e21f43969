"""What is wrong after a sequence: where git, what runs, HAProxy and the record do not agree, and what is left over."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from benchmarks.fix_ground import BACKEND, INSTANCES, Ground, file_of, git
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import IncidentId, IncidentState
from quell.incidents.timeline import verify_chain
from tasks.record import get_mitigation
from tasks.resources import Resources


@dataclass(slots=True, kw_only=True)
class Sequence:
    """One sequence as it went; `faults` say in words what was wrong at its end."""

    number: int
    kind: str
    act: str
    instance: str
    incident: str = ""
    mitigation: str = ""
    bad: str = ""
    kills: list[str] = field(default_factory=list[str])
    settled_s: float | None = None
    theirs: int | None = None  # what a person wrote into the bad line
    acted: bool = False
    broken: list[str] = field(default_factory=list[str])  # what did not hold right after a kill
    faults: tuple[str, ...] = ()

    @property
    def story(self) -> str:
        kills = ", ".join(self.kills) or "no kill"
        return f"sequence {self.number} ({self.kind}, a person: {self.act}; killed at {kills})"


def faults_of(ground: Ground, res: Resources, one: Sequence) -> Iterator[str]:
    yield from _differences(ground, res, one)
    yield from _remote_faults(ground)
    yield from left_over(ground)
    yield from faults_of_record(ground, res, one)
    with res.store.reading() as tx:
        holds = get_mitigation(tx, one.mitigation).is_holding
    yield from _proxy_faults(ground, one, holds)


def faults_of_record(ground: Ground, res: Resources, one: Sequence) -> Iterator[str]:
    """What the record says of the sequence's incident and fixes, and how often git has them."""
    fixes = fixes_of(res, one)
    with res.store.reading() as tx:
        incident = tx.incidents.get(IncidentId(one.incident))
        if verify_chain(tx.timeline.entries(after_id=0), written=tx.timeline.written()):
            yield "chain: the timeline's chain is broken"
    for fix in fixes:
        if fix.state not in (FixState.PROMOTED, FixState.REVERTED) or (fix.taking_back and one.act != "same line"):
            yield f"unfinished: {fix.id} is {fix.state} ({fix.taking_back})"
    if incident is None or incident.state is IncidentState.RESOLVING:
        yield f"lost: nobody goes on with {one.incident}"
    elif (incident.state is IncidentState.RESOLVED) is not stands(fixes):
        yield f"lost: {one.incident} is {incident.state} and its fix {'stands' if stands(fixes) else 'does not'}"
    yield from double_commits(ground, fixes)


def _differences(ground: Ground, res: Resources, one: Sequence) -> Iterator[str]:
    for name in INSTANCES:
        committed = git(ground.repository, "show", f"main:{file_of(name)}")
        if ground.running(name).strip() != committed:
            yield f"differs: {name} does not run what main says"
    text = git(ground.repository, "show", f"main:{file_of(one.instance)}")
    is_good = stands(fixes_of(res, one))
    wanted = one.theirs if one.theirs is not None else 800
    is_right = f"payment_timeout_ms: {wanted}\n" in text
    if is_right is not (is_good or one.theirs is not None):
        yield f"wrong: main says {text.splitlines()[0]}, the fix {'stands' if is_good else 'does not stand'}"


def _remote_faults(ground: Ground) -> Iterator[str]:
    if ground.remote:
        there = git(ground.repository, "ls-remote", "origin", "refs/heads/main").split()[0]
        if there != (here := git(ground.repository, "rev-parse", "main")):
            yield f"differs: main is at {here[:12]}, and at {there[:12]} at the remote"


def left_over(ground: Ground) -> Iterator[str]:
    folder = ground.repository
    if dirt := git(folder, "status", "--porcelain"):
        yield f"left over: the working tree is not clean: {dirt}"
    if (trees := git(folder, "worktree", "list").splitlines())[1:]:
        yield f"left over: working trees {trees[1:]}"
    if (branches := git(folder, "branch", "--format=%(refname:short)").split()) != ["main"]:
        yield f"left over: branches {branches}"
    note = folder / ".git/quell-turn"
    if is_locked(ground) or (note.exists() and note.read_text()):
        yield "left over: a lock of git"
    if any((folder / ".git").glob("quell-trees/*")):
        yield "left over: a folder of a working tree"


def _proxy_faults(ground: Ground, one: Sequence, holds: bool) -> Iterator[str]:
    servers = RuntimeClient(ground.socket, timedelta(seconds=5)).servers()
    for name in INSTANCES:
        found = servers[f"{BACKEND}/{name}"]
        wanted = "drain" if holds and name == one.instance else "ready"
        if (found.admin_state, found.weight) != (wanted, 100):
            yield f"proxy: {name} is {found.admin_state} with weight {found.weight}, the record says {wanted}"


def double_commits(ground: Ground, fixes: list[Fix]) -> Iterator[str]:
    for fix in fixes:
        times = [commits_like(ground, f"^{word}: {fix.id}$") for word in ("Fix", "Undoes")]
        if max(times) > 1:
            yield f"double: {fix.id} was committed {times[0]} times and undone {times[1]} times"


def commits_like(ground: Ground, pattern: str) -> int:
    return len(git(ground.repository, "log", "--format=%H", f"--grep={pattern}", "main").split())


def is_locked(ground: Ground) -> bool:
    folder = ground.repository / ".git"
    return any((*folder.glob("*.lock"), *folder.glob("packed-refs.new"), *(folder / "refs").rglob("*.lock")))


def fixes_of(res: Resources, one: Sequence) -> list[Fix]:
    with res.store.reading() as tx:
        return list(tx.fixes.find({"incident": one.incident}))


def stands(fixes: list[Fix]) -> bool:
    return any(fix.state is FixState.PROMOTED for fix in fixes)


def is_settled(res: Resources, one: Sequence) -> bool:
    with res.store.reading() as tx:
        incident = tx.incidents.get(IncidentId(one.incident))
    ended = all(f.state in (FixState.PROMOTED, FixState.REVERTED) and not f.taking_back for f in fixes_of(res, one))
    return ended and incident is not None and incident.state is not IncidentState.RESOLVING
