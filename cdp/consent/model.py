"""Values of consent: recorded acts, and the verdicts that follow from them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NewType

RecordId = NewType("RecordId", int)

ALWAYS: Final = datetime(1900, 1, 1, tzinfo=UTC)
"""The `since` of a permission that needs no act and therefore has no start: earlier than any event."""


EVERY_PURPOSE: Final = ""
"""The purpose of acts that concern all processing: the start and the end of a restriction that is not about one purpose."""


class Act(StrEnum):
    """An act in the ledger. Of all but the last two, every one but `grant` is a refusal of one purpose.

    `restrict` and `release` begin and end a restriction of processing (GDPR Art. 18): of every purpose, or of one while an
    objection to it is weighed (Art. 18(1)(d)).
    """

    GRANT = "grant"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    OBJECT = "object"
    RESTRICT = "restrict"
    RELEASE = "release"

    @property
    def is_refusal(self) -> bool:
        """Whether the act refuses one purpose."""
        return self in _REFUSALS

    @property
    def is_of_restriction(self) -> bool:
        """Whether the act begins or ends a restriction of processing."""
        return self is Act.RESTRICT or self is Act.RELEASE


_REFUSALS: Final = frozenset({Act.REFUSE, Act.WITHDRAW, Act.OBJECT})
NOTICE_VERSION_MAX: Final = 100
"""The most characters of the version of a notice."""
STATED_ACTS: Final = (Act.GRANT, Act.REFUSE, Act.WITHDRAW, Act.OBJECT)
"""The acts that a person can state about a purpose."""


class Authority(StrEnum):
    """The authority of an act. Only a grant of equal or higher rank overrides a refusal."""

    AUTHENTICATED = "authenticated"
    OPERATOR = "operator"
    IMPORTED = "imported"
    DEVICE = "device"
    SIGNAL = "signal"

    @property
    def rank(self) -> int:
        """From 3 for an authenticated person to 0 for a device or a signal."""
        return _RANKS[self]


_RANKS: Final = {
    Authority.AUTHENTICATED: 3,
    Authority.OPERATOR: 2,
    Authority.IMPORTED: 1,
    Authority.DEVICE: 0,
    Authority.SIGNAL: 0,
}


class Reason(StrEnum):
    """The reason for a verdict; the first three permit."""

    GRANTED = "granted"
    NOT_REFUSED = "not_refused"
    LEGAL_BASIS = "legal_basis"

    NO_GRANT = "no_grant"
    EXPIRED = "expired"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    OBJECTED = "objected"
    OPTED_OUT = "opted_out"
    RESTRICTED = "restricted"
    QUARANTINED = "quarantined"
    TOO_YOUNG = "too_young"
    AGE_UNKNOWN = "age_unknown"
    NO_UNIQUE_IDENTIFIER = "no_unique_identifier"
    NOT_COVERED = "not_covered"


@dataclass(frozen=True, slots=True)
class Record:
    """One act in the ledger, about one identifier and one purpose, or about every purpose.

    `is_shared` is not in the ledger: it is set if the identifier is currently shared, because its grants then have no
    effect. Neither is `shortened_to`: the end that a shorter validity of a later policy gives the grant. `repeated_at` is the last instant at which a signal repeated the refusal. `is_two_step` marks an act that
    confirms an opt-in which an earlier act requested; `is_subject_initiated` one that the person began without being asked. `is_undated` marks a grant of which it is not known when it was given: it
    overrides no refusal. `permits_from` is the instant of the first message that waited for the grant of its device.
    """

    record_id: RecordId
    identifier_id: int
    purpose: str
    act: Act
    authority: Authority
    jurisdiction: str
    occurred_at: datetime
    recorded_at: datetime
    policy_fingerprint: bytes
    valid_until: datetime | None = None
    notice_version: str | None = None
    notice_hash: bytes | None = None
    source_id: int | None = None
    signal: str | None = None
    signal_hash: bytes | None = None
    rule: str | None = None
    is_two_step: bool = False
    is_undated: bool = False
    is_subject_initiated: bool = False
    is_shared: bool = False
    shortened_to: datetime | None = None
    repeated_at: datetime | None = None
    permits_from: datetime | None = None

    @property
    def until(self) -> datetime | None:
        """The instant at which a grant ends; None if it does not. A policy can only bring the stated end forward."""
        return min((end for end in (self.valid_until, self.shortened_to) if end is not None), default=None)

    @property
    def at(self) -> datetime:
        """The instant at which the act takes effect: never later than it was recorded."""
        return min(self.occurred_at, self.recorded_at)

    @property
    def last_at(self) -> datetime:
        """The last instant at which the act was stated."""
        return self.at if self.repeated_at is None else max(self.at, self.repeated_at)


@dataclass(frozen=True, slots=True)
class VerdictFacts:
    """What determines a verdict in addition to the records of a profile.

    `jurisdictions` are those configured for the sources of the profile, never those claimed by a client. `age` is in
    whole years, and vouched for; `claimed_age` was stated by a device only, so that it can refuse and never permit.
    `ask_again_after_months` are those after an opt-out of sale in which the person may not be asked to opt in.
    """

    jurisdictions: frozenset[str] = frozenset()
    has_unique_identifier: bool = False
    age: int | None = None
    claimed_age: int | None = None
    ask_again_after_months: int = 0
    is_restricted: bool = False
    is_quarantined: bool = False


WITHOUT_CLEARING: Final = frozenset({Reason.RESTRICTED, Reason.QUARANTINED})
"""Refusals that end the use of stored data, but not its storage."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Allowed or refused, why, and by which records.

    `since` is the start of the current unbroken permission, None if refused; `until` is the instant at which it expires,
    None if it does not.
    """

    allowed: bool
    reason: Reason
    since: datetime | None = None
    until: datetime | None = None
    by: tuple[RecordId, ...] = ()
