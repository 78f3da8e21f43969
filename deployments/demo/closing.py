"""The end of the demo's incident, by the commands that people type: guard accepted, post-mortem signed, closed."""

import os
import subprocess
import sys
import time
from pathlib import Path

from pyotp.totp import TOTP

from deployments.demo.account import Account, StepMissing
from deployments.demo.witness import Witness
from quell.incidents.decision import Person
from quell.incidents.incident import Incident, IncidentState
from tasks.guard_standing import standing_of

_COMMAND_SECONDS = 60
_TRIES = 3  # a post-mortem that the record adds to meanwhile is read and signed anew
_CODE_SECONDS = 30


def close_incident(account: Account, witness: Witness, secrets: Path, incident: Incident) -> None:
    """Raises StepMissing when it cannot be closed."""
    with witness.store.reading() as tx:
        waiting = standing_of(tx, incident.id).waiting
    for guard in waiting:
        owner = _person(witness, "shop")
        words = ("guard", "accept", guard.name, "-r", guard.repository, "--by", owner.name)
        account.say(_quell(witness, *words, by=owner))
    review = witness.review(incident.id)
    for team in [sign_off.team for sign_off in review.sign_offs if not sign_off.person] if review else []:
        account.say(_sign(witness, secrets, incident.id, team))
    account.wait_for(
        f"{incident.id} closed", lambda: witness.current(incident.id).state is IncidentState.CLOSED, within=90
    )
    with witness.store.reading() as tx:
        why = [entry.text for entry in tx.timeline.of(incident.id) if entry.kind == "incident closed"][-1]
    account.say(f"{incident.id} is closed: {why}")


def _sign(witness: Witness, secrets: Path, incident: str, team: str) -> str:
    person = _person(witness, team)
    for _ in range(_TRIES):
        review = witness.review(incident)
        edition = str(review.edition) if review else "1"
        code = TOTP((secrets / f"{person.name}.totp").read_text().strip()).now()
        words = ("review", "sign", incident, "--team", team, "--edition", edition, "--by", person.name, "--code", code)
        try:
            return f"{person.name}: {_quell(witness, *words, by=person)}"
        except StepMissing as error:
            if "edited while you read it" not in str(error) and "was used" not in str(error):
                raise
            time.sleep(_CODE_SECONDS)
    raise StepMissing(f"{person.name} could not sign for {team}: the post-mortem changed {_TRIES} times")


def _person(witness: Witness, team: str) -> Person:
    """Somebody of the team who may act; anybody who may where the team has nobody."""
    able = [person for person in witness.config.people.values() if set(person.roles) - {"viewer"}]
    return next((person for person in able if person.team == team), able[0])


def _quell(witness: Witness, *words: str, by: Person) -> str:
    """What the command said. Raises StepMissing with its words when it fails."""
    command = [sys.executable, "-m", "deployments.cli.main", *words, "--config", str(witness.config.folder)]
    names = {"NAME": by.full_name, "EMAIL": by.email or f"{by.name}@shop.example"}
    identity = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in names.items()}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
        env={**os.environ, **identity, "COLUMNS": "200", "NO_COLOR": "1"},
    )
    if done.returncode != 0:
        raise StepMissing(f"quell {words[0]} {words[1]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()
