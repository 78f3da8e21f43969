"""Whatever a sender writes: it is taken, or refused in words; the shortcut takes nothing that triage cannot read."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.gateway.fast_alerts import quick_alerts
from quell.gateway.inbox_items import take_body
from quell.incidents.errors import InvalidInput
from quell.triage.form import Form, split_alerts
from quell.triage.intake import parse_alert
from quell.triage.unreadable import parse_json

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ALERTS = st.sampled_from([Form.WEBHOOK, Form.API_V2, Form.PLAIN])
TEXTS = st.one_of(st.text(max_size=20), st.sampled_from(["\0", "\ud800", "firing", "resolved", "4", "", "é\u202e"]))
TIMES = st.sampled_from(
    [
        "2026-11-23T07:58:54.725Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "2026-11-23T07:58:54",
        "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z", "1969-12-31T23:59:59Z",
        "2026-11-23t07:58:54z", "soon",
    ]
)  # fmt: skip
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.just(10**400)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
LABELS = st.one_of(
    st.dictionaries(st.sampled_from(["alertname", "service", "a", "", "b\0", "b\ud800"]), st.one_of(TEXTS, JUNK)), JUNK
)
ALERT = st.one_of(
    st.fixed_dictionaries(
        {"labels": st.one_of(st.just({"alertname": "Slow", "service": "checkout"}), LABELS)},
        optional={
            "status": st.one_of(TEXTS, JUNK),
            "annotations": st.one_of(st.dictionaries(TEXTS, TEXTS), JUNK),
            "startsAt": st.one_of(TIMES, JUNK),
            "endsAt": st.one_of(TIMES, JUNK),
            "generatorURL": st.one_of(TEXTS, JUNK),
            "fingerprint": TEXTS,
            "other": JUNK,
        },
    ),
    JUNK,
)


def body_of(form: Form, alerts: Any) -> bytes:
    return json.dumps({"version": "4", "alerts": alerts} if form is Form.WEBHOOK else alerts).encode()


@settings(max_examples=400)
@given(ALERTS, st.lists(ALERT, max_size=4))
def test_what_the_shortcut_lets_through_triage_reads(form: Form, alerts: list[Any]) -> None:
    body = body_of(form, alerts)
    quick = quick_alerts(form, body, most=256)
    if quick is None:
        return
    parts = split_alerts(form, parse_json(body))
    assert quick[1] == len(parts)
    stored = json.loads(quick[0])
    for part, kept in zip(parts, stored, strict=True):
        read = parse_alert(part, source="test", received_at=NOW)
        assert parse_alert(kept, source="test", received_at=NOW) == read


@settings(max_examples=400)
@given(ALERTS, st.one_of(st.lists(ALERT, max_size=4), JUNK))
def test_every_part_of_a_body_is_taken_or_refused_in_words(form: Form, alerts: Any) -> None:
    try:
        batch = take_body(form, body_of(form, alerts), source="test", received_at=NOW)
    except InvalidInput:
        return  # in words, and for the whole body
    parts = split_alerts(form, json.loads(body_of(form, alerts)))
    assert batch.taken + len(batch.rejected) == len(parts)
    assert all(part.error for part in batch.rejected)


@settings(max_examples=300)
@given(st.sampled_from(list(Form)), st.binary(max_size=200))
@example(Form.PLAIN, b"[" * 100_000)
@example(Form.WEBHOOK, b'{"version":"4","alerts":' + b"[" * 100_000)
@example(Form.PLAIN, b'[{"labels":{"alertname":"a","alertname":"b"},"startsAt":"2026-11-23T07:58:54Z"}]')
@example(Form.PLAIN, b"\xff\xfe")
@example(Form.REPORT, b"null")
@example(Form.CHANGE, b"[]")
def test_bytes_that_are_nothing_are_refused_in_words(form: Form, body: bytes) -> None:
    with suppress(InvalidInput, ValidationError):  # the door answers both with 422 and their words
        take_body(form, body, source="test", received_at=NOW)
