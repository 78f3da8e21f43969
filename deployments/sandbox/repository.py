"""The shop's configuration in git: its first commits, and how a person's change to one key gets in."""

import os
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deployments.sandbox.layout import Layout
from deployments.sandbox.settings import render_settings
from quell.incidents.errors import NotFound, Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    name: str
    email: str


MIRA = Author(name="Mira Okafor", email="mira@shop.example")
JONAS = Author(name="Jonas Lind", email="jonas@shop.example")
DANA = Author(name="Dana Reyes", email="dana@shop.example")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    sha: str
    author: str
    summary: str
    at: datetime


def git(repository: Path, *arguments: str, environment: dict[str, str] | None = None) -> str:
    """Run git without the user's own settings. Raises Unavailable with git's words."""
    done = subprocess.run(
        ["git", "-C", str(repository), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", **(environment or {})},
    )
    if done.returncode != 0:
        raise Unavailable(f"git {arguments[0]} in {repository} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def create_repository(layout: Layout, haproxy_config: str, *, now: datetime) -> None:
    """The repository with a believable past, three weeks long; files are as the shop should run."""
    repository = layout.repository
    (repository / "services").mkdir(parents=True)
    (repository / "haproxy").mkdir()
    git(repository, "init", "-q", "-b", "main")
    for instance in layout.instances:
        text = render_settings(instance.service, instance.name, ports(layout))
        first = text.replace("payment_timeout_ms: 800", "payment_timeout_ms: 1000")
        layout.settings_file(instance.name).write_text(first)
    commit(repository, MIRA, "services: settings of all instances", at=now - timedelta(days=21), paths=["services"])
    (repository / "haproxy" / "haproxy.cfg").write_text(haproxy_config)
    commit(repository, JONAS, "haproxy: shop and internal frontends", at=now - timedelta(days=20), paths=["haproxy"])
    for instance in layout.of_service("checkout"):
        layout.settings_file(instance.name).write_text(render_settings("checkout", instance.name, ports(layout)))
    summary = "checkout: wait 800 ms for payment, the bank's p99 is 90 ms"
    commit(repository, DANA, summary, at=now - timedelta(days=6), paths=["services"])


def ports(layout: Layout) -> dict[str, int]:
    """Where the load balancer answers for each service that others call."""
    return {service: layout.port(f"fe_{service}") for service in ("checkout", "catalog", "payment")}


def commit(repository: Path, author: Author, message: str, *, paths: list[str], at: datetime | None = None) -> str:
    """Commit the paths as they are in the working tree; returns the commit's id."""
    identity = ["-c", f"user.name={author.name}", "-c", f"user.email={author.email}", "-c", "commit.gpgsign=false"]
    stamp = (at or datetime.now(UTC)).isoformat(timespec="seconds")
    dates = {"GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp}
    git(repository, "add", "--", *paths)
    git(repository, *identity, "commit", "-q", "-m", message, "--", *paths, environment=dates)
    return git(repository, "rev-parse", "HEAD")


def last_commit(file: Path) -> Commit:
    """The commit in which the file got its present content. Raises NotFound when it was never committed."""
    line = git(file.parent, "log", "-1", "--format=%H%x1f%an%x1f%s%x1f%cI", "--", file.name)
    if not line:
        raise NotFound(f"file {file} was never committed")
    sha, author, summary, at = line.split("\x1f")
    return Commit(sha=sha, author=author, summary=summary, at=datetime.fromisoformat(at))


def value_of(file: Path, key: str) -> int | None:
    found = re.search(rf"^{re.escape(key)}:\s*(\d+)", file.read_text(), re.MULTILINE)
    return int(found.group(1)) if found else None


def set_value(file: Path, key: str, value: int) -> int:
    """Write one key and leave the rest of the file as it is; returns the value before. Raises NotFound."""
    before = value_of(file, key)
    if before is None:
        raise NotFound(f"file {file} has no key {key}")
    pattern = rf"^({re.escape(key)}:\s*)\d+"
    file.write_text(re.sub(pattern, rf"\g<1>{value}", file.read_text(), count=1, flags=re.MULTILINE))
    return before
