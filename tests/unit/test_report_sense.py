"""The sensor of users' reports: a burst against its own baseline counts; spam and floods change nothing."""

import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from scipy import stats

from quell.incidents.report import Report
from quell.incidents.service import Catalog, Service
from quell.triage.report_burst import ALPHA, ReportHistory, expect, hour_of
from quell.triage.report_group import group_texts
from quell.triage.report_sense import ALL, sense, voices_of
from quell.triage.report_text import find_service, gibberish, speaks_of_trouble

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
WINDOW = timedelta(minutes=10)
SHOP = Catalog(
    services={
        "storefront": Service(name="storefront", team="shop", is_user_facing=True, description="pages, basket, search"),
        "checkout": Service(
            name="checkout", team="shop", description="Takes a basket to an order", aliases=("cash desk",)
        ),
        "app": Service(name="app", team="shop", is_user_facing=True),
    }
)


def reports(*texts: str, service: str | None = "storefront", sender: str = "", names: bool = True) -> list[Report]:
    return [
        Report(
            id=f"r{n}", text=text, service=service, sender=sender, at=NOW - timedelta(seconds=300 - n % 300),
            reporter=f"user{n}" if names else "",
        )
        for n, text in enumerate(texts)
    ]  # fmt: skip


def bursts(found: list[Report], history: dict[str, ReportHistory] | None = None):
    return sense(found, history=history or {}, catalog=SHOP, window=WINDOW, now=NOW)


def words(seed: int, count: int) -> list[str]:
    """Sentences of pronounceable words that mean nothing."""
    dice = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprstv" for b in "aeiou"]
    return [" ".join("".join(dice.choices(syllables, k=dice.randint(2, 4))) for _ in range(5)) for _ in range(count)]


def test_two_users_are_enough_where_nobody_ever_complains() -> None:
    [burst] = bursts(reports("the page is blank", "cannot log in"))
    assert (burst.service, burst.voices) == ("storefront", 2)
    assert bursts(reports("the page is blank")) == []


def test_a_service_about_which_people_always_complain_needs_more() -> None:
    usual = ReportHistory(since=hour_of(NOW) - 672, voices={hour_of(NOW) - n: 6 for n in range(1, 673)})
    few = reports(*(f"page {n} is broken since {n} today" for n in range(4)))
    assert len(bursts(few)) == 1
    assert bursts(few, {"storefront": usual, ALL: usual}) == []
    many = reports(*(f"page {'xy' * n} is broken" for n in range(30)))
    assert len(bursts(many, {"storefront": usual, ALL: usual})) == 1


def test_what_is_needed_is_the_quantile_of_the_negative_binomial() -> None:
    """Steady hours: nearly Poisson with the mean of the window; beside scipy's own tail."""
    steady = ReportHistory(since=hour_of(NOW) - 672, voices={hour_of(NOW) - n: 6 for n in range(1, 673)})
    found = expect(steady, now=NOW, window=WINDOW)
    assert found.mean == pytest.approx(1.0, rel=0.05)
    assert stats.nbinom.sf(found.needed - 1, 90, 90 / (90 + found.mean)) < ALPHA
    assert stats.poisson.sf(found.needed - 2, found.mean) > ALPHA / 3


def test_waves_need_more_than_steady_complaints() -> None:
    waves = {hour_of(NOW) - n: (60 if n % 10 == 0 else 0) for n in range(1, 673)}
    wavy = expect(ReportHistory(since=hour_of(NOW) - 672, voices=waves), now=NOW, window=WINDOW)
    steady = {hour_of(NOW) - n: 6 for n in range(1, 673)}
    calm = expect(ReportHistory(since=hour_of(NOW) - 672, voices=steady), now=NOW, window=WINDOW)
    assert wavy.needed > calm.needed


def test_one_hour_of_the_week_is_not_another() -> None:
    monday_noon = {hour_of(NOW) - 168 * week: 40 for week in range(1, 5)}
    history = ReportHistory(since=hour_of(NOW) - 672, voices=monday_noon)
    assert (
        expect(history, now=NOW, window=WINDOW).needed
        > expect(history, now=NOW + timedelta(hours=12), window=WINDOW).needed
    )


