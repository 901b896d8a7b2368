"""The barrier: what a standing suppression does to a message that names the person (rights.md, Erasure). Pure."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Protocol, TypeVar


class SuppressibleIdentifier(Protocol):
    """An identifier as a message carries it: its pseudonym under the suppression domain, and whether it names a person."""

    @property
    def suppression_pseudonym(self) -> bytes: ...

    @property
    def is_person_level(self) -> bool: ...


class Suppressed(StrEnum):
    """Why the barrier refuses a message whole."""

    PERSON = "person"
    DEVICE = "device"


Identifier = TypeVar("Identifier", bound=SuppressibleIdentifier)


def judge(carried: Sequence[Identifier], suppressed: AbstractSet[bytes]) -> tuple[Identifier, ...] | Suppressed:
    """The identifiers that the message may keep, in their order, or why it is refused whole.

    A suppressed identifier that names a person refuses the message; a suppressed device identifier is dropped
    beside others and refuses a message that carries no other. A message without identifiers keeps none.
    """
    kept = tuple(each for each in carried if each.suppression_pseudonym not in suppressed)
    if len(kept) == len(carried):
        return kept
    if any(each.is_person_level for each in carried if each.suppression_pseudonym in suppressed):
        return Suppressed.PERSON
    return kept or Suppressed.DEVICE
