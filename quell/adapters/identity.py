"""Identity: whether a one-time code proves that somebody is who they say they are."""

import binascii
from datetime import datetime

from pyotp import random_base32
from pyotp.totp import TOTP
from pyotp.utils import strings_equal

from quell.config.value import read_reference
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
    totp = _generator(person)
    current = int(now.timestamp()) // STEP_SECONDS
    for step in range(current - WINDOW_STEPS, current + WINDOW_STEPS + 1):
        if strings_equal(totp.generate_otp(step), digits):
            return step
    return None


def new_secret(name: str) -> tuple[str, str]:
    """A secret for `totp_secret`, and the same as the address that authenticator apps take (otpauth://)."""
    secret = random_base32()
    return secret, TOTP(secret, interval=STEP_SECONDS).provisioning_uri(name=name, issuer_name="Quell")


def check_secret(person: Person) -> None:
    """Raises InvalidInput when nobody could ever be right with this person's secret, and says what to do."""
    _generator(person)


def _generator(person: Person) -> TOTP:
    secret = "".join(read_secret(person).split())  # people copy it in groups of four, as apps show it
    try:
        return TOTP(secret, interval=STEP_SECONDS)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(
            f"totp_secret of {person.name} at {person.totp_secret} is no secret of an authenticator app "
            f"(base32, A-Z and 2-7, at least 23 of them): {str(error).lower()}; "
            f"`quell people secret {person.name}` makes one"
        ) from error


def read_secret(person: Person) -> str:
    """The shared secret behind `env:NAME` or `file:PATH`, as it is written there."""
    try:
        secret = read_reference(person.totp_secret)
    except InvalidInput as error:
        raise InvalidInput(f"totp_secret of {person.name}: {error}") from error
    if not secret:
        raise InvalidInput(f"totp_secret of {person.name}: nothing found at {person.totp_secret}")
    return secret
