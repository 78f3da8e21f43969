"""The values that YAML and TOML cannot express by themselves: durations, units, matchers, references to secrets."""

import os
import re
from datetime import time, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from quell.config.problem import did_you_mean
from quell.incidents.errors import InvalidInput
from quell.incidents.matcher import Matcher, parse_matchers
from quell.incidents.signal import SignalKind

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")

# Units by kind: what a chart, a limit and `min_effect` of such a signal are measured in.
UNITS: dict[SignalKind, tuple[str, ...]] = {
    SignalKind.ERROR_RATIO: ("ratio",),
    SignalKind.LATENCY: ("seconds", "milliseconds"),
    SignalKind.TRAFFIC: ("req/s", "events/s", "bytes/s"),
    SignalKind.SATURATION: ("ratio", "bytes", "count"),
    SignalKind.OTHER: (
        "ratio", "seconds", "milliseconds", "req/s", "events/s", "bytes/s", "bytes", "count", "celsius", "none",
    ),
}  # fmt: skip


def wrong(text: str) -> PydanticCustomError:
    """A validation error whose text reaches the user as it is."""
    return PydanticCustomError("quell", "{text}", {"text": text})


def parse_duration(text: str) -> timedelta:
    """A length of time as Prometheus writes it. Raises InvalidInput.

    >>> parse_duration("1h30m")
    datetime.timedelta(seconds=5400)
    """
    if not _DURATION.fullmatch(text):
        raise InvalidInput(f'duration "{text}" cannot be read: write numbers with ms, s, m, h, d or w, as in "30s"')
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text)))


def _duration(value: Any) -> timedelta:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise wrong(f'duration {value} has no unit: write "{value}s" if seconds are meant')
    try:
        return parse_duration(str(value))
    except InvalidInput as error:
        raise wrong(str(error)) from error


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise wrong(f"must be longer than 0s (is {value.total_seconds():g}s)")
    return value


def _matchers(value: Any) -> tuple[Matcher, ...]:
    if isinstance(value, list):  # as in Alertmanager's configuration: one matcher per entry
        return tuple(matcher for part in cast(list[Any], value) for matcher in _matchers(part))
    if not isinstance(value, str):
        raise wrong(f"""must be text like '{{service="checkout"}}' (is {type(value).__name__})""")
    try:
        return parse_matchers(value)
    except InvalidInput as error:
        raise wrong(str(error)) from error


def is_reference(text: str) -> bool:
    return text.startswith(("env:", "file:")) and len(text.split(":", 1)[1]) > 0


def _reference(value: str) -> str:
    # the value itself is never repeated: it may be the secret
    if not is_reference(value):
        raise wrong("holds a secret; write env:NAME or file:PATH, and keep the secret there")
    return value


def _token_hash(value: str) -> str:
    """The value is not repeated: it may be the token itself."""
    if is_reference(value) or re.fullmatch(r"sha256:[0-9a-f]{64}", value):
        return value
    raise wrong("is no hash of a token: write what `quell source new` printed (sha256:...), or env:NAME or file:PATH")


def _password_hash(value: str) -> str:
    # the value itself is never repeated: it may be the password
    if not is_reference(value) and not value.startswith("$argon2id$"):
        raise wrong("is no argon2id hash: make one with `quell people hash`, or write env:NAME or file:PATH")
    return value


def _url(value: str) -> str:
    if is_reference(value):
        return value
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise wrong(f"is not a URL: {error}") from error
    if parts.password:
        raise wrong("holds a password; write env:NAME or file:PATH, and keep the whole URL there")
    if not parts.scheme:
        raise wrong(f'"{value}" is not a URL: it has no scheme, as in http://')
    return value


def _http_url(value: str) -> str:
    scheme = urlsplit(_url(value)).scheme
    if scheme not in ("http", "https", "env", "file"):
        raise wrong(f'"{value}" is not an HTTP address{did_you_mean(scheme, ("http", "https"))}')
    return value


def _store_url(value: str) -> str:
    known = ("sqlite", "postgresql+psycopg")
    scheme = urlsplit(_url(value)).scheme
    if scheme not in (*known, "env", "file"):
        hint = did_you_mean(scheme, known) or f" (known: {', '.join(known)})"
        raise wrong(f'"{scheme}" is not a store that Quell can use{hint}')
    if scheme == "sqlite" and not value.startswith("sqlite:///"):
        raise wrong(f'"{value}" is not a SQLite address: write sqlite:///PATH (four slashes for an absolute path)')
    return value


def _dask_address(value: str) -> str:
    parts = urlsplit(_url(value))
    if parts.scheme not in ("tcp", "tls") or not parts.hostname or not parts.port:
        raise wrong(f'"{value}" is not the address of a Dask scheduler: write tcp://HOST:PORT (or tls://HOST:PORT)')
    return value


def _git_remote(value: str) -> str:
    if value and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./-]*", value):
        raise wrong(f'"{value}" is not the name of a remote: `git remote` in the clone lists them, as origin')
    return value


def _scalars(value: dict[str, Any]) -> dict[str, Any]:
    for name, item in value.items():
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            raise wrong(f"{name} must be text or a number (is {type(item).__name__})")
    return value


def _time_of_day(value: Any) -> time:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        return time(value // 60, value % 60)  # YAML 1.1 reads 13:30 without quotes as a number to base 60
    try:
        found = time.fromisoformat(str(value))
    except ValueError as error:
        raise wrong(f'"{value}" is not a time of day: write "03:30"') from error
    if found.tzinfo is not None:
        raise wrong(f'"{value}" has an offset: name the zone instead, as in zone: Europe/Berlin')
    return found


def _zone(value: Any) -> tzinfo:
    try:
        return ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise wrong(f'"{value}" is not a time zone: write a name like Europe/Berlin, or UTC') from error


TimeOfDay = Annotated[time, BeforeValidator(_time_of_day)]
Zone = Annotated[tzinfo, BeforeValidator(_zone)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
PositiveDuration = Annotated[timedelta, BeforeValidator(_duration), AfterValidator(_positive)]
Matchers = Annotated[tuple[Matcher, ...], BeforeValidator(_matchers)]
TokenHash = Annotated[str, AfterValidator(_token_hash)]
Reference = Annotated[str, AfterValidator(_reference)]
PasswordHash = Annotated[str, AfterValidator(_password_hash)]
GitRemote = Annotated[str, AfterValidator(_git_remote)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
StoreUrl = Annotated[str, AfterValidator(_store_url)]
DaskAddress = Annotated[str, AfterValidator(_dask_address)]
Params = Annotated[dict[str, Any], AfterValidator(_scalars)]


def read_reference(reference: str) -> str:
    """What `env:NAME` or `file:PATH` holds, stripped. Raises InvalidInput, never with the value in its text."""
    kind, _, name = reference.partition(":")
    if kind == "env":
        if not os.environ.get(name):
            raise InvalidInput(f"environment variable {name} is not set; {reference} needs it")
        return os.environ[name].strip()
    if kind == "file":
        try:
            return Path(name).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise InvalidInput(f"{reference} cannot be read: {error.strerror}") from error
    raise InvalidInput("a secret is given by env:NAME or file:PATH")
