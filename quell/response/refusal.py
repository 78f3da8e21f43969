"""Allowed or refused: the answer of every rule, with the rule, the value and the limit."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Every rule was asked and none objects; `reason` sums up the figures for the timeline."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The first rule that objects. `limit` is empty where none can be named; `advice` tells a person what would make it
    possible."""

    rule: str
    value: str
    limit: str = ""
    advice: str = ""

    @property
    def sentence(self) -> str:
        """
        >>> Refusal(rule="capacity floor", value="33 % left", limit="at least 50 %", advice="add a server").sentence
        'capacity floor: 33 % left, limit at least 50 %; add a server'
        >>> Refusal(rule="one-time code", value="wrong or expired", advice="read a new one").sentence
        'one-time code: wrong or expired; read a new one'
        """
        limit = f", limit {self.limit}" if self.limit else ""
        ending = f"; {self.advice}" if self.advice else ""
        return f"{self.rule}: {self.value}{limit}{ending}"


Answer = Allowed | Refusal
