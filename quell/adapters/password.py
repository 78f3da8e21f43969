"""Passwords: made into argon2id hashes, and checked against them without telling a known name from an unknown one."""

from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from quell.config.value import is_reference, read_reference
from quell.incidents.decision import Person
from quell.incidents.errors import InvalidInput

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1000
_HASHER = PasswordHasher()  # RFC 9106, section 4, second choice: 64 MiB, 3 passes
_TURNS = BoundedSemaphore(2)  # each check takes 64 MiB: a flood of them must not take all memory


def hash_password(password: str) -> str:
    """The hash for people.yaml. Raises InvalidInput for a password that is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InvalidInput(
            f"password has {len(password)} characters, it needs {SHORTEST_PASSWORD} to {LONGEST_PASSWORD}: "
            "take a few words that nobody has put beside each other before"
        )
    return _HASHER.hash(password)


def is_right_password(person: Person | None, password: str) -> bool:
    """Whether this is the person's password; it takes as long for somebody who does not exist.

    Raises InvalidInput when the hash cannot be read, naming where it was looked for.
    """
    kept = read_password_hash(person) if person is not None and person.password_hash else ""
    with _TURNS:
        try:
            return _HASHER.verify(kept or _nobody(), password[: LONGEST_PASSWORD + 1]) and bool(kept)
        except (VerificationError, InvalidHashError):
            return False


def read_password_hash(person: Person) -> str:
    """The hash, or what `env:NAME` or `file:PATH` holds in its place."""
    kept = person.password_hash
    if not is_reference(kept):
        return kept
    found = read_reference(kept)
    if not found.startswith("$argon2id$"):  # what was found is not repeated: it may be the password
        raise InvalidInput(
            f"password_hash of {person.name} at {kept} is no argon2id hash: make one with `quell people hash`"
        )
    return found


@cache
def _nobody() -> str:
    return _HASHER.hash("nobody's password")
