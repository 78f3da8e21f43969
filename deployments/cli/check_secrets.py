"""Whether the secrets that the configuration refers to can be read."""

from collections.abc import Iterator

from deployments.cli.finding import Finding
from quell.config.config import Config
from quell.config.value import is_reference, read_reference
from quell.incidents.errors import InvalidInput


def check_secrets(config: Config) -> Iterator[Finding]:
    """Whether every secret that is given by reference can be read; its content is never shown."""
    references = [
        (f"people.{person.name}", reference)
        for person in config.people.values()
        for reference in (person.totp_secret, person.password_hash)
        if reference and not reference.startswith("$")
    ]
    references += [
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
        try:
            read_reference(reference)
            yield Finding(part="secrets", subject=subject, is_ok=True, text="readable")
        except InvalidInput as error:
            yield Finding(part="secrets", subject=subject, is_ok=False, text=str(error))
