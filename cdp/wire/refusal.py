"""The refusal of a request as a whole."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """Nothing in the request can be taken: a stable code, and a sentence that says what would be right."""

    code: str
    message: str
