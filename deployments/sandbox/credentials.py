"""The sandbox's secrets, made anew for each: codes and passwords of its people, tokens of those who send events.

What is secret stands in files that only their owner reads; the configuration names the files of codes and hashes.
"""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import pyotp

from quell.adapters.password import hash_password
from quell.gateway.senders import hash_token

PEOPLE = ("alice", "bob", "carol")
SENDERS = ("alertmanager", "pipeline", "support-desk")


def write_secrets(folder: Path) -> None:
    """Whatever is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for person in PEOPLE:
        _write(folder / f"{person}.totp", pyotp.random_base32)
        password = _write(folder / f"{person}.password", lambda: secrets.token_urlsafe(12))
        _write(folder / f"{person}.password-hash", lambda password=password: hash_password(password))
    for sender in SENDERS:
        token = _write(folder / f"{sender}.token", lambda: secrets.token_urlsafe(32))
        _write(folder / f"{sender}.token-hash", lambda token=token: hash_token(token))


def credentials(folder: Path, sender: str) -> Mapping[str, str]:
    """The header that a sender has to give."""
    return {"Authorization": f"Bearer {(folder / f'{sender}.token').read_text().strip()}"}


def _write(file: Path, make: Callable[[], str]) -> str:
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(make() + "\n")
    return file.read_text().strip()
