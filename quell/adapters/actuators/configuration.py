"""Configuration in git as the lever: a file goes back to an earlier version, as a commit, validated and reloaded.

What was last put into force here stands in the ref `refs/quell/in-force/TARGET` (the file's blob), so that a process
which dies between the commit and the reload leaves a trace: the next one reloads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from quell.adapters.actuators.allowed_action import shorten, tightest
from quell.adapters.actuators.plugins import read_settings
from quell.adapters.commands import fill_in, run_command
from quell.adapters.git import GitRepository, open_repository
from quell.config.config import Config
from quell.config.schema import Model
from quell.config.value import PositiveDuration
from quell.incidents.errors import Conflict, InvalidInput, NotFound, Unavailable
from quell.incidents.mitigation import Step, idempotency_key
from quell.incidents.service import Catalog, ConfigRepository

RESTORE = "restore"
PREVIOUS = "previous"
_RECENT = timedelta(hours=1)


class ConfigurationSettings(Model):
    """`timeout` bounds one validation and one reload."""

    timeout: PositiveDuration = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A target's file and where it lives."""

    target: str
    file: str
    git: GitRepository
    repository: ConfigRepository
    names: tuple[str, ...]  # what is reloaded: the target, or each instance of a service that reloads one by one

    @property
    def mark(self) -> str:
        return f"refs/quell/in-force/{self.target}"


