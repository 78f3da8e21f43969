"""Refusals in the store: whom standing limits would have refused in shadow, whom they do in force; and is it enough."""

from datetime import timedelta

from quell.incidents.errors import NotFound, Refused
from quell.incidents.standing import span_in_words
from quell.incidents.threshold import ThresholdVersion
from quell.ports import Document, Transaction
from quell.prevention.refusal_words import refusals_in_words
from quell.prevention.refusals import IN_FORCE, SHADOW, Refusals, from_body, refusals_id, to_body
from quell.prevention.standing_limit import StandingPolicy
from tasks.resources import Resources


def policy_of(res: Resources) -> StandingPolicy:
    """Raises NotFound where quell.toml does not ask for standing limits."""
    if res.config.standing is None:
        raise NotFound("quell.toml has no [standing_limits]: name the signal that measures traffic by client")
    return res.config.standing


def refusals_of(tx: Transaction, kind: str, version: str) -> Refusals | None:
    """What was recorded of a version in SHADOW, or IN_FORCE."""
    document = tx.documents.get(refusals_id(kind, version))
    return from_body(document.body) if document else None


def keep_refusals(tx: Transaction, kind: str, version: str, record: Refusals) -> None:
    id = refusals_id(kind, version)
    tx.documents.put(Document(id=id, kind=kind, updated_at=record.until, body=to_body(record)))


def standing_seen(tx: Transaction, version: ThresholdVersion) -> str:
    """Predicted, seen in shadow, seen in force; in words."""
    shadow, in_force = refusals_of(tx, SHADOW, version.id), refusals_of(tx, IN_FORCE, version.id)
    return refusals_in_words(version.predicted, shadow, in_force)


def shadow_left(res: Resources, tx: Transaction, version: ThresholdVersion) -> timedelta:
    """How much more traffic has to be measured in shadow before a person decides; 0 or less when it is enough."""
    wanted = res.config.standing.shadow if res.config.standing else StandingPolicy.shadow
    record = refusals_of(tx, SHADOW, version.id)
    return wanted - (record.measured if record else timedelta())


def check_shadowed(res: Resources, version: ThresholdVersion) -> None:
    """Raises Refused while its shadow is too short."""
    with res.store.reading() as tx:
        left = shadow_left(res, tx, version)
    if left > timedelta():
        raise Refused(
            f"{version.id} was not long enough in shadow: {span_in_words(left)} of measured traffic are missing",
            rule="shadow",
            value=f"{span_in_words(left)} missing",
            limit="standing_limits.shadow in quell.toml",
        )
