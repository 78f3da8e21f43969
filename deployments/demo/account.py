"""The running account: one line per thing that happened, with the time since the demo began."""

import time
from collections.abc import Callable
from typing import TypeVar

from rich.console import Console

T = TypeVar("T")
_LONG_WAIT_SECONDS = 2.0


class StepMissing(Exception):
    """A step of the story did not happen in time; the text says which one and who was asked."""


class Account:
    """Prints chapters, lines and, while it waits, what it waits for."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self._start = time.monotonic()

    def chapter(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/bold]")

    def say(self, text: str) -> None:
        self.console.print(f"[dim]{time.monotonic() - self._start:6.1f} s[/dim]  {text}")

    def wait_for(self, what: str, ask: Callable[[], T | None], *, within: float, every: float = 0.2) -> T:
        """Ask until the answer is neither None nor False. Raises StepMissing after `within` seconds."""
        deadline = time.monotonic() + within
        began = time.monotonic()
        with self.console.status("") as status:
            while True:
                answer = ask()
                if answer is not None and answer is not False:
                    return answer
                now = time.monotonic()
                if now > deadline:
                    raise StepMissing(f"{what}: it did not happen within {within:.0f} s")
                if now - began > _LONG_WAIT_SECONDS:
                    status.update(f"waiting: {what} ({now - began:.0f} s of at most {within:.0f} s)")
                time.sleep(every)
