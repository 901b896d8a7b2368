"""What a suppression, pending or permanent, does to a message that names the person. Pure.

See docs/explanation/rights.md, "Erasure".
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Protocol, TypeVar


class SuppressibleIdentifier(Protocol):
    """An identifier of a message: its pseudonym under the suppression domain, and whether it identifies a person."""

    @property
    def suppression_pseudonym(self) -> bytes: ...

    @property
    def is_person_level(self) -> bool: ...


class Suppressed(StrEnum):
    """Why a message is suppressed as a whole."""

    PERSON = "person"
    DEVICE = "device"


Identifier = TypeVar("Identifier", bound=SuppressibleIdentifier)


def filter_suppressed(
    identifiers: Sequence[Identifier], suppressed: AbstractSet[bytes]
) -> tuple[Identifier, ...] | Suppressed:
    """The identifiers that the message may keep, in their order, or why the whole message is suppressed.

    A suppressed identifier that identifies a person suppresses the message. A suppressed device identifier is dropped if
    the message has others, and suppresses the message if it does not. A message without identifiers keeps none.
    """
    kept = tuple(identifier for identifier in identifiers if identifier.suppression_pseudonym not in suppressed)
    if len(kept) == len(identifiers):
        return kept
    if any(identifier.is_person_level for identifier in identifiers if identifier.suppression_pseudonym in suppressed):
        return Suppressed.PERSON
    return kept or Suppressed.DEVICE