class ConfigurationActuator:
    """The files of the services' repositories (services.yaml, `repository`); a target is an instance or a service."""

    def __init__(self, name: str, settings: ConfigurationSettings, catalog: Catalog) -> None:
        self.name = name
        self._settings = settings
        self._catalog = catalog

    def actions(self) -> Mapping[str, str]:
        return {
            RESTORE: "Puts the target's file in git back to how it was at params commit (or `previous`) and reloads it."
        }

    def parameters(self) -> Mapping[str, tuple[str, ...]]:
        return {RESTORE: ("commit",)}

    def resolve(self, step: Step) -> Step:
        """`previous` as the commit that it means now: a plan names what it would do, and stays that."""
        place = self._place(step)
        if step.params["commit"] != PREVIOUS:
            return step
        place.git.catch_up(place.repository.branch)
        versions = self._versions(place)
        if len(versions) < 2:
            raise InvalidInput(f"{place.file} has one version only, there is none to go back to")
        return replace(step, params={**step.params, "commit": versions[1]})

    def describe(self, step: Step) -> str:
        place, commit = self._place(step), str(step.params["commit"])
        if commit == PREVIOUS:
            return f"put {place.file} back to its version before the last change, and reload {step.target}"
        known = place.git.commit(commit)
        made = f"{known.at:%Y-%m-%d %H:%M} UTC, {shorten(known.subject, 80)}"
        return f"put {place.file} back to how it was at {known.id[:12]} ({made}), and reload {step.target}"

    def describe_undo(self, step: Step) -> str:
        return f"put {self._place(step).file} back to its content of before, as a commit, and reload {step.target}"

    def read_state(self, step: Step) -> Mapping[str, str]:
        """The blob of the file at the head of the deployed branch."""
        place = self._place(step)
        place.git.catch_up(place.repository.branch)
        return {"blob": self._blob(place, place.repository.branch)}

    def apply(self, step: Step) -> None:
        place = self._place(step)
        self._bring(place, self._wanted(place, step), step, f"{step.target}: back to {str(step.params['commit'])[:12]}")

    def verify(self, step: Step) -> bool:
        place = self._place(step)
        wanted = self._wanted(place, step)
        return self._blob(place, place.repository.branch) == wanted and self._in_force(place, wanted, unknown=False)

    def undo(self, step: Step, state_before: Mapping[str, str]) -> None:
        if not self.verify_undone(step, state_before):
            self._bring(self._place(step), state_before["blob"], step, f"{step.target}: take back the roll-back")

    def verify_undone(self, step: Step, state_before: Mapping[str, str]) -> bool:
        place, before = self._place(step), state_before["blob"]
        return self._blob(place, place.repository.branch) == before and self._in_force(place, before, unknown=True)

    def capacity(self, service_targets: Sequence[str]) -> Mapping[str, float]:  # noqa: ARG002 - the port's signature
        """It serves nobody."""
        return {}

    def witness(self, step: Step) -> str:
        """The file's last change, when it was made within the hour."""
        place = self._place(step)
        last = place.git.commit(self._versions(place)[0])
        age = datetime.now(UTC) - last.at
        if age > _RECENT:
            return ""
        return f"{place.file} was changed {age.total_seconds() / 60:.0f} min ago: {shorten(last.subject, 80)}"

    def _place(self, step: Step) -> _Place:
        if step.action != RESTORE:
            raise InvalidInput(f"{self.name} has no action {step.action!r}; it has {RESTORE}")
        if not str(step.params.get("commit", "")).strip():
            raise InvalidInput(f"{RESTORE} of {step.target} needs the parameter commit: a commit's id, or {PREVIOUS}")
        for service in self._catalog.services.values():
            repository = service.repository
            if repository is not None and step.target in repository.files:
                git = open_repository(repository, tightest(self._settings.timeout, step))
                file = repository.files[step.target]
                is_of_all = repository.one_by_one and step.target == service.name
                names = tuple(one.name for one in service.readers) if is_of_all else (step.target,)
                return _Place(target=step.target, file=file, git=git, repository=repository, names=names)
        known = [name for s in self._catalog.services.values() if s.repository for name in s.repository.files]
        raise InvalidInput(f"{step.target!r} has no file in a repository; those that have are {', '.join(known)}")

    def _versions(self, place: _Place) -> list[str]:
        """The last two commits that changed the file, the newest first."""
        branch = place.git.head(place.repository.branch)
        return place.git.git("log", "-2", "--format=%H", branch, "--", place.file).split()

    def _wanted(self, place: _Place, step: Step) -> str:
        commit = str(step.params["commit"])
        if commit == PREVIOUS:
            raise InvalidInput(f"{RESTORE} of {step.target}: {PREVIOUS} is no commit yet; plan it, that names one")
        return self._blob(place, place.git.commit(commit).id)

    def _blob(self, place: _Place, commit: str) -> str:
        found = place.git.run("rev-parse", "--verify", "--quiet", f"{commit}:{place.file}")
        if not found.is_ok:
            raise NotFound(f"{place.file} is not in {place.repository.path} at {commit[:12]}")
        return found.stdout.strip()

    def _in_force(self, place: _Place, blob: str, *, unknown: bool) -> bool:
        """Whether this content was the last that was reloaded here; `unknown` where nothing ever was."""
        if not place.repository.reload:
            return True
        found = place.git.run("rev-parse", "--verify", "--quiet", place.mark)
        return found.stdout.strip() == blob if found.is_ok else unknown

    def _bring(self, place: _Place, blob: str, step: Step, title: str) -> None:
        """Commit this content where the branch has another, and reload. Raises Unavailable when somebody was faster, or
        while a remote cannot be reached."""
        place.git.catch_up(place.repository.branch)
        if self._blob(place, place.repository.branch) != blob:
            try:
                self._commit(place, blob, step, title)
            except Conflict as error:
                raise Unavailable(f"{self.name}: {error}") from error
        self._reload(place, step)
        place.git.git("update-ref", place.mark, blob)

    def _commit(self, place: _Place, blob: str, step: Step, title: str) -> None:
        key = idempotency_key(step)
        branch = f"quell/restore-{place.target}"
        with place.git.work_tree(branch, start=place.repository.branch) as tree:
            tree.write(place.file, place.git.git("cat-file", "blob", blob))
            self._validate(place, tree.path, step)
            tree.commit(f"{title}\n\nBy Quell, to contain an incident.\n\nStep: {key}\n")
        place.git.merge(branch, into=place.repository.branch)
        place.git.forget(branch)

    def _validate(self, place: _Place, tree: Path, step: Step) -> None:
        command = place.repository.validate
        values = {"file": str(tree / place.file), "instance": place.target}
        if not command:
            return
        result = run_command(fill_in(command, values), cwd=tree, timeout=tightest(self._settings.timeout, step))
        if not result.is_ok:
            raise InvalidInput(f"validator refuses {place.file} (exit code {result.code}): {shorten(result.said)}")

    def _reload(self, place: _Place, step: Step) -> None:
        command, folder = place.repository.reload, Path(place.repository.path)
        if not command:
            return
        for name in place.names:
            values = {"file": place.file, "instance": name, "commit": place.git.head(place.repository.branch)}
            result = run_command(fill_in(command, values), cwd=folder, timeout=tightest(self._settings.timeout, step))
            if not result.is_ok:
                raise Unavailable(f"reload of {name} failed (exit code {result.code}): {shorten(result.said)}")


def make_configuration(name: str, settings: Mapping[str, Any], config: Config) -> ConfigurationActuator:
    """The factory behind the entry point `git`; the repositories stand in services.yaml."""
    if not any(service.repository for service in config.catalog.services.values()):
        raise InvalidInput("no service has a repository: write one in services.yaml, or take this actuator out")
    return ConfigurationActuator(name, read_settings(ConfigurationSettings, settings), config.catalog)
