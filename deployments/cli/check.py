"""`quell check`: whether the configuration is right, and with --live whether the world is as it says."""

import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from deployments.cli.check_haproxy import check_haproxy
from deployments.cli.finding import Finding
from deployments.cli.record import DEFAULT_FOLDER, ConfigOption
from deployments.cli.terminal import err, out, table

if TYPE_CHECKING:
    from quell.adapters.metrics.prometheus import PrometheusSource
    from quell.config.config import Config
    from quell.incidents.service import ConfigRepository, Service
    from quell.incidents.signal import Signal


def check(
    config: ConfigOption = DEFAULT_FOLDER,
    live: Annotated[bool, typer.Option("--live", help="Ask Prometheus, HAProxy, git and the store as well.")] = False,
) -> None:
    """Check the configuration folder; exit 1 with file, line and key of every problem."""
    from quell.adapters.actuators.plugins import open_actuators
    from quell.adapters.guards import load_guards
    from quell.config.load import load_config, read_config
    from quell.config.problem import ConfigError

    try:
        read = load_config(config) if live else read_config(config)
        open_actuators(read)
    except ConfigError as error:
        for problem in error.problems:
            err().print(str(problem), style="red", markup=False, soft_wrap=True)
        count = len(error.problems)
        err().print(f"{count} problem{'s' if count != 1 else ''} in {config}", style="bold red")
        raise typer.Exit(1) from error
    load_guards(config / "guards")
    out().print(
        f"{config}: {len(read.catalog.services)} services with {len(read.catalog.instances)} instances, "
        f"{len(read.signals)} signals, {len(read.playbooks)} playbooks, {len(read.people)} people: in order",
        markup=False,
        soft_wrap=True,
    )
    if live:
        _report(list(check_live(read)))


def check_live(config: "Config") -> Iterator[Finding]:
    """Look at everything that the configuration names. A part that does not answer is one finding, not many."""
    parts: tuple[tuple[str, Callable[[Config], Iterable[Finding]]], ...] = (
        ("store", check_store),
        ("prometheus", check_signals),
        ("dask", check_dask),
        ("haproxy", check_haproxy),
        ("repository", check_repositories),
        ("secrets", check_secrets),
        ("tracker", check_tracker),
    )
    for part, look in parts:
        yield from _guarded(part, look, config)


def _guarded(part: str, look: "Callable[[Config], Iterable[Finding]]", config: "Config") -> Iterator[Finding]:
    from quell.incidents.errors import QuellError

    try:
        yield from look(config)
    except QuellError as error:
        yield Finding(part=part, subject=part, is_ok=False, text=str(error))


def check_store(config: "Config") -> Iterator[Finding]:
    from quell.adapters.store.sql import SqlStore

    store = SqlStore(config.connections.store)
    try:
        with store.reading() as tx:
            count = tx.incidents.count()
    finally:
        store.close()
    yield Finding(part="store", subject="store", is_ok=True, text=f"opens, holds {count} incidents")


def check_signals(config: "Config") -> Iterator[Finding]:
    """Whether Prometheus accepts every signal's query and has series for it."""
    from quell.adapters.metrics.prometheus import PrometheusSource

    source = PrometheusSource(config.connections.prometheus, timeout=config.connections.timeout)
    try:
        known = source.metric_names()
        for signal in config.signals.values():
            yield _check_signal(signal, source, known)
    finally:
        source.close()


def _check_signal(signal: "Signal", source: "PrometheusSource", known: frozenset[str]) -> Finding:
    from quell.config.problem import did_you_mean
    from quell.config.query import metrics_of
    from quell.incidents.errors import InvalidInput

    def finding(is_ok: bool, text: str) -> Finding:
        return Finding(part="prometheus", subject=signal.name, is_ok=is_ok, text=text)

    try:
        series = len(source.instant(signal.query).labels)
    except InvalidInput as error:
        return finding(False, str(error))
    missing = [
        f'metric "{name}" does not exist{did_you_mean(name, known)}'
        for name in metrics_of(signal.query)
        if name not in known
    ]
    if missing:
        return finding(False, "; ".join(missing))
    if series == 0:
        return finding(False, "returns no series now: its metrics exist, so a label in the query matches nothing")
    return finding(True, f"{series} series")


def check_dask(config: "Config") -> Iterator[Finding]:
    """Whether something listens where the configuration has its Dask scheduler."""
    address = config.detection.dask_scheduler
    if address is None:
        return
    parts = urlsplit(address)
    try:
        with socket.create_connection(
            (str(parts.hostname), parts.port or 0), config.connections.timeout.total_seconds()
        ):
            yield Finding(part="dask", subject="scheduler", is_ok=True, text=f"{address} answers")
    except OSError as error:
        text = f"{address} cannot be reached ({error}): sweeps run in threads until it can"
        yield Finding(part="dask", subject="scheduler", is_ok=False, text=text)


