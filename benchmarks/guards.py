"""Guards: ten misconfigurations tried again through a real git hook, and how long the gate takes over 1,000 files.

Each misconfiguration gets into the sandbox's repository once, is taken back, and a guard is proposed from its commit,
proved and accepted. Then git itself runs the pre-commit hook of deployments/pipelines on: the same mistake, the same
kind of mistake with another value (both must be stopped), and a change that is meant (it must get through).
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.misconfigurations import MISCONFIGURATIONS, Edit, Misconfiguration, read, write, write_repository
from benchmarks.report import parser, print_json, print_table
from quell.adapters.guard_folder import GuardFolder

HOOK = Path(__file__).resolve().parents[1] / "deployments" / "pipelines" / "pre-commit.sh"
_FILES = 1000
_RUNS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What git said to a commit that went through the hook."""

    is_stopped: bool
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One misconfiguration, from its first time to the next attempts."""

    name: str
    guards: tuple[str, ...]
    kinds: tuple[str, ...]
    proved: bool
    again: Attempt
    alike: Attempt
    fine: Attempt


def environment() -> dict[str, str]:
    """The user's, without git settings of theirs, with our programs in front."""
    programs = str(Path(sys.executable).parent)
    identity = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in _PERSON.items()}
    path = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])
    return {**os.environ, **identity, "PATH": path, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


_PERSON = {"NAME": "Dana Reyes", "EMAIL": "dana@shop.example"}


def git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments], cwd=root, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


def try_through_the_gate(root: Path, change: Edit) -> Attempt:
    """A person commits the change; the hook decides. The repository is as before afterwards."""
    before = git(root, "rev-parse", "HEAD").stdout
    write(root, change(read(root)))
    git(root, "add", "--all")
    done = git(root, "commit", "--quiet", "-m", "a change")
    is_stopped = git(root, "rev-parse", "HEAD").stdout == before
    if is_stopped != (done.returncode != 0):
        raise RuntimeError(f"git ended with {done.returncode}, but HEAD says otherwise: {done.stderr}")
    git(root, "reset", "--hard", "--quiet", before.strip())
    return Attempt(is_stopped=is_stopped, said=done.stderr.strip())


def teach(root: Path, case: Misconfiguration) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """The mistake gets in, is taken back, and leaves its guard: (names, kinds of check, whether all are proved)."""
    write(root, case.bad(read(root)))
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--no-verify", "-m", case.name)
    bad = git(root, "rev-parse", "HEAD").stdout.strip()
    git(root, "revert", "--no-edit", bad)
    folder = GuardFolder(root=root)
    found, _ = folder.propose(bad, service="shop", incident=f"INC-{1 + MISCONFIGURATIONS.index(case)}")
    for one in found:
        folder.write(one.guard)
    proved = [folder.accept(one.guard.name, "dana")[1].is_proved for one in found]
    kinds = [
        name for name in ("schema", "text", "references", "certificate") if any(getattr(g.guard, name) for g in found)
    ]
    return tuple(one.guard.name for one in found), tuple(kinds), bool(proved) and all(proved)


def try_all(folder: Path) -> list[Trial]:
    root = write_repository(folder)
    hook = root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    shutil.copy(HOOK, hook)
    os.environ.update({key: value for key, value in environment().items() if key.startswith("GIT_")})
    trials: list[Trial] = []
    for case in MISCONFIGURATIONS:
        names, kinds, proved = teach(root, case)
        again, alike, fine = (try_through_the_gate(root, change) for change in (case.bad, case.alike, case.fine))
        trials.append(
            Trial(name=case.name, guards=names, kinds=kinds, proved=proved, again=again, alike=alike, fine=fine)
        )
    return trials


def write_many(root: Path, *, files: int = _FILES) -> None:
    """A repository of settings (70 % YAML, 15 % JSON, 5 % TOML, 10 % HAProxy), about 30 values to a file.

    All YAML, JSON and TOML files are covered by 14 schemas and a reference to an inventory of them all, the others by
    four guards of text and a reference.
    """
    kinds = ["yaml"] * 70 + ["json"] * 15 + ["toml"] * 5 + ["cfg"] * 10
    for n in range(files):
        kind = kinds[n % len(kinds)]
        write(root, {f"services/checkout-{n}.{kind}": _many_text(kind, n)})
    ports = "".join(f"  checkout-{n}: {{port: {10000 + n}}}\n" for n in range(files))
    write(root, {"inventory.yaml": f"instances:\n{ports}"})
    for n, checks in enumerate(_many_checks()):
        files_glob = "services/*.cfg" if "text:" in checks or "pattern: '^" in checks else "services/*[nl]"
        head = f"name: guard-{n}\nincident: INC-{n}\nfiles: '{files_glob}'\nmessage: keep to it\n"
        write(root, {f"guards/guard-{n}.yaml": f"{head}{checks}\n"})


