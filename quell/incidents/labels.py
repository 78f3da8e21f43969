"""Labels, and the fingerprint by which Alertmanager and Quell tell alerts apart."""

from collections.abc import Mapping
from typing import NewType

Labels = Mapping[str, str]
Fingerprint = NewType("Fingerprint", str)

ALERTNAME = "alertname"
SERVICE = "service"
INSTANCE = "instance"
SEVERITY = "severity"
SIGNAL = "signal"

_FNV_OFFSET = 14695981039346656037
_FNV_PRIME = 1099511628211
_SEPARATOR = b"\xff"


def fingerprint(labels: Labels) -> Fingerprint:
    """The 64-bit FNV-1a hash over the sorted labels, as 16 hex digits: the same value that Alertmanager sends.

    Source: prometheus/common, model.LabelSet.Fingerprint (name, 0xff, value, 0xff for each label by name).

    >>> fingerprint({"alertname": "BackendErrors", "backend": "b2", "service": "demo", "severity": "critical"})
    'baa59a3016bb596b'
    """
    digest = _FNV_OFFSET
    for name in sorted(labels):
        for byte in name.encode() + _SEPARATOR + labels[name].encode() + _SEPARATOR:
            digest = ((digest ^ byte) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return Fingerprint(f"{digest:016x}")


def format_labels(labels: Labels) -> str:
    """Labels as Prometheus writes them, sorted by name.

    >>> format_labels({"service": "checkout", "instance": "checkout-2"})
    '{instance="checkout-2", service="checkout"}'
    """
    return "{" + ", ".join(f'{name}="{labels[name]}"' for name in sorted(labels)) + "}"
