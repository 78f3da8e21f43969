"""Whether the secrets that the configuration refers to can be read."""

from collections.abc import Callable, Iterator

from deployments.cli.finding import Finding
from quell.adapters.identity import check_secret
from quell.adapters.password import read_password_hash
from quell.config.config import Config
from quell.config.value import is_reference, read_reference
from quell.incidents.decision import Person
from quell.incidents.errors import InvalidInput


def check_secrets(config: Config) -> Iterator[Finding]:
    """Whether every secret that is given by reference can be read, and be of use; its content is never shown."""
    for person in config.people.values():
        yield from _check_person(person)
    references = [
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
        yield _tried(subject, lambda reference=reference: read_reference(reference))


def _check_person(person: Person) -> Iterator[Finding]:
    """A secret that no app could use, or a hash that no password has, would refuse its owner without a word."""
    if person.totp_secret:
        yield _tried(f"people.{person.name}", lambda: check_secret(person))
    if person.password_hash:
        yield _tried(f"people.{person.name}", lambda: read_password_hash(person))


def _tried(subject: str, look: Callable[[], object]) -> Finding:
    try:
        look()
    except InvalidInput as error:
        return Finding(part="secrets", subject=subject, is_ok=False, text=str(error))
    return Finding(part="secrets", subject=subject, is_ok=True, text="readable")
