"""The refusal of a request as a whole."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """Nothing in the request can be processed: a stable code, and a sentence that states what is required."""

    code: str
    message: str
