"""Values of the destinations room."""

from dataclasses import dataclass
from enum import StrEnum


class DeliveryKind(StrEnum):
    """What a delivery tells its recipient."""

    MEMBERSHIP = "membership"
    ERASURE = "erasure"


@dataclass(frozen=True, slots=True)
class Notified:
    """The recipients that are told of an erasure, by name, in order."""

    recipients: tuple[str, ...]
