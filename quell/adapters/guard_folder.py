"""The guards of a repository: read, proved again, accepted, and new ones proposed from a commit."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from quell.adapters.bad_change import BadFile, gather, ground_of
from quell.adapters.documents import FolderFiles
from quell.adapters.git import GitRepository
from quell.adapters.guards import load_guards, write_guard
from quell.incidents.errors import InvalidInput, NotFound, QuellError, Refused
from quell.resolution.guard import Guard
from quell.resolution.proposal import Proposal, propose
from quell.resolution.proving import Outcome, prove


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardFolder:
    """`root` is the working tree of a git repository, `name` the folder of guards in it."""

    root: Path
    name: str = "guards"

    @property
    def git(self) -> GitRepository:
        return GitRepository(self.root)

    def guards(self) -> tuple[Guard, ...]:
        return load_guards(self.root / self.name)

    def find(self, name: str) -> Guard:
        """Raises NotFound."""
        guards = {guard.name: guard for guard in self.guards()}
        if name not in guards:
            known = ", ".join(guards) or "none"
            raise NotFound(f"guard {name} is not in {self.root / self.name}; there are: {known}")
        return guards[name]

    def prove(self, guard: Guard, *, now: datetime | None = None) -> Outcome:
        """Whether it fails on the bad file that its proof names, and passes on every file of the working tree.

        Raises InvalidInput for a guard without such a file: people wrote it, nothing shows that it would have helped.
        """
        commit, _, file = guard.proof.bad.partition(":")
        if not file:
            raise InvalidInput(f"guard {guard.name} names no bad file; give it proof: {{bad: COMMIT:FILE}}")
        bad = self.git.content(commit, file)
        path = self.root / file
        if bad is None:
            raise NotFound(f"guard {guard.name}: {file} does not exist at commit {commit[:12]}")
        if not path.is_file():
            raise NotFound(f"guard {guard.name}: {file} is not in {self.root} any more; remove the guard, or mend it")
        files = FolderFiles(root=self.root.resolve(), without=self.name)
        good = files.read(file).text
        return prove(guard, ground_of(files, file, good_text=good, bad_text=bad, now=now or datetime.now(UTC)))

    def accept(self, name: str, by: str) -> tuple[Guard, Outcome, str]:
        """Prove the guard as it stands on disk, mark it as accepted and commit its file; the commit's id.

        Raises Refused for a guard that is not proved, so that an edit cannot make it worthless.
        """
        guard = self.find(name)
        outcome = self.prove(guard)
        if not outcome.is_proved:
            raise Refused(f"guard {name} is not proved: {outcome.wrong}; edit {guard.source} and try again")
        head = self.git.git("rev-parse", "HEAD").strip()
        accepted = replace(guard, state="accepted", accepted_by=by, proof=replace(guard.proof, good=head))
        file = guard.source if self.name in guard.source else f"{self.name}/{guard.source}"
        (self.root / file).write_text(write_guard(accepted))
        self.git.git("add", "--", file)
        message = f"guards: {by} accepts {name}\n\n{guard.message}\n\nIncident: {guard.incident}\n"
        if self.git.git("status", "--porcelain", "--", file).strip():  # else it was accepted by the same person before
            self.git.git("commit", "--quiet", "--only", "--file=-", "--", file, stdin=message)
        return accepted, outcome, self.git.git("rev-parse", "HEAD").strip()

    def is_edited(self, guard: Guard) -> bool:
        """Whether the file on disk differs from the one that was committed."""
        return bool(self.git.git("status", "--porcelain", "--", guard.source).strip())

    def propose(
        self, commit: str, *, service: str = "", incident: str = "", file: str = "", now: datetime | None = None
    ) -> tuple[tuple[Proposal, ...], tuple[str, ...]]:
        """Guards from what a commit did, to one file or to all that it changed; nothing is written.

        The working tree must be mended already, but for the files that the commit changed: they are taken as they were
        before it.
        """
        names = [file] if file else [n for n in self.git.files_of(commit) if not n.startswith(f"{self.name}/")]
        found: list[Proposal] = []
        missing: list[str] = []
        for one in names:
            about = service or Path(one).stem
            bad = BadFile(service=about, incident=incident or f"commit {commit[:12]}", commit=commit, file=one)
            try:
                change, ground = gather(self.git, bad, root=self.root, guards=self.name, now=now or datetime.now(UTC))
            except QuellError as error:
                missing.append(str(error))
                continue
            proposals, without = propose(change, ground)
            found += proposals
            missing += without
        return tuple(found), tuple(missing)

    def write(self, guard: Guard) -> Path:
        """Put a proposal into the folder, not yet committed. Raises Refused for a name that is taken."""
        path = self.root / self.name / guard.source
        if path.exists():
            raise Refused(f"{path} exists already; rename or remove it first")
        path.parent.mkdir(exist_ok=True)
        path.write_text(write_guard(guard))
        return path
