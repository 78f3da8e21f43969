"""How a body is signed with a shared secret, by those who send to Quell and by Quell when it sends.

`X-Quell-Timestamp` is the time in seconds since 1970, `X-Quell-Signature` is `v1=` and the hexadecimal HMAC-SHA256 of
timestamp, a full stop and the body.
"""

import hashlib
import hmac

TIMESTAMP = b"x-quell-timestamp"
SIGNATURE = b"x-quell-signature"


def sign(secret: bytes, stamp: bytes, body: bytes) -> str:
    """What X-Quell-Signature has to say."""
    return "v1=" + hmac.new(secret, stamp + b"." + body, hashlib.sha256).hexdigest()


def is_signed(given: bytes, secret: bytes, stamp: bytes, body: bytes) -> bool:
    """Whether one of the signatures in the header holds; several, by comma, let a secret rotate."""
    expected = sign(secret, stamp, body).encode()
    return any(hmac.compare_digest(each.strip(), expected) for each in given.split(b","))
