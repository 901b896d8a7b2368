"""Values of behavior: events, terms, traits and buckets."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NewType

EventId = NewType("EventId", bytes)
"""A keyed digest of source and message id, 16 bytes; the store keeps it as a uuid and never sees the message id itself.

Bytes sort as the uuid does, and are hashed and compared without calling Python, which a batch does for every message.
"""

AnchorId = int
ProfileId = int

NO_NAME = 0
"""`name_id` of an event that the tracking plan does not name; its name is sealed."""

EVENT_NAMES = "event"
"""The vocabulary under which names of planned events are interned."""


_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


class Term(NamedTuple):
    """A string of a vocabulary, before it is interned."""

    vocabulary: str
    text: str


Plain = int | float | Term
"""What may be stored in plain: numbers, booleans, instants (integer microseconds since 1970), terms."""

PlainEntries = list[dict[str, Plain]]
"""The plain fields of the entries of a list, in its order; an entry without any is empty."""

PlainField = Plain | PlainEntries
"""What a property of an event has in plain."""


class TakenBack(Enum):
    """The value of a stated trait that was taken back, as clients do with `null`: it is stored as the JSON value null."""

    TAKEN_BACK = None


TAKEN_BACK: Final = TakenBack.TAKEN_BACK
StatedPlain = Plain | TakenBack
"""What of a stated trait is stored in plain."""


class Terms(NamedTuple):
    """The result of interning: ids by term, and the new terms that a full vocabulary refused."""

    ids: Mapping[Term, int]
    refused: frozenset[Term]


class Mistyped(NamedTuple):
    """A planned plain value that another type was sent for: its name as in the plan, and what the plan expects."""

    property: str
    expected: str


class Classified(NamedTuple):
    """A message sorted by the tracking plan into plain and sealed values.

    `name` is the planned event's name, None when the plan does not contain it. `sealed` and `sealed_traits` hold JSON
    values. `is_dropped` is true for an unknown event that the plan drops: nothing of the message may be stored.
    `unknown` counts properties, traits and context fields that the plan does not name. `mistyped` names the planned
    plain values that were sealed because they have another type, `missing` those that a computed trait adds up and
    that the message does not have.
    """

    name: str | None
    retention_class: str
    category: str
    plain: dict[str, PlainField]
    sealed: dict[str, Any]
    plain_traits: Mapping[str, StatedPlain] = _NONE
    sealed_traits: Mapping[str, Any] = _NONE
    unknown: int = 0
    mistyped: tuple[Mistyped, ...] = ()
    missing: tuple[Mistyped, ...] = ()
    is_dropped: bool = False

    def with_traits_aside(self, keep: Collection[str]) -> "Classified":
        """The same with all traits but those to `keep` sealed with the event instead of stated about the person."""
        aside = {
            name: value.text if isinstance(value, Term) else None if value is TAKEN_BACK else value
            for name, value in (*self.plain_traits.items(), *self.sealed_traits.items())
            if name not in keep
        }
        if not aside:
            return self
        return self._replace(
            sealed=self.sealed | {"traits_of_device": aside},
            plain_traits={name: value for name, value in self.plain_traits.items() if name in keep},
            sealed_traits={name: value for name, value in self.sealed_traits.items() if name in keep},
        )


class EventEntry(NamedTuple):
    """One message ready to be stored: its anchor, purpose bits, sorted content, and sealed bytes.

    `sealed` is the sealed form of `classify.payload(classified)`, `sealed_traits` the sealed form of each entry of
    `classified.sealed_traits`. `bits` must not be 0.
    """

    anchor_id: AnchorId
    event_id: EventId
    occurred_at: datetime
    received_at: datetime
    source_id: int
    bits: int
    classified: Classified
    sealed: bytes
    sealed_traits: Mapping[str, bytes] = _NONE


class Occurred(NamedTuple):
    """An event as computed traits see it; `name` is the planned name."""

    anchor_id: AnchorId
    event_id: EventId
    occurred_at: datetime
    bits: int
    name: str
    plain: Mapping[str, PlainField]


@dataclass(frozen=True, slots=True)
class Landmark:
    """The fixed instant relative to which events of one generation of a decaying trait are weighted."""

    generation: int
    at: datetime


class Bucket(NamedTuple):
    """What one anchor's events of one UTC day add to one computed trait.

    `total` is the sum, decayed forward from the landmark of `generation` if the trait decays. `last_plain` is the
    property of the last event, None if the trait reads none.
    """

    anchor_id: AnchorId
    trait: str
    day: date
    generation: int
    events: int
    total: float
    last_at: datetime
    last_event_id: EventId
    last_plain: Plain | None


@dataclass(frozen=True, slots=True)
class StatedTrait:
    """One stated trait of an anchor; exactly one of `plain` and `sealed` is set, but for one read that was taken back."""

    anchor_id: AnchorId
    name: str
    occurred_at: datetime
    received_at: datetime
    event_id: EventId
    bits: int
    plain: StatedPlain | None = None
    sealed: bytes | None = None
    is_rectified: bool = False


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One stored event as it is exported: `plain` with the texts of its terms, `sealed` not opened."""

    anchor_id: AnchorId
    event_id: EventId
    occurred_at: datetime
    received_at: datetime
    retention_class: str
    source_id: int
    name: str | None
    bits: int
    plain: Mapping[str, PlainField]
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A computed trait that differs from its full recomputation: a defect or tampering."""

    profile_id: ProfileId
    trait: str
    stored: Plain | None
    recomputed: Plain | None
