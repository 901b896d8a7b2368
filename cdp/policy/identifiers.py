"""Identifier types: where they come from, how they are normalized, and when they may link people."""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from cdp.policy.frozen import Days, Frozen, KeyedEntry, Name, Text, TypeKey


class NormalizerKind(StrEnum):
    """How a value becomes comparable before the keyed hash."""

    EMAIL = "email"
    PHONE = "phone"
    ID = "id"
    ADVERTISING_ID = "advertising_id"


class OnConflict(StrEnum):
    """How a weak identifier seen with two different unique ones is treated."""

    SHARED = "shared"
    FIRST_OWNER = "first_owner"


class EmailFolding(StrEnum):
    """Whether spellings of one mailbox are folded together."""

    OFF = "off"
    PLUS = "plus"
    PLUS_AND_DOTS = "plus_and_dots"


class Limit(Frozen):
    """How many identifiers of a type one profile may hold."""

    count: Annotated[int, Field(ge=1, le=1000)]
    """The largest number."""
    within_days: Days | None = None
    """Counts those seen within this many days; absent: all."""


class Promotion(Frozen):
    """A place of a message that contains an identifier."""

    place: Annotated[str, Field(pattern=r"^[A-Za-z_$][^.\[\]]*(\.[^.\[\]]+)*(\[\])?$", max_length=200)]
    """Dotted path into the message. `context.externalIds[]` reads the entries that name this type and have `id`, `type`,
    `collection: users` and `encoding: none`."""
    when: Mapping[Name, str | bool] = Field(default_factory=dict)
    """Paths that must hold these values, else the place is ignored; case is ignored."""

    @field_validator("place")
    @classmethod
    def _lists_only_external_ids(cls, place: str) -> str:
        if place.endswith("[]") and place != EXTERNAL_IDS:
            raise ValueError(f"the only list that can be promoted is {EXTERNAL_IDS}")
        return place


EXTERNAL_IDS = "context.externalIds[]"


class Blocked(Frozen):
    """Values that identify no one."""

    values: tuple[Annotated[str, Field(max_length=200)], ...] = ()
    """Whole values; compared after trimming, ignoring case and surrounding quotes."""
    patterns: tuple[Annotated[str, Field(max_length=200)], ...] = ()
    """Regular expressions, searched for in the trimmed value, ignoring case."""

    @field_validator("patterns")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as fault:
                raise ValueError(f"{pattern!r} is not a regular expression: {fault}") from None
        return patterns


class Bounds(Frozen):
    """Limits beyond which a profile or a message is implausible."""

    identifiers_per_profile: Annotated[int, Field(ge=2, le=100_000)] = 1000
    """A profile that exceeds it is quarantined."""
    merges_per_profile: Annotated[int, Field(ge=1, le=10_000)] = 100
    """A profile that exceeds it is quarantined."""
    anchors_per_profile: Annotated[int, Field(ge=2, le=100_000)] = 1000
    """How many different sets of identifiers the messages of one profile may carry; one that exceeds it is quarantined."""
    identifiers_per_replay: Annotated[int, Field(ge=2, le=100_000)] = 1000
    """How many identifiers a message may cause to be resolved again through shared ones; those stay shared where it is more."""
    identifiers_per_message: Annotated[int, Field(ge=2, le=200)] = 50
    """The weakest identifiers that exceed it are ignored and counted."""
    value_length_max: Annotated[int, Field(ge=16, le=4096)] = 512
    """A longer value is not an identifier; it is ignored and counted."""


class IdentifierType(KeyedEntry):
    """A kind of identifier and how strongly it links."""

    key: TypeKey
    """The name of the entry: the type as used by the API, SDKs and pseudonyms."""
    text: Text = ""
    """What it is, for people."""
    normalizer: NormalizerKind
    """How values become comparable."""
    priority: Annotated[int, Field(ge=1, le=1000)]
    """1 is strongest; where a merge would break a rule, the weakest identifier of the message is dropped first. No two types share one."""
    limit: Limit = Limit(count=5)
    """How many one profile may hold."""
    unique: bool = False
    """Two profiles with different values of a unique type never merge."""
    person_level: bool = False
    """Identifies a person: if it is suppressed, the whole message is refused. Required for unique types."""
    device: bool = False
    """Identifies a device or browser: the only kind for which a browser source may record a grant."""
    trusts_browsers: bool = True
    """For a unique type: whether a browser may name a value that a server or an import named. If ids can be guessed, say `false`: such
    a message then stands without it, and only a server ties devices to the person."""
    merges: bool = True
    """Whether it may link profiles at all; a household id does not."""
    on_conflict: OnConflict = OnConflict.SHARED
    """How it is treated when two different unique identifiers appear with it."""
    blocked: Blocked = Blocked()
    """Values blocked for this type in addition to those blocked for all."""
    promote: tuple[Promotion, ...] = ()
    """Where messages contain it; `previousId` of an alias is always read as an `anonymous_id`."""

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if self.unique and self.limit != Limit(count=1):
            raise ValueError("a unique type has `limit: {count: 1}` without a window")
        if self.unique and not self.person_level:
            raise ValueError("a unique type identifies a person: set `person_level: true`")
        if not self.trusts_browsers and not self.unique:
            raise ValueError(
                "`trusts_browsers` is for unique types: no browser is trusted about other types of persons"
            )
        if self.device and self.person_level:
            raise ValueError("a type identifies a person or a device, not both: choose `person_level` or `device`")
        if self.unique and not self.merges:
            raise ValueError("a unique type that never merges would create a new profile each time: set `merges: true`")
        return self


class Identifiers(Frozen):
    """The file `identifiers.yaml`."""

    entries: ClassVar[tuple[tuple[str, ...], ...]] = (("types",),)

    default_region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    """Country of phone numbers written without a country code; absent: such numbers are not identifiers."""
    email_folding: EmailFolding = EmailFolding.OFF
    """`plus` drops `+tag` before the @; `plus_and_dots` also drops dots at gmail.com and googlemail.com."""
    blocked: Blocked
    """Values that are not accepted as an identifier of any type."""
    bounds: Bounds = Bounds()
    """Limits of a profile and of a message."""
    types: Annotated[Mapping[TypeKey, IdentifierType], Field(min_length=1, max_length=100)]
    """The identifier types; all others never link and are only counted."""

    @cached_property
    def ordered(self) -> tuple[IdentifierType, ...]:
        """The types, strongest first."""
        return tuple(sorted(self.types.values(), key=lambda identifier_type: identifier_type.priority))

    @cached_property
    def unique_types(self) -> frozenset[str]:
        """Keys of the unique types."""
        return frozenset(key for key, identifier_type in self.types.items() if identifier_type.unique)
