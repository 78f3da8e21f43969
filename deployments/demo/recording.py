"""The demo without its programs: Quell's own code, played over a recording of the same incident.

Detection, triage, planning, guardrails, approval, journal, recovery, post-mortem and thresholds are the real ones, with
a real store. HAProxy, git, Prometheus and Prefect are not asked: the recording answers for the first three, and the
steps run as plain functions.
"""

import shutil
import tempfile
from pathlib import Path

from deployments.demo.account import Account, StepMissing
from deployments.demo.recorded import Recording
from deployments.demo.recorded_story import RecordedStory
from deployments.demo.replay import Replay, ReplayAccount
from deployments.demo.scorecard import Scorecard
from deployments.demo.witness import Witness
from deployments.sandbox.sandbox import Sandbox
from quell.incidents.errors import QuellError

FOLDER = Path(__file__).parent / "recording"
PACKAGES = {  # program -> Debian's package
    "haproxy": "haproxy",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "git": "git",
}

# A layout needs a short path, and some systems' own temporary folder has a long one.
_SHORT_FOLDER = "/tmp" if Path("/tmp").is_dir() else None


def play(account: Account, folder: Path = FOLDER, speed: float = 16.0) -> int:
    """Play the recording; 0 when every step that is replayed happened, else 1. `speed` is recorded per real second."""
    recording, card = Recording.load(folder), Scorecard()
    _say_what_it_is(account, recording)
    with tempfile.TemporaryDirectory(prefix="quell-replay-", dir=_SHORT_FOLDER) as place:
        replay = Replay(recording, speed)
        sandbox = Sandbox(Path(place))  # only its layout: nothing of it is started
        res = replay.open(sandbox.layout)
        witness = Witness(config=res.config, store=res.store, sandbox=sandbox)
        told = ReplayAccount(account, replay)
        story = RecordedStory(told, witness, card, sandbox.layout.secrets, is_interactive=False, replay=replay)
        try:
            story.tell()
        except (StepMissing, QuellError) as error:
            card.failures.append(str(error))
        finally:
            res.store.close()
    return _judge(account, card)


def _say_what_it_is(account: Account, recording: Recording) -> None:
    account.chapter(f"This is a RECORDING of {recording.began:%Y-%m-%d %H:%M} UTC, not a live run")
    account.say("HAProxy, git and Prometheus are not asked: a recording of a real run answers in their place")
    account.say("Prefect is not used either: Quell's own steps run as plain functions, on a real store")
    missing = [name for name in PACKAGES if shutil.which(name) is None]
    if missing:
        packages = " ".join(dict.fromkeys(PACKAGES[name] for name in missing))
        account.say(f"missing here: {', '.join(missing)}")
        account.say(f"for the live run: deployments/install-debian.sh, or as root: apt-get install {packages}")
    account.say("below, times are those of the recording")


def _judge(account: Account, card: Scorecard) -> int:
    failures = [*card.failures, *(f"missing: {name}" for name in card.missing())]
    account.console.print()
    account.console.print(card.table(with_promises=False))
    for failure in failures:
        account.console.print(f"[red]{failure}[/red]")
    if failures:
        account.console.print("[red]the replay did not pass[/red]")
    else:
        account.console.print("[green]Quell decided every step anew, and the recording shows each one[/green]")
    account.console.print(
        "This was a recording: HAProxy, git and Prometheus were not asked. Its script moved the levers at fixed times, "
        "so time to containment was not measured. With the programs installed, `make demo` runs it live and measures."
    )
    return 1 if failures else 0
