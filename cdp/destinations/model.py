"""Values of the destinations room."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotifiedRecipients:
    """The recipients that are told of an erasure, by name, in order."""

    recipients: tuple[str, ...]
