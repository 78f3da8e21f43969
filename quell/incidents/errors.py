"""The few ways in which Quell says no."""


class QuellError(Exception):
    """Base of every error that Quell raises on purpose; its text tells the operator what to do next."""


class InvalidTransition(QuellError):
    """A record was asked to move to a state that its transition table does not allow."""


class InvalidInput(QuellError):
    """Something a person or a program sent cannot be understood; the text names field, value and limit."""


class NotFound(QuellError):
    """A record that should exist does not; the text names the kind and the id."""


class Conflict(QuellError):
    """A record already exists, or somebody else holds what is asked for."""


class Unavailable(QuellError):
    """Something outside (database, Prometheus, HAProxy) cannot be reached now; trying again later may work."""


class Refused(QuellError):
    """A rule forbids it; the text names rule, value and limit."""

    def __init__(self, message: str, *, rule: str = "", value: str = "", limit: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        self.value = value
        self.limit = limit
