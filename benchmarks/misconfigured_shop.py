"""Ten misconfigurations through the whole loop: detected, the change named, mended by a revert, guarded, stopped again.

`python -m benchmarks.misconfigured_shop [--mistakes a,b] [--json]`

Each mistake is committed, deployed and announced in the sandbox as a person would, and is a drill: the real path from
the metrics to the promoted fix, with approvals given as people give them. Then the guard that the fix brought is
accepted with `quell guard accept`, and the same mistake is tried again by a person in a clone of the repository,
through the pre-commit hook of deployments/pipelines: git itself says whether it gets in. The configuration is that of
`benchmarks.drills`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.drilling_shop import DrillingShop, drilling_shop
from benchmarks.guards import HOOK, environment, try_through_the_gate
from benchmarks.misconfigurations import Edit
from benchmarks.report import parser, print_json, print_table
from deployments.sandbox import repository
from deployments.sandbox.misconfigurations import MISTAKES
from quell.incidents.drill import Drill, Mark
from quell.incidents.fix import Fix, FixState
from tasks.guards import guard_records

_PARTS = ("detected", "named", "contained", "mended", "guarded", "stopped")
_ACCEPTS = "alice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One mistake from the first commit to the second attempt; `words` say what is missing."""

    mistake: str
    detected: bool
    named: bool  # the bad commit is the change that the incident's first suspect is accused of, and what is undone
    contained: str  # yes, no, or not asked
    mended: bool  # by the promoted undo of the bad commit
    guarded: bool  # proved and accepted
    stopped: bool  # the same values are refused by the gate
    words: str


def run(only: Sequence[str] = ()) -> list[Outcome]:
    with drilling_shop() as shop:
        return [_make(shop, name, n) for n, name in enumerate(MISTAKES) if not only or name in only]


def _make(shop: DrillingShop, name: str, n: int) -> Outcome:
    mistake, layout = MISTAKES[name], shop.sandbox.layout
    instances = layout.of_service(mistake.service)
    instance = instances[n % len(instances)].name
    print(f"{name} in the file of {instance}", flush=True)
    head = repository.git(layout.repository, "rev-parse", "HEAD")
    drill = shop.hold("misconfiguration", {"instance": instance, "mistake": name})
    if drill is None:
        return Outcome(
            mistake=name,
            detected=False,
            named=False,
            contained="no",
            mended=False,
            guarded=False,
            stopped=False,
            words="the shop did not come to rest before it",
        )
    bad = repository.git(layout.repository, "rev-list", "--reverse", f"{head}..HEAD").split()[0]
    fixes = _fixes(shop, drill)
    undone = [fix for fix in fixes if fix.bad_commit == bad]
    promoted = any(fix.state is FixState.PROMOTED for fix in undone)
    accepted, said = _accept_guards(shop, drill) if promoted else (False, "")
    file = f"services/{layout.settings_file(instance).name}"
    attempt = _try_again(layout.repository, file, mistake.values(layout)) if accepted else None
    words = [fix.canary_result or fix.state for fix in fixes if fix.state is not FixState.PROMOTED] + [said]
    if attempt is not None and attempt.said:
        words.append(attempt.said.splitlines()[0])
    outcome = Outcome(
        mistake=name,
        detected=drill.parts["detected"].mark is Mark.YES,
        named=_accuses(shop, drill, bad) and bool(fixes) and fixes[0].bad_commit == bad,
        contained=str(drill.parts["contained"].mark),
        mended=promoted,
        guarded=accepted,
        stopped=attempt is not None and attempt.is_stopped,
        words="; ".join(word for word in words if word),
    )
    print(f"   -> {' '.join(f'{part}: {getattr(outcome, part)}' for part in _PARTS)} {outcome.words[:200]}", flush=True)
    return outcome


def _fixes(shop: DrillingShop, drill: Drill) -> list[Fix]:
    with shop.res.store.reading() as tx:
        return list(tx.fixes.find({"incident": drill.incident})) if drill.incident else []


def _accuses(shop: DrillingShop, drill: Drill, bad: str) -> bool:
    """Whether the first suspect of the drill's incident is accused of the bad commit."""
    with shop.res.store.reading() as tx:
        incident = tx.incidents.get(str(drill.incident))
        change = tx.changes.get(incident.accused_change) if incident and incident.accused_change else None
    return change is not None and change.commit == bad


def _accept_guards(shop: DrillingShop, drill: Drill) -> tuple[bool, str]:
    """Every guard of the incident is accepted by a person at the command line; whether there was one and all were."""
    with shop.res.store.reading() as tx:
        records = guard_records(tx, drill.incident)
    repo, config = shop.sandbox.layout.repository, shop.sandbox.config_folder
    for record in records:
        command = [sys.executable, "-m", "deployments.cli.main", "guard", "accept", record.name, "--by", _ACCEPTS]
        command += ["--repository", str(repo), "--config", str(config)]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            return False, f"{record.name} is not accepted: {done.stderr.strip()}"
    return bool(records), "" if records else "no guard was proposed"


def _try_again(repo: Path, file: str, values: Mapping[str, int]) -> Any:
    """The same values, committed by a person in a clone with the gate's hook."""
    with tempfile.TemporaryDirectory(prefix="qg-") as name:
        clone = Path(name) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(repo), str(clone)], env=environment(), timeout=60, check=True)
        hook = clone / ".git" / "hooks" / "pre-commit"
        shutil.copy(HOOK, hook)
        hook.chmod(0o755)
        return try_through_the_gate(clone, _set_values(clone, file, values))


def _set_values(root: Path, file: str, values: Mapping[str, int]) -> Edit:
    def run(_: Mapping[str, str]) -> Mapping[str, str]:
        for key, value in values.items():
            repository.set_value(root / file, key, value)
        return {file: (root / file).read_text()}

    return run


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--mistakes", default="", help="only these, with commas between")
    options = asked.parse_args()
    os.environ.setdefault("GIT_CONFIG_GLOBAL", os.devnull)
    outcomes = run([name for name in options.mistakes.split(",") if name])
    if options.json:
        print_json({"mistakes": [asdict(outcome) for outcome in outcomes]})
        return
    rows = [(o.mistake, *(_said(getattr(o, part)) for part in _PARTS)) for o in outcomes]
    print_table("misconfigurations", ("mistake", *_PARTS), rows)


def _said(value: object) -> str:
    return value if isinstance(value, str) else "yes" if value else "no"


if __name__ == "__main__":
    main()
