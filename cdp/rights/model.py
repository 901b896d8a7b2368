"""Values of subject requests and their execution."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import NewType

from cdp.kit.ids import encode_id
from cdp.policy.jurisdictions import Right

RequestId = NewType("RequestId", int)


class Status(StrEnum):
    """The status of a request; the last four are final."""

    RECEIVED = "received"
    VERIFIED = "verified"
    IN_PROGRESS = "in_progress"
    FULFILLED = "fulfilled"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


ENDED = frozenset({Status.FULFILLED, Status.DENIED, Status.WITHDRAWN, Status.EXPIRED})


class Denial(StrEnum):
    """Why a request is denied; contains nothing about the person."""

    UNVERIFIED = "unverified"
    UNFOUNDED = "unfounded"
    EXCESSIVE = "excessive"
    EXEMPT = "exempt"
    OTHERS_RIGHTS = "others_rights"
    OVERRIDING_INTERESTS = "overriding_interests"
    """Of objections to legitimate interests only: compelling grounds override (GDPR Art. 21(1)). Never of direct marketing."""


class ErasureMode(StrEnum):
    """What an erasure request asks for: that the data is erased, that nothing more is stored, or both."""

    ERASE_AND_SUPPRESS = "erase_and_suppress"
    ERASE = "erase"
    SUPPRESS = "suppress"


class Verb(StrEnum):
    """What a step of an erasure does (docs/glossary.md)."""

    DELETE = "delete"
    SEVER = "sever"
    SHRED = "shred"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Request:
    """A subject request. It contains no identifier. `waiting` counts the identifiers that need a reviewer's decision.

    `entry_id` is the audit entry of the receipt, `scrub_entry_id` that of the second one, which states the scrub.
    `asked_at` is when the requester was asked to prove who they are; `mode` is set for erasures only. `weighed` are the
    purposes of an objection that is weighed against compelling grounds (GDPR Art. 21(1)); they are restricted until its end.
    """

    request_id: RequestId
    kind: Right
    regime: str
    status: Status
    received_at: datetime
    confirm_by: datetime | None
    due_at: datetime
    extended_at: datetime | None = None
    verified_at: datetime | None = None
    started_at: datetime | None = None
    closed_at: datetime | None = None
    denial_reason: Denial | None = None
    waiting: int = 0
    entry_id: int | None = None
    scrub_entry_id: int | None = None
    is_scrubbed: bool = False
    asked_at: datetime | None = None
    mode: ErasureMode | None = None
    weighed: tuple[str, ...] = ()

    @property
    def outward_id(self) -> str:
        """The id that commands and routes use, for example `req_0004zc8e6w1rk`."""
        return encode_id("req", self.request_id)

    @property
    def is_in_time(self) -> bool:
        """Whether it ended before its deadline; False while it is open."""
        return self.closed_at is not None and self.closed_at <= self.due_at


@dataclass(frozen=True, slots=True)
class DenialNotice:
    """The notice of a denied request for the person: why, where they may complain, what else they can do, and whom they ask.

    `questions_to` is the controller with all ways to reach it; None if the policy does not name one yet.
    """

    reason: str
    authority: str
    remedy: str
    questions_to: str | None


@dataclass(frozen=True, slots=True, order=True)
class NamedIdentifier:
    """An identifier that a request names, normalized."""

    type: str
    value: str


@dataclass(frozen=True, slots=True)
class CorrectedTrait:
    """A trait with the value that the person says is right, as JSON."""

    name: str
    value: object


@dataclass(frozen=True, slots=True)
class StepCount:
    """One step of an erasure: what is done to which table, why, and how many rows it affects or affected."""

    table: str
    verb: Verb
    rows: int
    reason: str
    is_done: bool = False


class ReadReason(StrEnum):
    """Why staff read what is kept although nobody uses it; the log has the reason of each read."""

    TAX_AUDIT = "tax_audit"
    AUTHORITY_ORDER = "authority_order"
    LEGAL_CLAIM = "legal_claim"
    SUBJECT_INQUIRY = "subject_inquiry"
    INTERNAL_CONTROL = "internal_control"


@dataclass(frozen=True, slots=True)
class HoldCount:
    """How many legal holds of a class a law requires, and when the first and the last of them end."""

    retention_class: str
    law: str
    holds: int
    first_end: date
    last_end: date


@dataclass(frozen=True, slots=True)
class LegalHold:
    """Columns that a law requires to keep after an erasure, under a random id and a key of their own."""

    hold_id: int
    retention_class: str
    law: str
    keep_until: date
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything about one person that an erasure or an export covers, as random ids.

    `deferred` are the owners of the throw-away keys of messages that wait for an answer of the person's devices. `subjects` are
    the owners of all keys that seal data of the person: identifiers, anchors, those, and the request itself.
    """

    request_id: int
    identifiers: frozenset[int]
    anchors: frozenset[int]
    profiles: frozenset[int]
    deferred: frozenset[int] = frozenset()

    @property
    def subjects(self) -> frozenset[int]:
        return self.identifiers | self.anchors | self.deferred | ({self.request_id} if self.request_id else set())
