"""How the demo's fix is reviewed: the owner of the service reads the diff and says yes, or you do."""

from collections.abc import Callable
from pathlib import Path

import httpx
from pyotp.totp import TOTP

from deployments.demo.account import Account
from deployments.demo.witness import Witness
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import Incident
from quell.response.fix_approval import text_hash

OWNER = "alice"  # of checkout


def approve_fix(
    account: Account, witness: Witness, secrets: Path, incident: Incident, invite: Callable[[str, str], None] | None
) -> None:
    """Through the door that other programs use; `invite` tells a person instead how to do it. Raises StepMissing."""
    fix = account.wait_for("a fix that waits for its owner", lambda: _waiting(witness, incident), within=120)
    page = f"{witness.config.gateway_url}/incidents/{incident.id}#{fix.id}"
    account.say(f"{fix.id} on a branch of its own: {fix.deed} in {fix.file}")
    account.say(f"guard: {fix.guard_proof}")
    account.say(f"the diff waits for {OWNER}, who owns the service: {page}")
    if invite is not None:
        invite(fix.id, OWNER)
    else:
        used: set[str] = set()
        account.wait_for("an answer that is accepted", lambda: _answer(witness, secrets, fix, used), within=45)
    account.wait_for(
        "the owner's word in the record", lambda: _is_approved(witness, fix), within=45 if invite is None else 900
    )
    account.say(f"{OWNER} has approved the diff")


def _waiting(witness: Witness, incident: Incident) -> Fix | None:
    with witness.store.reading() as tx:
        found = tx.fixes.find({"incident": incident.id, "state": FixState.VALIDATED})
    return next((fix for fix in found if fix.approval_deadline is not None), None)


def _answer(witness: Witness, secrets: Path, fix: Fix, used: set[str]) -> bool:
    """Whether it was taken: a one-time code works once, and five wrong ones lock the person out."""
    code = TOTP((secrets / f"{OWNER}.totp").read_text().strip()).now()
    if code in used:
        return False
    used.add(code)
    answer = {
        "subject": fix.id,
        "plan_hash": text_hash(fix.diff),
        "person": OWNER,
        "code": code,
        "answer": "approve",
        "comment": "demo",
    }
    url = f"{witness.config.gateway_url}/api/v1/decisions"
    return httpx.post(url, json=answer, timeout=10).status_code == 201


def _is_approved(witness: Witness, fix: Fix) -> bool:
    with witness.store.reading() as tx:
        found = tx.fixes.get(fix.id)
    return found is not None and bool(found.approved_by)
