"""The common case in a few microseconds an alert: every field is known and in order, so the text is stored as it came.

Whatever is not plainly right is left to `inbox_items`, which looks at each alert and says what is wrong. This is a
shortcut and never a second opinion: what it lets through, `quell.triage.intake` reads (a property test holds that).
"""

from datetime import datetime
from typing import Annotated

import msgspec

from quell.incidents.labels import ALERTNAME
from quell.triage.form import Form

_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class _Alert(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """Alertmanager's fields and no others: an unknown one would be stored without having been read."""

    labels: dict[str, str]
    startsAt: _Time  # noqa: N815 - the sender's spelling
    status: str | None = None
    annotations: dict[str, str] = {}
    endsAt: _Time | None = None  # noqa: N815
    generatorURL: str = ""  # noqa: N815
    fingerprint: str = ""


class _Webhook(msgspec.Struct, gc=False):
    version: str
    alerts: msgspec.Raw


_webhook = msgspec.json.Decoder(_Webhook)
_alerts = msgspec.json.Decoder(list[_Alert])
_LAST_YEAR = 9999
_STATUSES = (None, "firing", "resolved")


def quick_alerts(form: Form, body: bytes, *, most: int) -> tuple[str, int] | None:
    """The text of the list of alerts and their number, if all of them are plainly in order and at most `most`."""
    try:
        raw: bytes | memoryview = body
        if form is Form.WEBHOOK:
            webhook = _webhook.decode(body)
            if webhook.version != "4":
                return None
            raw = memoryview(webhook.alerts)
        alerts = _alerts.decode(raw)
    except (ValueError, RecursionError):  # what msgspec raises is a ValueError
        return None
    text = str(raw, "utf-8")
    if not 0 < len(alerts) <= most or "\\u0000" in text or not all(map(_is_in_order, alerts)):
        return None
    return text, len(alerts)


def _is_in_order(alert: _Alert) -> bool:
    if not alert.labels.get(ALERTNAME) or alert.startsAt.year == 1:
        return False
    if _LAST_YEAR in (alert.startsAt.year, alert.endsAt.year if alert.endsAt else None):
        return False  # its offset may lead beyond the last time there is
    if alert.status not in _STATUSES:
        return False
    # a start after the end is an error only where the alert is over, which the slow way finds out
    return alert.endsAt is None or alert.endsAt.year == 1 or alert.endsAt >= alert.startsAt
