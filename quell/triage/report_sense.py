"""The sensor: which users' reports in a window are together as good as an alert."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.incidents.report import Report, is_of_address
from quell.incidents.service import Catalog
from quell.triage.report_burst import Expectation, ReportHistory, expect, needed_in_flood
from quell.triage.report_group import group_texts
from quell.triage.report_text import ServiceWords, gibberish, has_link, name_of, normal_form, speaks_of_trouble

ALL = "*"  # the history over all services
LEAST_OF_ALL = 3  # voices that agree on no service have to be more
_SAME_WORDS_COUNT = 3  # voices that use exactly the same words, where nothing but a name tells them apart
_LINK_WEIGHT = 0.5
_SHARE_OF_GROUP = 0.2
NOTHING = ReportHistory(since=2**40, voices={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """`reports` are those that counted, one of each voice, in order of time; `service` None: of no one service."""

    service: str | None
    reports: tuple[Report, ...]
    voices: int
    why: str


def identity_of(report: Report) -> str:
    """Who speaks: the sender's mark as the gateway made it, else the name that was given, else the words themselves."""
    if report.sender:
        return f"sender {report.sender}"
    name = name_of(report.reporter)
    return f"name {name}" if name else f"words {normal_form(report.text)}"


def voices_of(reports: Sequence[Report]) -> list[Report]:
    """The first report of each user; gibberish is none, and the same words from strangers count a few times."""
    first: dict[str, Report] = {}
    said: Counter[str] = Counter()
    for report in sorted(reports, key=lambda r: (r.at, r.id)):
        who = identity_of(report)
        if who in first or gibberish(report.text):
            continue
        words = normal_form(report.text)
        if not is_of_address(report.sender) and said[words] >= _SAME_WORDS_COUNT:
            continue
        said[words] += 1
        first[who] = report
    return list(first.values())


def sense(
    waiting: Sequence[Report],
    *,
    history: Mapping[str, ReportHistory],
    catalog: Catalog,
    window: timedelta,
    now: datetime,
) -> list[Burst]:
    """The bursts among reports that belong to no incident; at most one for each service that users call.

    Where no service has one, all voices together may: it is then of the only service that users call, or of none.
    """
    voices = voices_of([report for report in waiting if now - report.at <= window])
    if len(voices) < 2:
        return []
    counted = [(voice, weight) for voice, weight in zip(voices, _weights(voices, catalog), strict=True) if weight]
    by_service: dict[str, list[tuple[Report, float]]] = defaultdict(list)
    for voice, weight in counted:
        by_service[voice.service or ""].append((voice, weight))
    in_flood = needed_in_flood(len(voices) - len(counted))
    if sum(weight for _, weight in counted) < in_flood:
        return []
    facing = [name for name, service in catalog.services.items() if service.is_user_facing]
    found = [
        burst
        for name in facing
        if (burst := _burst(name, by_service.get(name, []), expect(history.get(name, NOTHING), now=now, window=window)))
    ]
    if found:
        return found
    overall = expect(history.get(ALL, NOTHING), now=now, window=window)
    only = facing[0] if len(facing) == 1 else None
    burst = _burst(only, counted, Expectation(mean=overall.mean, needed=max(overall.needed, LEAST_OF_ALL)))
    return [burst] if burst else []


def _burst(service: str | None, counted: Sequence[tuple[Report, float]], expected: Expectation) -> Burst | None:
    number = int(sum(weight for _, weight in counted))
    if number < expected.needed:
        return None
    about = f"of {service}" if service else "over all services"
    return Burst(
        service=service,
        reports=tuple(report for report, _ in counted),
        voices=number,
        why=f"{number} users report trouble {about}; {expected.words()}",
    )


def _weights(voices: Sequence[Report], catalog: Catalog) -> list[float]:
    """How much each voice counts: nothing unless it speaks of trouble, of a service, or like others do.

    A flood of texts that share nothing and say nothing of trouble is therefore no evidence, however large.
    """
    words = ServiceWords(catalog)
    vouched = [speaks_of_trouble(v.text) or words.find(v.text) is not None for v in voices]
    doubtful = [index for index, is_vouched in enumerate(vouched) if not is_vouched]
    if len(doubtful) > 1:
        groups: list[int] = group_texts([voices[index].text for index in doubtful]).tolist()
        sizes = Counter(groups)
        least = max(2.0, _SHARE_OF_GROUP * len(doubtful))
        for index, group in zip(doubtful, groups, strict=True):
            vouched[index] = sizes[group] >= least
    return [(_LINK_WEIGHT if has_link(v.text) else 1.0) * ok for v, ok in zip(voices, vouched, strict=True)]
