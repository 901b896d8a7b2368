"""Values of deliveries."""

from dataclasses import dataclass
from enum import StrEnum


class RecipientNotice(StrEnum):
    """What recipients are notified of (GDPR Art. 19), besides the end of a restriction that they were notified of."""

    ERASURE = "erasure"
    RECTIFICATION = "rectification"
    RESTRICTION = "restriction"
    RESTRICTION_END = "restriction_end"


@dataclass(frozen=True, slots=True)
class NotifiedRecipients:
    """The recipients that are to be notified, by name, sorted."""

    recipients: tuple[str, ...]
