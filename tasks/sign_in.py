"""Signing in: a person of people.yaml proves with password and one-time code who they are."""

from ipaddress import ip_address, ip_network

from quell.adapters.identity import code_step
from quell.adapters.password import is_right_password
from quell.adapters.sessions import open_session
from quell.incidents.errors import Refused
from quell.incidents.timeline import Event
from tasks.approval import used_code_steps
from tasks.proof import forgive, spend_code, spend_try
from tasks.resources import Resources

WRONG = "name, password or one-time code is wrong: a code works once, so wait for the next one if you just used it"


def sign_in(res: Resources, *, person: str, password: str, code: str, address: str) -> str:
    """Open a session; returns its token. Who has a `totp_secret` gives a code too.

    Raises Refused, which does not say what was wrong, or TooManyTries.
    """
    known = res.config.people.get(person)
    subjects = [f"address/{network_of(address)}", *([f"person/{person}"] if known else [])]
    with res.store.writing() as tx:
        too_many = spend_try(tx, subjects, res.clock())
    if too_many:
        raise too_many
    is_right = is_right_password(known, password)
    now = res.clock()
    step = code_step(known, code, now) if known else None
    if known is None or not is_right or (known.totp_secret and step is None):
        raise Refused(WRONG, rule="sign-in")
    with res.store.writing() as tx:
        if step is not None:
            if step in used_code_steps(tx, person):
                raise Refused(WRONG, rule="sign-in")
            spend_code(tx, person, step, now)
        forgive(tx, subjects)
        text = f"{person} signed in from {address or 'an unknown address'}"
        tx.timeline.append(Event(incident=None, at=now, kind="signed in", by=person, text=text, subject=None))
        return open_session(tx, known, now)


def network_of(address: str) -> str:
    """What counts as one address: an IPv6 customer has a whole /64.

    >>> network_of("10.0.0.7"), network_of("2001:db8::1"), network_of("unix")
    ('10.0.0.7', '2001:db8::/64', 'unknown')
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    return str(parsed) if parsed.version == 4 else str(ip_network(f"{parsed}/64", strict=False))
