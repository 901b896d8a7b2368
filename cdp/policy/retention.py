"""Retention: how long each kind of row is kept, why, and what happens afterwards."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from cdp.policy.frozen import Days, Frozen, Key, KeyedEntry, Name, Text


class After(StrEnum):
    """What happens to a row when it expires."""

    DELETE = "delete"
    SEVER = "sever"


class LegalHoldRule(Frozen):
    """A law that requires some columns for longer than the class keeps them: sealed again, without the person, out of use."""

    law: Name
    """The provision that requires it."""
    columns: Annotated[tuple[Name, ...], Field(min_length=1)]
    """The properties of the class's events that are held; no others are."""
    keep_for_days: Days
    """Days from the event after which the legal hold ends."""


class RetentionClass(KeyedEntry):
    """A class of events with a common retention."""

    key: Key
    """The name of the entry; also the name of the partition that holds the class."""
    keep_for_days: Days
    """Days from `occurred_at`."""
    after: After
    """`delete`, or `sever`: coarsened copies without the person remain."""
    reason: Annotated[Text, Field(min_length=1)]
    """The reason for the duration (GDPR Art. 5(1)(e))."""
    hold: LegalHoldRule | None = None
    """A legal hold that outlasts the class."""

    @model_validator(mode="after")
    def _hold_is_longer(self) -> Self:
        if self.hold is not None and self.hold.keep_for_days <= self.keep_for_days:
            raise ValueError(
                "a legal hold that ends no later than its class has no effect: lengthen the legal hold or remove it"
            )
        return self


class KeepRule(Frozen):
    """How long rows of one kind are kept."""

    keep_for_days: Days
    """Days, counted from the instant described for this kind."""
    after: After = After.DELETE
    """What happens when a row expires."""
    reason: Annotated[Text, Field(min_length=1)]
    """The reason for the duration."""

    @model_validator(mode="after")
    def _is_deleted(self) -> Self:
        if self.after is not After.DELETE:
            raise ValueError("only classes of events can be severed: write `after: delete`, or leave it out")
        return self


class StandingRule(Frozen):
    """How long a standing order is kept: indefinitely, unless a term is set."""

    keep_for_days: Days | None = None
    """Absent: indefinitely."""
    reason: Annotated[Text, Field(min_length=1)]
    """The reason for the duration."""


class Retention(Frozen):
    """The file `retention.yaml`."""

    entries: ClassVar[tuple[tuple[str, ...], ...]] = (("classes",),)

    classes: Annotated[Mapping[Key, RetentionClass], Field(min_length=1, max_length=20)]
    """Classes of events."""
    traits: KeepRule
    """Stated traits, from the message that stated them."""
    identifiers: KeepRule
    """Identifiers, with everything that only they hold together, from when they were last seen."""
    consent_records: KeepRule
    """Consents, from when they ceased to be decisive. A refusal is kept as long as its identifier; then it is a suppression."""
    requests: KeepRule
    """Subject requests, from their end."""
    memberships: KeepRule
    """Changes of segment membership, from the change."""
    deliveries: KeepRule
    """Deliveries, from when they were sent."""
    audit_salts: KeepRule
    """Salts of the audit log, from the entry; without its salt a leaf reveals nothing. Sessions of SQL logins, from their end."""
    suppressions: StandingRule
    """Suppressions, from the erasure; after the term, purposes that need no opt-in stay refused."""
    scrub_within_days: Days = 30
    """Days after an erasure within which all residue on disk must be overwritten."""