def check_repositories(config: "Config") -> Iterator[Finding]:
    """Whether each service's repository, branch and files exist; validator and guards accept what is in force."""
    for service in config.catalog.services.values():
        if service.repository is not None:
            yield _check_repository(service, service.repository, config.folder / "guards")


def _check_repository(service: "Service", repository: "ConfigRepository", common: Path) -> Finding:
    from quell.adapters.git import GitRepository
    from quell.incidents.errors import QuellError

    def finding(is_ok: bool, text: str) -> Finding:
        return Finding(part="repository", subject=service.name, is_ok=is_ok, text=text)

    path = Path(repository.path)
    if not path.is_dir():
        return finding(False, f"{path} does not exist")
    try:
        git = GitRepository(path)
        head = git.head(repository.branch)
        missing = [file for file in repository.files.values() if git.content(head, file) is None]
        if missing:
            return finding(False, f"{', '.join(missing)} not in {path} on branch {repository.branch}")
        refused = _validate(repository) or "; ".join(_broken_guards(repository, common))
    except QuellError as error:
        return finding(False, str(error))
    return finding(not refused, refused or f"{len(repository.files)} files at {head[:12]}")


def _broken_guards(repository: "ConfigRepository", common: Path) -> list[str]:
    """Where the files in force break the repository's own guards, or the common ones of the configuration."""
    from deployments.cli.guard import guard

    root = Path(repository.path)
    files = [root / file for file in repository.files.values()]
    folders = [folder for folder in (root / repository.guards, common) if folder.is_dir()]
    return [line for folder in folders for line in guard(files, guards=folder, root=root)]


def _validate(repository: "ConfigRepository") -> str:
    """What the validator has against the files in force; empty when nothing."""
    from datetime import timedelta

    from quell.adapters.commands import fill_in, run_command

    if not repository.validate:
        return ""
    for instance, file in repository.files.items():
        command = fill_in(repository.validate, {"file": file, "instance": instance})
        result = run_command(command, cwd=Path(repository.path), timeout=timedelta(seconds=30))
        if not result.is_ok:
            return f"validator refuses {file}: {result.said}"
    return ""


def check_secrets(config: "Config") -> Iterator[Finding]:
    """Whether every secret that is given by reference can be read; its content is never shown."""
    from quell.config.value import is_reference, read_reference
    from quell.incidents.errors import InvalidInput

    references = [
        (f"people.{person.name}", reference)
        for person in config.people.values()
        for reference in (person.totp_secret, person.password_hash)
        if reference and not reference.startswith("$")
    ]
    references += [
        (f"sources.{source.name}", reference)
        for source in (config.sources or {}).values()
        for reference in (*source.tokens, source.signing_secret)
        if reference and is_reference(reference)
    ]
    references += [
        (f"actuators.{name}.{key}", value)
        for name, one in config.actuators.items()
        for key, value in one.settings.items()
        if isinstance(value, str) and is_reference(value)
    ]
    for receiver in config.notifying.receivers.values():
        references += [(f"receivers.{receiver.name}.urls", reference) for reference in receiver.urls]
    if config.notifying.reporters:
        references.append(("reporters.url", config.notifying.reporters.url))
    if config.notifying.people:
        references.append(("people.url", config.notifying.people.url))
    for subject, reference in references:
        try:
            read_reference(reference)
            yield Finding(part="secrets", subject=subject, is_ok=True, text="readable")
        except InvalidInput as error:
            yield Finding(part="secrets", subject=subject, is_ok=False, text=str(error))


def check_tracker(config: "Config") -> Iterator[Finding]:
    """Whether the token may list the issues of every project; nothing is made, so a webhook cannot be tried."""
    from quell.adapters.tracker import look_at

    tracker = config.tracker
    for project in sorted({tracker.project, *tracker.projects.values()}) if tracker else ():
        if tracker and tracker.kind != "webhook":
            look_at(tracker, project)
            yield Finding(part="tracker", subject=project, is_ok=True, text=f"{tracker.kind} lists its issues")


def _report(findings: list[Finding]) -> None:
    rows = [("ok" if f.is_ok else "WRONG", f.part, f.subject, f.text) for f in findings]
    made = table("", ("", "part", "what", "found"), rows)
    for row, finding in zip(made.rows, findings, strict=True):
        row.style = None if finding.is_ok else "red"
    out().print(made)
    wrong = sum(not f.is_ok for f in findings)
    if wrong:
        err().print(f"{wrong} of {len(findings)} checks failed", style="bold red")
        raise typer.Exit(1)
    out().print(f"all {len(findings)} checks passed", style="green")
