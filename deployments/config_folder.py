"""The configuration folder as a long-lived process sees it: what it opened is opened anew when a file changed."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from tasks.resources import CONFIG_VARIABLE, resources

Stamp = frozenset[tuple[str, int, int]]


@dataclass(slots=True)
class ConfigFolder:
    """Ask `renew` before a run, while no other one is going on: it closes what they would be using."""

    folder: Path = field(default_factory=lambda: Path(os.environ.get(CONFIG_VARIABLE, "config")))
    seen: Stamp = field(init=False)

    def __post_init__(self) -> None:
        self.seen = _stamp(self.folder)

    def renew(self) -> bool:
        """Forget what was opened if a file changed, came or went; whether that was so.

        Nothing is read here: the run itself opens the new configuration, and fails with its mistakes if it has any.
        """
        now = _stamp(self.folder)
        if now == self.seen:
            return False
        self.seen = now
        if resources.cache_info().currsize:
            resources().store.close()
            resources.cache_clear()
        return True


def _stamp(folder: Path) -> Stamp:
    found: set[tuple[str, int, int]] = set()
    for file in folder.rglob("*"):
        try:
            state = file.stat()
        except OSError:  # it went meanwhile
            continue
        if file.is_file():
            found.add((str(file), state.st_mtime_ns, state.st_size))
    return frozenset(found)
