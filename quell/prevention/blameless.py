"""Blameless: people are named by role and team in prose, and words that blame are found.

A post-mortem asks what made the trouble possible. Who fears to be named hides what happened, and then nobody learns.
Source: J. Allspaw, "Blameless PostMortems and a Just Culture", 2012; Google SRE book, chapter 15.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from quell.incidents.decision import Person

# Programs that write on the timeline; whoever else is not in people.yaml is "a person".
PROGRAMS = frozenset({"quell", "sweep", "alertmanager", "prometheus", "report", "api", "webhook", "pipeline", "-", ""})
_VIEWER = "viewer"
# Each with what may stand in its place. A technical fault or a page fault blames nobody; "at fault" does.
_BLAMING: Mapping[str, str] = {
    r"blam(?:e|ed|es|ing)": "say what made it possible",
    r"at fault|(?:my|your|his|her|their|whose|\w+['’]s) fault": "say what made it possible",
    r"culprits?|guilty|to blame": "say what made it possible",
    r"careless(?:ly|ness)?|sloppy|negligen(?:t|ce|tly)|lazy|incompeten(?:t|ce)|stupid(?:ly|ity)?|reckless(?:ly)?": (
        "say what was known at the time"
    ),
    r"human error|operator error|user error|pilot error": "say what made the step look right",
    r"(?:should|could|ought to) have|should've|could've": "say what would show it next time",
    r"forgot(?:ten)?|overlooked|neglected|ignored": "say what did not show it",
    r"(?:he|she|they|who|engineer|team) failed to": "say what did not show it",
    r"screwed up|messed up|made a mistake|(?:his|her|their) mistakes?|obviously wrong|simply wrong": (
        "say what made the step look right"
    ),
}
_PATTERNS = tuple(
    (re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE), remedy) for words, remedy in _BLAMING.items()
)
_CODE = re.compile(r"(`{3,}).*?\1|`[^`\n]*`|^(?:>| {4}).*$", re.DOTALL | re.MULTILINE)  # quoted, not said
_EDGES = r"(?<![\w/.@-]){}(?![\w@]|[-/.][\w])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """Words that blame somebody, and what to write in their place."""

    words: str
    remedy: str


def find_blame(markdown: str) -> tuple[Blame, ...]:
    """Words in prose that blame somebody, each once, in their order; code and quotations are left out.

    >>> [blame.words for blame in find_blame("Bob forgot it: his fault. A page fault in `blame()`.")]
    ['his fault', 'forgot']
    """
    prose = _CODE.sub(" ", markdown)
    found = {
        match.group().lower(): Blame(words=match.group().lower(), remedy=remedy)
        for pattern, remedy in _PATTERNS
        for match in pattern.finditer(prose)
    }
    return tuple(found.values())


def named_by_role(person: Person) -> str:
    """How a post-mortem names somebody.

    >>> named_by_role(Person(name="bob", full_name="Bob", team="platform", roles=("approver",)))
    'an approver of team platform'
    """
    roles = [role for role in person.roles if role != _VIEWER]
    role = roles[0].replace("_", " ") if roles else "member"
    return f"{'an' if role[0].lower() in 'aeiou' else 'a'} {role} of team {person.team}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who may appear in the record. `programs` are further senders of events that are no people."""

    people: Mapping[str, Person] = field(default_factory=dict[str, Person])
    programs: frozenset[str] = frozenset()

    def actor(self, by: str) -> str:
        """Who did something, for a table's cell."""
        if by in self.people:
            return named_by_role(self.people[by])
        return by if by.lower() in PROGRAMS or by in self.programs or by.startswith("person:") else "a person"

    def prose(self, text: str, *, by: str = "") -> str:
        """The text with everybody named by role and team; `by` is who wrote it, known to us or not."""
        words = self._names
        if words:
            text = _any_of(tuple(words)).sub(lambda match: words[match.group()], text)
        if by and by not in self.people and self.actor(by) != by:
            text = re.sub(_EDGES.format(re.escape(by)), "a person", text)
        return text

    @property
    def _names(self) -> Mapping[str, str]:
        """Longer names first: a login may be part of a full name or of an address."""
        names = {
            name: named_by_role(person)
            for person in self.people.values()
            for name in (person.email, person.full_name, person.name)
            if name
        }
        return dict(sorted(names.items(), key=lambda pair: -len(pair[0])))


@lru_cache(maxsize=8)
def _any_of(names: tuple[str, ...]) -> re.Pattern[str]:
    """One pattern for all: hundreds of texts are looked at for dozens of names."""
    return re.compile(_EDGES.format(f"(?:{'|'.join(map(re.escape, names))})"))
