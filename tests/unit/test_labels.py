"""Fingerprints are Alertmanager's; labels read as Prometheus writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incidents.labels import fingerprint, fingerprints, format_labels

pytestmark = pytest.mark.unit
LABELS = st.dictionaries(st.text(max_size=6), st.text(max_size=6), max_size=5)


def test_the_fingerprint_is_the_one_that_alertmanager_sends() -> None:
    labels = {"alertname": "BackendErrors", "backend": "b2", "service": "demo", "severity": "critical"}
    assert fingerprint(labels) == "baa59a3016bb596b"


def test_no_labels_have_the_hash_of_nothing() -> None:
    assert fingerprint({}) == "cbf29ce484222325"


@given(LABELS.filter(lambda labels: all(k.isascii() and v.isascii() for k, v in labels.items())))
def test_the_order_of_labels_does_not_matter(labels: dict[str, str]) -> None:
    assert fingerprint(dict(reversed(labels.items()))) == fingerprint(labels)


@given(st.lists(LABELS, max_size=9))
def test_many_fingerprints_at_once_are_those_of_each(many: list[dict[str, str]]) -> None:
    assert [format(int(number), "016x") for number in fingerprints(many)] == [fingerprint(one) for one in many]


def test_more_label_sets_than_are_hashed_at_once_keep_their_places() -> None:
    many = [{"instance": "i" * (n % 7), "n": str(n)} for n in range(5000)]
    found = fingerprints(many)
    assert len(set(found.tolist())) == 5000
    assert format(int(found[4999]), "016x") == fingerprint(many[4999])


def test_what_is_name_and_what_is_value_matters() -> None:
    assert len({fingerprint({"a": "bc"}), fingerprint({"ab": "c"}), fingerprint({"a": "b", "c": ""})}) == 3


def test_labels_are_written_sorted() -> None:
    assert format_labels({"service": "checkout", "instance": "checkout-2"}) == (
        '{instance="checkout-2", service="checkout"}'
    )
    assert format_labels({}) == "{}"
