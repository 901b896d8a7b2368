"""Retention: how long each kind of row is kept, why, and what happens then."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from cdp.policy.frozen import Days, Frozen, Key, KeyedEntry, Name, Text


class After(StrEnum):
    """What happens to a row at its end."""

    DELETE = "delete"
    SEVER = "sever"


class LegalHoldRule(Frozen):
    """A law that demands some columns longer than the class keeps them: sealed again, without the person, out of use."""

    law: Name
    """The provision that demands it."""
    columns: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Properties of the class's events that are held; nothing else is."""
    keep_for_days: Days
    """Days from the event, after which the hold ends by itself."""


class RetentionClass(KeyedEntry):
    """A class of events with one end."""

    key: Key
    """The name of the entry; also the name of the partition that holds the class."""
    keep_for_days: Days
    """Days from `occurred_at`."""
    after: After
    """`delete`, or `sever`: coarsened copies without the person stay."""
    reason: Annotated[Text, Field(min_length=1)]
    """Why so long (GDPR Art. 5(1)(e))."""
    hold: LegalHoldRule | None = None
    """A statutory hold that outlasts the class."""

    @model_validator(mode="after")
    def _hold_is_longer(self) -> Self:
        if self.hold is not None and self.hold.keep_for_days <= self.keep_for_days:
            raise ValueError("a hold that ends no later than its class holds nothing: lengthen the hold or take it out")
        return self


class KeepRule(Frozen):
    """How long rows of one kind are kept."""

    keep_for_days: Days
    """Days from the instant that `counted_from` of this kind names."""
    after: After = After.DELETE
    """What happens then."""
    reason: Annotated[Text, Field(min_length=1)]
    """Why so long."""


class StandingRule(Frozen):
    """How long a standing order is kept: for good, unless a term is set."""

    keep_for_days: Days | None = None
    """Absent: without end."""
    reason: Annotated[Text, Field(min_length=1)]
    """Why."""


class Retention(Frozen):
    """The file `retention.yaml`."""

    entries: ClassVar[tuple[tuple[str, ...], ...]] = (("classes",),)

    classes: Annotated[Mapping[Key, RetentionClass], Field(min_length=1, max_length=20)]
    """Classes of events."""
    traits: KeepRule
    """Stated traits, from the message that stated them."""
    identifiers: KeepRule
    """Identifiers, from when they were last seen."""
    consent_records: KeepRule
    """Consent records, from when they ceased to decide; a live no is never swept."""
    requests: KeepRule
    """Subject requests, from their end."""
    memberships: KeepRule
    """Changes of segment membership, from the change."""
    deliveries: KeepRule
    """Deliveries, from the sending."""
    audit_salts: KeepRule
    """Salts of the audit log, from the entry; without its salt a leaf says nothing."""
    suppressions: StandingRule
    """Suppressions, from the erasure."""
    scrub_within_days: Days = 30
    """Within so many days of an erasure no residue may be left on disk."""