def _many_text(kind: str, n: int) -> str:
    values = {f"key_{key}": key * 10 for key in range(18)}
    upstreams = [{"name": f"upstream-{u}", "weight": 100 + u} for u in range(5)]
    if kind == "json":
        return json.dumps({"instance": f"checkout-{n}", "port": 10000 + n, **values, "upstreams": upstreams}, indent=2)
    if kind == "yaml":
        keys = "".join(f"{key}: {value}  # what it means for people\n" for key, value in values.items())
        listed = "".join(f"  - {{name: {u['name']}, weight: {u['weight']}}}\n" for u in upstreams)
        return f"instance: checkout-{n}\nport: {10000 + n}\n{keys}upstreams:\n{listed}"
    if kind == "toml":
        keys = "".join(f"{key} = {value}\n" for key, value in values.items())
        tables = "".join(f'\n[[upstreams]]\nname = "{u["name"]}"\nweight = {u["weight"]}\n' for u in upstreams)
        return f'instance = "checkout-{n}"\nport = {10000 + n}\n{keys}{tables}'
    servers = "".join(f"  server s-{s} 127.0.0.1:{10000 + n} check weight 100\n" for s in range(20))
    return f"defaults\n  timeout server 15s\n  retries 2\n\nbackend be_{n}\n  option httpchk GET /health\n{servers}"


def _many_checks() -> list[str]:
    """One string of checks for each guard."""
    schemas = [
        f"schema: {{type: object, properties: {{key_{n}: {{type: number, maximum: {500 + n}}}}}}}" for n in range(14)
    ]
    inventory = "exist_in: {files: inventory.yaml, path: instances.*.port}"
    texts = [
        r"each: '^\s*server\s', must: '\bcheck\b'",
        r"section: '^backend\s', require: '^\s*option\s+httpchk\b'",
        r"each: 'timeout server (\S+)', unit: time, minimum: 5s",
        r"forbid: '^\s*retries\s+\d\d'",
    ]
    asserted = [f"text: [{{{text}}}]" for text in texts]
    return [
        *schemas,
        *asserted,
        f"references: [{{path: port, {inventory}}}]",
        rf"references: [{{pattern: '^\s*server\s.*?:(\d+)', {inventory}}}]",
    ]


def time_gate(root: Path, *, runs: int = _RUNS) -> dict[str, float]:
    """Wall and processor seconds of `quell guard .`, process start and all."""
    program = str(Path(sys.executable).with_name("quell"))
    walls: list[float] = []
    cpus: list[float] = []
    for _ in range(runs):
        before, begun = os.times(), time.perf_counter()
        subprocess.run([program, "guard", "."], cwd=root, check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - begun)
        after = os.times()
        cpus.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return {
        "median_seconds": statistics.median(walls),
        "slowest_seconds": max(walls),
        "median_cpu_seconds": statistics.median(cpus),
    }


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="guards-") as name:
        many = Path(name) / "many"
        write_many(many)
        gate = time_gate(many)
        trials = try_all(Path(name) / "shop")
    return {
        "misconfigurations": {
            trial.name: {
                "guards": list(trial.guards),
                "checks": list(trial.kinds),
                "proved": trial.proved,
                "same_stopped": trial.again.is_stopped,
                "alike_stopped": trial.alike.is_stopped,
                "meant_let_through": not trial.fine.is_stopped,
                "said": trial.again.said.splitlines()[0] if trial.again.said else "",
            }
            for trial in trials
        },
        "guarded": sum(trial.proved and trial.again.is_stopped for trial in trials),
        "alike_stopped": sum(trial.alike.is_stopped for trial in trials),
        "meant_let_through": sum(not trial.fine.is_stopped for trial in trials),
        "of": len(trials),
        "gate": {"files": _FILES, "guards": len(_many_checks()), "limit_seconds": 1.0, **gate},
    }


def show(figures: dict[str, Any]) -> None:
    def word(is_so: bool) -> str:
        return "yes" if is_so else "NO"

    columns = ("misconfiguration", "checks", "guards", "proved", "same stopped", "alike stopped", "meant change passes")
    rows = [
        (
            name, ", ".join(one["checks"]), len(one["guards"]), word(one["proved"]), word(one["same_stopped"]),
            word(one["alike_stopped"]), word(one["meant_let_through"]),
        )
        for name, one in figures["misconfigurations"].items()
    ]  # fmt: skip
    print_table("Tried again through git's pre-commit hook", columns, rows)
    for name, one in figures["misconfigurations"].items():
        print(f"{name}: {one['said']}")
    gate = figures["gate"]
    columns = ("files", "guards", "median s", "slowest s", "median CPU s", "limit s")
    keys = ("files", "guards", "median_seconds", "slowest_seconds", "median_cpu_seconds", "limit_seconds")
    print()
    print_table("`quell guard .`, process start included", columns, [[gate[key] for key in keys]])


def main() -> None:
    arguments = parser(__doc__).parse_args()
    figures = measure()
    print_json(figures) if arguments.json else show(figures)


if __name__ == "__main__":
    main()
