"""Values of deliveries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotifiedRecipients:
    """The recipients that are notified of an erasure, by name, sorted."""

    recipients: tuple[str, ...]
