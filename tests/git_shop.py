"""A repository of a service's file whose last commit is bad; with a remote, and a colleague who has a clone too."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

FILE = "services/checkout-2.yaml"
GOOD = "service: checkout\npayment_timeout_ms: 800\nretries: 1\n"
BAD = "service: checkout\npayment_timeout_ms: 5\nretries: 1\n"


def git(folder: Path, *arguments: str) -> str:
    """As a person. Raises CalledProcessError."""
    command = ["git", "-c", "user.name=dana", "-c", "user.email=dana@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=20).stdout.strip()


def save(folder: Path, content: str, subject: str, file: str = FILE) -> str:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(content)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", subject)
    return git(folder, "rev-parse", "HEAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteShop:
    folder: Path
    bare: Path
    colleague: Path
    bad: str

    def git(self, *arguments: str) -> str:
        return git(self.folder, *arguments)

    def remote_head(self, branch: str = "main") -> str:
        return git(self.bare, "rev-parse", f"refs/heads/{branch}")

    def colleague_pushes(self, content: str, subject: str, file: str = FILE) -> str:
        git(self.colleague, "pull", "--quiet", "--ff-only")
        pushed = save(self.colleague, content, subject, file)
        git(self.colleague, "push", "--quiet", "origin", "main")
        return pushed

    def protect(self, words: str) -> None:
        """From now on main takes no push, as a protected branch of a forge."""
        hook = self.bare / "hooks/update"
        hook.write_text(f'#!/bin/sh\n[ "$1" = refs/heads/main ] || exit 0\necho "{words}" >&2\nexit 1\n')
        hook.chmod(0o755)


def share(folder: Path, beside: Path | None = None) -> RemoteShop:
    """Give the repository a remote, origin, that has its main, and a colleague a clone; both are beside it."""
    at = beside or folder.parent
    bare, colleague = at / f"{folder.name}.git", at / "colleague"
    git(folder, "clone", "--quiet", "--bare", str(folder), str(bare))
    git(folder, "remote", "add", "origin", str(bare))
    git(folder, "clone", "--quiet", str(bare), str(colleague))
    return RemoteShop(folder=folder, bare=bare, colleague=colleague, bad=git(folder, "rev-parse", "HEAD"))


def make_remote_shop(tmp_path: Path) -> RemoteShop:
    folder = tmp_path / "shop"
    git(tmp_path, "init", "--quiet", "-b", "main", "shop")
    save(folder, GOOD, "checkout-2: first")
    save(folder, BAD, "checkout-2: fail faster")
    return share(folder)
