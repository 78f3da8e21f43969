"""kill -9 of the gateway and of the drainer under load: a 2xx means that the event is there, once."""

import pytest

from benchmarks.intake_kills import torture

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

KILLS = 26  # on each database


def test_no_acknowledged_event_is_lost_and_none_is_taken_twice(store_url: str) -> None:
    """Thirteen gateways and thirteen drainers die at random moments on each of SQLite and PostgreSQL."""
    ledger, broken = torture(store_url, kills=KILLS, seed=20261126)
    assert broken == []
    assert ledger.kills == {"gateway": KILLS // 2, "drainer": KILLS // 2}
    assert len(ledger.alerts) > 200 and ledger.changes and ledger.reports
    assert ledger.resent > 0, "no kill hit a request: the test tests nothing"
