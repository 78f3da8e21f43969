"""The text of a report: its plain form, what speaks against it, whether it speaks of trouble, and of which service."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from quell.incidents.service import Catalog

_LINK = re.compile(r"(?:https?://|www\.)\S+", re.I)
_NO_WORD = re.compile(r"[^\w]+|_")
_DIGITS = re.compile(r"\d+")
_REPEATED = re.compile(r"(.)\1{5,}")
_LATIN = re.compile(r"[a-z]+")
_NO_VOWEL_RUN = re.compile(r"[bcdfghjklmnpqrstvwxz]{6,}")
_LONGEST_WORD = 30
_LEAST_LETTERS = 0.5
_LEAST_DESCRIPTION_WORD = 5
# Beginnings of the words with which people complain, in the larger languages of the web. A report in any other
# language counts as soon as a second one is like it.
_TROUBLE = re.compile(
    r"\b(?:err(?:or|eur|ore|o)|fail|fehl|broke|kaputt|defekt|down\b|outage|offline|störung|slow|langsam|lent[oae]?\b|"
    r"traag|lag\b|hang|hängt|freez|stuck|crash|absturz|plant|timeout|time ?out|timed out|can ?not|can ?t\b|could ?n|"
    r"does ?n|do ?n ?t|did ?n|is ?n ?t|wo ?n ?t|unable|not work|no work|stopp?ed|nothing|geht nicht|"
    r"funktion|nicht|kein|kann\b|unmöglich|impossib|impos|panne|bloqu|marche p|fonctionne|ne .{0,20}\bpas\b|"
    r"funciona|fallo|falla|caíd|caid|no puedo|não|nao\b|consigo|non (?:va|funz|riesc|si )|bloccat|lentezza|werkt niet|"
    r"niet\b|storing|kapot|nie (?:dział|moż|mog)|błąd|awari|wrong|missing|empty|blank|white page|lost|gone\b|"
    r"refus|reject|declin|denied|problem|problèm|problema|probleem|issue|bug\b|trouble|help\b|unavailable|"
    r"unreachable|internal server|bad gateway|5\d\d\b|4\d\d\b|404|double charged|charged twice|twice|never arriv|"
    r"не работ|ошиб|сбой|недоступ|завис|לא עובד|تعطل|خطأ)|"
    r"エラー|できな|できませ|遅い|障害|错误|錯誤|失败|失敗|不能|无法|無法|打不开|오류|안 ?돼|안 ?됩|느려",
)


# Names that name nobody: two who give them are two.
_NOBODY = frozenset(
    {"a customer", "customer", "a user", "user", "guest", "anonymous", "anonym", "anonymus", "me", "nobody"}
)
_KEPT = 32_768  # a text is asked by several rules, and again with every batch while it waits


@lru_cache(maxsize=_KEPT)
def normal_form(text: str) -> str:
    """What two writings of the same words share: no case, links, punctuation or numbers.

    >>> normal_form("Checkout FAILS!! order 4711, see https://shop.example/x")
    'checkout fails order 0 see'
    """
    plain = _LINK.sub(" ", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_DIGITS.sub("0", _NO_WORD.sub(" ", plain)).split())


def name_of(reporter: str) -> str:
    """What all writings of one name share, without case, space and what cannot be seen; empty for a name of nobody.

    >>> name_of(" Zoe\u200b  MARTIN"), name_of("A customer")
    ('zoe martin', '')
    """
    plain = unicodedata.normalize("NFKC", reporter).casefold()
    name = " ".join("".join(sign for sign in plain if unicodedata.category(sign) != "Cf").split())
    return "" if name in _NOBODY else name


def has_link(text: str) -> bool:
    return _LINK.search(text) is not None


@lru_cache(maxsize=_KEPT)
def gibberish(text: str) -> str:
    """Why nobody would read it as a sentence in any language; empty where somebody may.

    >>> gibberish("xkcdqwrtz pqrstvw"), gibberish("Zahlung schlägt fehl"), gibberish("支払いができません")
    ('most of its words cannot be spoken', '', '')
    """
    letters = [c for c in text if not c.isspace()]
    words = normal_form(text).split()
    if not words:
        return "it holds no word"
    if sum(c.isalpha() or unicodedata.category(c).startswith("M") for c in letters) < _LEAST_LETTERS * len(letters):
        return "" if has_link(text) or speaks_of_trouble(text) else "most of it is no letter"
    if _REPEATED.search(text):
        return "one character is repeated on and on"
    latin = [word for word in words if _LATIN.fullmatch(word) and len(word) > 3]
    unspeakable = [
        w for w in latin if _NO_VOWEL_RUN.search(w) or not re.search(r"[aeiouy]", w) or len(w) > _LONGEST_WORD
    ]
    if len(unspeakable) * 2 > len(latin):
        return "most of its words cannot be spoken"
    return ""


@lru_cache(maxsize=_KEPT)
def speaks_of_trouble(text: str) -> bool:
    """Whether a word of complaint is in it."""
    plain = _NO_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold())
    return _TROUBLE.search(plain) is not None


def find_service(text: str, catalog: Catalog) -> str | None:
    """The one service that the words name: by its name or an alias, else by words that only its description has."""
    return ServiceWords(catalog).find(text)


class ServiceWords:
    """The words of all services, made once for many texts."""

    def __init__(self, catalog: Catalog) -> None:
        self._names = {
            name: [parts for called in (name, *service.aliases) if (parts := normal_form(called).split())]
            for name, service in catalog.services.items()
        }
        self._described = _description_words(catalog)

    def find(self, text: str) -> str | None:
        words = normal_form(text).split()
        named = [name for name, called in self._names.items() if any(_says(words, parts) for parts in called)]
        if named:
            return named[0] if len(named) == 1 else None
        hits = {name for stem, name in self._described.items() if any(_is_form_of(word, stem) for word in words)}
        return next(iter(hits)) if len(hits) == 1 else None


def _says(words: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the name stands in the text, in one piece or in several, also as the start of a longer form."""
    last = len(words) - len(parts)
    return any(all(_is_form_of(words[start + i], part) for i, part in enumerate(parts)) for start in range(last + 1))


def _is_form_of(word: str, stem: str) -> bool:
    return word.startswith(stem) and (word == stem or (len(stem) >= 4 and len(word) - len(stem) <= 2))


def _description_words(catalog: Catalog) -> Mapping[str, str]:
    """Words that describe one service and no other, with its name."""
    own = {
        name: {w for w in normal_form(service.description).split() if len(w) >= _LEAST_DESCRIPTION_WORD}
        for name, service in catalog.services.items()
    }
    counts = Counter(word for words in own.values() for word in words)
    return {word: name for name, words in own.items() for word in words if counts[word] == 1}
