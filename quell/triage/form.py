"""The forms in which senders write, and how each is read into single events."""

from enum import StrEnum
from typing import cast

from quell.incidents.event_source import EventKind
from quell.triage.intake import split_webhook


class Form(StrEnum):
    WEBHOOK = "webhook"  # Alertmanager's webhook, version 4
    API_V2 = "api-v2"  # what Prometheus sends to Alertmanager's /api/v2/alerts
    PLAIN = "plain"  # one alert or a list, in the same shape
    CHANGE = "change"
    REPORT = "report"


KIND_OF_FORM = {
    Form.WEBHOOK: EventKind.ALERTS,
    Form.API_V2: EventKind.ALERTS,
    Form.PLAIN: EventKind.ALERTS,
    Form.CHANGE: EventKind.CHANGES,
    Form.REPORT: EventKind.REPORTS,
}


def split_alerts(form: Form, payload: object) -> list[object]:
    """The alerts in a body, each still as it was sent. Raises InvalidInput when the body is not of the form."""
    if form is Form.WEBHOOK:
        return split_webhook(payload)
    return cast(list[object], payload) if isinstance(payload, list) else [payload]
