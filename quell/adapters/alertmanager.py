"""Alertmanager's API v2: its silences, read and written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlsplit

import httpx

from quell.incidents.errors import InvalidInput, Unavailable
from quell.incidents.matcher import Matcher, MatchOperator, make_matcher


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSilence:
    """A silence as Alertmanager has it; `id` is empty for one that it does not know yet."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str
    updated_at: datetime | None = None
    is_expired: bool = False


class Alertmanager:
    """Raises Unavailable when it cannot be reached, InvalidInput when it refuses."""

    def __init__(self, url: str, *, timeout: timedelta) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout.total_seconds()
        self._trust_env = urlsplit(url).hostname not in ("localhost", "127.0.0.1", "::1")  # no proxy to ourselves

    def configuration(self) -> str:
        """Its configuration file as it reads it, in YAML, without the secrets."""
        body = cast(Mapping[str, Any], self._ask("GET", "/api/v2/status").json())
        return str(body["config"]["original"])

    def silences(self) -> list[RemoteSilence]:
        """All that it remembers, expired ones too."""
        answer = cast(Sequence[Mapping[str, Any]], self._ask("GET", "/api/v2/silences").json())
        return [_read(body) for body in answer]

    def put_silence(self, silence: RemoteSilence) -> str:
        """Create it, or change the one with its id; returns its id, which is new where Alertmanager replaces it."""
        body = {
            "matchers": [
                {
                    "name": matcher.name,
                    "value": matcher.value,
                    "isRegex": matcher.operator.is_regex,
                    "isEqual": matcher.operator.is_equal,
                }
                for matcher in silence.matchers
            ],
            "startsAt": silence.starts_at.isoformat(),
            "endsAt": silence.ends_at.isoformat(),
            "createdBy": silence.created_by,
            "comment": silence.comment,
        }
        if silence.id:
            body["id"] = silence.id
        return str(self._ask("POST", "/api/v2/silences", body).json()["silenceID"])

    def expire_silence(self, id: str) -> None:
        self._ask("DELETE", f"/api/v2/silence/{id}")

    def _ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        try:
            answer = httpx.request(
                method, self._url + path, json=body, timeout=self._timeout, trust_env=self._trust_env
            )
        except httpx.HTTPError as error:
            raise Unavailable(f"alertmanager at {self._url} cannot be reached: {error}; try again later") from error
        if answer.status_code >= 500:
            raise Unavailable(f"alertmanager answers {answer.status_code} to {method} {path}; try again later")
        if answer.is_error:
            raise InvalidInput(f"alertmanager refuses {method} {path} ({answer.status_code}): {answer.text[:300]}")
        return answer


def _read(body: Mapping[str, Any]) -> RemoteSilence:
    return RemoteSilence(
        id=body["id"],
        matchers=tuple(
            make_matcher(part["name"], _operator(part.get("isEqual", True), part["isRegex"]), part["value"])
            for part in body["matchers"]
        ),
        starts_at=datetime.fromisoformat(body["startsAt"]),
        ends_at=datetime.fromisoformat(body["endsAt"]),
        created_by=body["createdBy"],
        comment=body["comment"],
        updated_at=datetime.fromisoformat(body["updatedAt"]),
        is_expired=body["status"]["state"] == "expired",
    )


def _operator(is_equal: bool, is_regex: bool) -> MatchOperator:
    if is_regex:
        return MatchOperator.REGEX if is_equal else MatchOperator.NOT_REGEX
    return MatchOperator.EQUAL if is_equal else MatchOperator.NOT_EQUAL
