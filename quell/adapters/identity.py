"""Identity: whether a one-time code proves that somebody is who they say they are."""

import os
from datetime import datetime
from pathlib import Path

from pyotp.totp import TOTP
from pyotp.utils import strings_equal

from quell.incidents.decision import Person
from quell.incidents.errors import InvalidInput

STEP_SECONDS = 30
WINDOW_STEPS = 1  # a code of the step before or after counts: clocks differ, people type slowly (RFC 6238, 5.2)


def code_step(person: Person, code: str, now: datetime) -> int | None:
    """The time step whose code this is, for use once; None when the code is wrong or expired.

    Raises InvalidInput when the person's secret cannot be read, naming where it was looked for.
    """
    if not person.totp_secret:
        return None
    digits = "".join(code.split())
    if not (len(digits) == 6 and digits.isascii() and digits.isdigit()):
        return None
    totp = TOTP(read_secret(person), interval=STEP_SECONDS)
    current = int(now.timestamp()) // STEP_SECONDS
    for step in range(current - WINDOW_STEPS, current + WINDOW_STEPS + 1):
        if strings_equal(totp.generate_otp(step), digits):
            return step
    return None


def read_secret(person: Person) -> str:
    """The shared secret behind `env:NAME` or `file:PATH`."""
    kind, _, place = person.totp_secret.partition(":")
    if kind == "env":
        secret = os.environ.get(place, "")
    elif kind == "file":
        secret = _read(Path(place))
    else:
        raise InvalidInput(f"totp_secret of {person.name} must start with env: or file:, it starts with {kind!r}")
    if not secret.strip():
        raise InvalidInput(f"totp_secret of {person.name}: nothing found at {person.totp_secret}")
    return secret.strip()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
