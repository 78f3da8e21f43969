"""Prometheus's rule files: checked by promtool, put in place atomically, loaded and confirmed."""

import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import yaml

from quell.adapters.commands import run_command
from quell.adapters.rule_repository import RuleRepository
from quell.incidents.errors import InvalidInput, Unavailable

_LOADED = re.compile(r"^prometheus_config_last_reload_successful (\S+)$", re.MULTILINE)
_LOADED_AT = re.compile(r"^prometheus_config_last_reload_success_timestamp_seconds (\S+)$", re.MULTILINE)
_PROMTOOL_TIMEOUT = timedelta(seconds=15)


def write_rules(content: Mapping[str, Any]) -> str:
    """A rule file's text; an expression of several lines keeps them."""
    return yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Its own, so that nobody else's YAML changes."""


def _text(_: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def check_rules(path: Path) -> str:
    """What promtool says of an accepted rule file. Raises InvalidInput with its words when it refuses the file."""
    result = run_command(
        ("promtool", "check", "rules", str(path.resolve())), cwd=path.parent, timeout=_PROMTOOL_TIMEOUT
    )
    if not result.is_ok:
        raise InvalidInput(f"promtool refuses {path.name}: {result.said}")
    return result.said


def passes_tests(path: Path) -> tuple[bool, str]:
    """Whether the rules pass the file of tests, and promtool's words."""
    result = run_command(("promtool", "test", "rules", str(path.resolve())), cwd=path.parent, timeout=_PROMTOOL_TIMEOUT)
    return result.is_ok, result.said


def place_file(path: Path, text: str | None) -> None:
    """Give the file this text, or take it away (None), in one step: a reader sees the old file or the new one."""
    if text is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")  # not *.yaml: Prometheus must not load it
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFolder:
    """The folder of rule files that one Prometheus loads; with a `repository`, each change there is a commit."""

    folder: Path
    prometheus: str
    timeout: timedelta = timedelta(seconds=10)
    repository: RuleRepository | None = None

    @property
    def proposed(self) -> Path:
        """Where proposals wait, beside the folder that is loaded."""
        return self.folder.parent / "proposed"

    def propose(self, name: str, text: str) -> Path:
        """Write a proposal that promtool accepts. Raises InvalidInput, and then no file is left."""
        path = self.proposed / name
        place_file(path, text)
        try:
            check_rules(path)
        except InvalidInput:
            path.unlink(missing_ok=True)
            raise
        return path

    @property
    def tests(self) -> Path:
        """Where the tests of proposals are, with the rules that they test."""
        return self.proposed / "tests"

    def prove(self, name: str, rules: str, tests: str) -> None:
        """Write the tests of a proposal beside it and run them. Raises InvalidInput where the rules fail one."""
        place_file(self.tests / f"{name}.rules.yml", rules)
        place_file(self.tests / f"{name}.test.yml", tests)
        passes, said = passes_tests(self.tests / f"{name}.test.yml")
        if not passes:
            raise InvalidInput(f"{name} fails its own tests: {said}")

    def fails_on(self, name: str, rules: str) -> bool:
        """Whether other rules fail the tests of a proposal, as those that it replaces should."""
        with TemporaryDirectory() as folder:
            place_file(Path(folder) / f"{name}.rules.yml", rules)
            place_file(Path(folder) / f"{name}.test.yml", (self.tests / f"{name}.test.yml").read_text())
            return not passes_tests(Path(folder) / f"{name}.test.yml")[0]

    def forget(self, name: str) -> None:
        """Take a proposal's files away."""
        for path in (self.proposed / name, self.tests / f"{name}.rules.yml", self.tests / f"{name}.test.yml"):
            place_file(path, None)

    def put(self, name: str, text: str | None, message: str = "") -> str | None:
        """Put a rule file in force, or take one away (None); returns the text that stood there before.

        `message` is the commit's, where rules are kept in git. When Prometheus does not load it, what was before is put
        back and loaded again. Raises Unavailable, or what RuleRepository.keep does; nothing is changed then.
        """
        path = self.folder / name
        before = path.read_text() if path.exists() else None
        self._place(path, text, message)
        try:
            self.reload()
        except Unavailable as error:
            self._place(path, before, f"Take back: {message}\n\n{error}\n")
            with suppress(Unavailable):  # what is wrong was said already, and the folder is right again
                self._post_reload()
            raise
        return before

    def _place(self, path: Path, text: str | None, message: str) -> None:
        if self.repository is None:
            place_file(path, text)
        else:
            self.repository.keep(path, text, message)

    def reload(self) -> None:
        """Make Prometheus read its rules, and confirm by its own gauge that it did. Raises Unavailable."""
        earlier = self._gauge(_LOADED_AT)
        self._post_reload()
        give_up = time.monotonic() + self.timeout.total_seconds()
        while time.monotonic() < give_up:
            if self._gauge(_LOADED) == 0:
                break
            # the gauge has whole seconds: a reload within the same second shows no newer time
            if self._gauge(_LOADED_AT) > earlier or time.time() - earlier < 1.5:
                return
            time.sleep(0.1)
        raise Unavailable(
            f"{self.prometheus} did not load its rules: prometheus_config_last_reload_successful is not 1"
        )

    def _post_reload(self) -> None:
        try:
            answer = httpx.post(f"{self.prometheus}/-/reload", timeout=self.timeout.total_seconds())
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.prometheus}/-/reload cannot be reached: {error}") from error
        if not answer.is_success:
            text = answer.text.strip()[:500]
            raise Unavailable(f"{self.prometheus}/-/reload answered {answer.status_code}: {text}")

    def _gauge(self, pattern: re.Pattern[str]) -> float:
        try:
            answer = httpx.get(f"{self.prometheus}/metrics", timeout=self.timeout.total_seconds())
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.prometheus}/metrics cannot be reached: {error}") from error
        found = pattern.search(answer.text)
        return float(found[1]) if found else 0.0
