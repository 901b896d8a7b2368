"""Values: what applying a policy does to what is stored, in numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cdp.kit.ids import encode_id

EXAMPLES_MAX: Final = 3


class Effect(StrEnum):
    """What happens to something when the policy is applied."""

    EXCLUDE = "exclude"
    """It is no longer used for the purpose."""
    SHORTEN = "shorten"
    """People are permitted for less time: what is from before is no longer used, or their permission ends earlier."""
    DELETE = "delete"
    """It is gone at once, or with the next sweep."""
    REVEAL = "reveal"
    """It becomes readable, though it was collected before."""
    PERMIT = "permit"
    """People become eligible, for data from the start of their permission on."""
    ENTER = "enter"
    """People become members of a segment."""
    LEAVE = "leave"
    """People are no longer members of a segment, or become members a second time because their permission begins later."""
    UNKNOWN = "unknown"
    """It was not found out."""


@dataclass(frozen=True, slots=True)
class Impact:
    """One number: how many of what, of which purpose, class or segment (`scope`); ids of some profiles concerned.

    `purpose` is that of a segment, or the one for which a reader role (`scope`) reads people.
    """

    effect: Effect
    what: str
    scope: str
    number: int
    examples: tuple[str, ...] = ()
    purpose: str | None = None


def examples_of(profile_ids: Sequence[int]) -> tuple[str, ...]:
    """The random ids of the first of these profiles."""
    return tuple(encode_id("prf", profile_id) for profile_id in profile_ids[:EXAMPLES_MAX])
