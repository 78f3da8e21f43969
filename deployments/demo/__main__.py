"""Run the demo: `python -m deployments.demo [--interactive] [--keep] [--folder DIR] [--base-port N]`."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from deployments.demo.account import Account, StepMissing
from deployments.demo.scorecard import Scorecard
from deployments.sandbox.programs import program_environment
from deployments.sandbox.sandbox import Sandbox

_PROGRAMS = ("haproxy", "prometheus", "promtool", "prometheus-alertmanager", "git")
_UP_SECONDS = 120
_MARKER = "quell-demo"


def main() -> int:
    """0 when every milestone was witnessed, 1 when one is missing, 2 when the sandbox cannot run here."""
    options = _options()
    account = Account()
    os.environ["PATH"] = program_environment()["PATH"]  # Debian keeps haproxy where users do not look
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        from deployments.demo.recording import play

        account.say(f"not installed here: {', '.join(missing)}; playing a recording of the same incident instead")
        return play(account)
    folder = options.folder.resolve()
    if folder.exists():
        if any(folder.iterdir()) and not (folder / _MARKER).exists():
            account.say(f"{folder} is not empty and not from an earlier demo: name another --folder, or empty it")
            return 2
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARKER).write_text("made by the demo, which empties this folder when it runs again\n")
    account.chapter("A shop is set up: HAProxy, eight service instances, Prometheus, Alertmanager, a git repository")
    gateway = f"http://127.0.0.1:{options.base_port + 60}"
    with Sandbox(folder / "sandbox", base_port=options.base_port, gateway_url=gateway) as sandbox:
        began = time.monotonic()
        account.say(f"users' door http://127.0.0.1:{options.base_port}/, files in {folder}")
        return _with_quell(options, account, sandbox, folder, began)


def _with_quell(options: argparse.Namespace, account: Account, sandbox: Sandbox, folder: Path, began: float) -> int:
    log = folder / "quell-up.log"
    command = [sys.executable, "-m", "deployments.cli.main", "up"]
    command += ["--config", str(sandbox.config_folder), "--data", str(folder / "quell")]
    card = Scorecard()
    with log.open("wb") as output:
        up = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        _drive(options, account, sandbox, card, up, log, began)
    except StepMissing as error:
        card.failures.append(str(error))
    except KeyboardInterrupt:
        card.failures.append("interrupted")
    finally:
        account.console.print()
        account.console.print(card.table())
        if options.interactive or options.keep:
            account.say("everything keeps running: look around, then press Ctrl-C")
            _until_interrupted(up)
        up.send_signal(signal.SIGTERM)
        up.wait(60)
    return _judge(account, card)


def _drive(
    options: argparse.Namespace,
    account: Account,
    sandbox: Sandbox,
    card: Scorecard,
    up: subprocess.Popen[bytes],
    log: Path,
    began: float,
) -> None:
    # Prefect reads its address when it is first imported, so what uses it is imported only now.
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{options.base_port + 70}/api"
    os.environ["PREFECT_UI_URL"] = f"http://127.0.0.1:{options.base_port + 70}"
    from deployments.demo.story import Story
    from deployments.demo.witness import Witness
    from quell.adapters.store.sql import SqlStore
    from quell.config.load import load_config

    config = load_config(sandbox.config_folder)

    def quell_is_up() -> bool:
        if up.poll() is not None:
            raise StepMissing(f"quell up ended with {up.returncode}:\n{log.read_text()[-2000:]}")
        return "Quell is up" in log.read_text()

    account.say("quell up: Prefect server, deployments, worker, sweeper, responder, gateway")
    account.wait_for("quell up", quell_is_up, within=_UP_SECONDS)
    account.say(f"Prefect UI {os.environ['PREFECT_UI_URL']}   incidents {config.gateway_url}/")
    httpx.get(f"{config.gateway_url}/readyz", timeout=5).raise_for_status()
    witness = Witness(config=config, store=SqlStore(config.connections.store), sandbox=sandbox)
    story = Story(account, witness, card, sandbox.layout.folder / "secrets", options.interactive)
    story.calm(began)
    story.bad_configuration()
    story.noisy_client()
    faults = witness.audit_faults()
    card.failures += [f"audit: {fault}" for fault in faults]
    if not faults:
        account.say("quell audit verify: the timeline is whole")


def _judge(account: Account, card: Scorecard) -> int:
    failures = [*card.failures, *(f"missing: {name}" for name in card.missing())]
    for title, value, limit in (
        ("fault to contained, sweep path", card.sweep_path(), 45),
        ("fault to contained, Alertmanager path", card.alert_path(), 10),
    ):
        if value is not None and value.total_seconds() > limit:
            failures.append(f"{title}: {value.total_seconds():.1f} s, promised under {limit} s")
    for failure in failures:
        account.console.print(f"[red]{failure}[/red]")
    account.console.print("[red]the demo did not pass[/red]" if failures else "[green]every step was witnessed[/green]")
    return 1 if failures else 0


def _until_interrupted(up: subprocess.Popen[bytes]) -> None:
    try:
        while up.poll() is None:
            time.sleep(0.5)
    except KeyboardInterrupt:
        return


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--interactive", action="store_true", help="you approve, in the Prefect UI")
    parser.add_argument("--keep", action="store_true", help="keep everything running at the end, until Ctrl-C")
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="where everything is kept (emptied first)")
    parser.add_argument("--base-port", type=int, default=7400, help="first port; the next 99 are used too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