def test_one_user_is_one_voice_however_often() -> None:
    assert bursts(reports(*(f"checkout broken, try {n}" for n in range(100)), sender="mark-1")) == []
    same = [Report(id=f"r{n}", text=f"broken {n}", service="storefront", reporter="Eve", at=NOW) for n in range(50)]
    assert bursts(same) == []
    assert len(voices_of(reports(*["the page is broken"] * 500))) == 3  # the same words from names that cost nothing


def test_the_same_words_under_invented_names_count_no_more_for_being_passed_on_by_a_source() -> None:
    """A source vouches for what it passes on, not for the names that people give it."""
    invented = [replace(r, sender=f"helpdesk:{r.id}") for r in reports(*["the page is broken"] * 500)]
    assert len(voices_of(invented)) == 3
    addresses = [replace(r, sender=f"mark{r.id}") for r in reports(*["the page is broken"] * 20)]
    assert len(voices_of(addresses)) == 20


@pytest.mark.parametrize("seed", range(5))
def test_a_flood_of_meaningless_texts_opens_nothing(seed: int) -> None:
    assert bursts(reports(*words(seed, 400))) == []
    dice = random.Random(seed)
    letters = ["".join(dice.choices("bcdfghjklmnpqrstvwxyz ", k=40)) for _ in range(400)]
    assert bursts(reports(*letters)) == []


def test_names_that_name_nobody_are_no_identity() -> None:
    two = reports("checkout says internal error when I pay", "I cannot pay, checkout fails every third time")
    assert len(voices_of([Report(id=r.id, text=r.text, reporter="a customer", at=r.at) for r in two])) == 2


def test_links_weigh_half() -> None:
    assert bursts(reports("broken http://spam.example/a", "error www.spam.example")) == []


def test_words_that_no_list_knows_count_once_a_second_user_says_the_like() -> None:
    """Hungarian is in no list: two that are alike vouch for each other, two strangers do not."""
    alike = reports("a kosár oldala eltűnt ma reggel", "eltűnt a kosár oldala reggel")
    assert len(bursts(alike)) == 1
    assert bursts(reports("a kosár oldala eltűnt", "zöld alma piros körte")) == []


def test_reports_of_no_service_are_weighed_together() -> None:
    [burst] = bursts(reports("nothing works", "cannot log in", "error everywhere", service=None))
    assert burst.service is None and burst.voices == 3


def test_gibberish_is_told_from_sentences_of_any_script() -> None:
    assert all(gibberish(text) for text in ("", "!!!! ???", "xkcdqwrtz pqrstvw", "aaaaaaaaaa", "4711 0815 1234"))
    sentences = ("Zahlung schlägt fehl", "支払いができません", "не работает оплата", "503", "Error 500 :(", "pay?")
    assert not any(gibberish(text) for text in sentences)


def test_trouble_is_understood_in_several_languages() -> None:
    said = (
        "cannot pay",
        "geht nicht",
        "ne marche pas",
        "no funciona",
        "não consigo",
        "не работает",
        "エラーです",
        "支付失败",
    )
    assert all(speaks_of_trouble(text) for text in said)
    assert not speaks_of_trouble("I like the new colours")


def test_the_service_is_found_in_the_words() -> None:
    assert find_service("the Check-out... I mean checkout page", SHOP) == "checkout"
    assert find_service("stuck at the cash desk", SHOP) == "checkout"
    assert find_service("search is empty", SHOP) == "storefront"  # a word that only its description has
    assert find_service("the basket", SHOP) is None  # two descriptions have it


def test_groups_follow_meaning_and_not_order() -> None:
    texts = [
        "cannot pay with card",
        "search finds nothing",
        "my card payment is refused",
        "the search page finds nothing",
    ]
    assert group_texts(texts).tolist() == [0, 1, 0, 1]
    assert group_texts(texts[::-1]).tolist() == [0, 1, 0, 1]


def test_ten_thousand_reports_are_sensed_well_under_a_second() -> None:
    flood = [
        Report(id=f"r{n}", text=text, service="storefront", reporter=f"u{n}", at=NOW)
        for n, text in enumerate(words(1, 10_000))
    ]
    group_texts(["warm", "up"])
    took = []
    for _ in range(2):
        begun = time.perf_counter()
        assert bursts(flood) == []
        took.append(time.perf_counter() - begun)
    print(f"10,000 reports: {min(took):.2f} s")  # noqa: T201
    assert min(took) < 3  # a shared machine; see docs/reports.md for the figure
