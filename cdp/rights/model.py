"""Values of the rights room."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import NewType

from cdp.kit.ids import encode_id
from cdp.policy.jurisdictions import Right

RequestId = NewType("RequestId", int)


class Status(StrEnum):
    """Where a request stands; the last four are its ends."""

    RECEIVED = "received"
    VERIFIED = "verified"
    IN_PROGRESS = "in_progress"
    FULFILLED = "fulfilled"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


ENDED = frozenset({Status.FULFILLED, Status.DENIED, Status.WITHDRAWN, Status.EXPIRED})


class Denial(StrEnum):
    """Why a request is denied, in words that name no one."""

    UNVERIFIED = "unverified"
    UNFOUNDED = "unfounded"
    EXCESSIVE = "excessive"
    EXEMPT = "exempt"
    OTHERS_RIGHTS = "others_rights"


class Verb(StrEnum):
    """What a step of an erasure does (vocabulary.md)."""

    DELETE = "delete"
    SEVER = "sever"
    SHRED = "shred"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Request:
    """A right exercised. After its end it names nobody. `waiting` counts what is left to a reviewer."""

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

    @property
    def outward_id(self) -> str:
        """The id as commands and routes show it."""
        return encode_id("req", self.request_id)

    @property
    def is_in_time(self) -> bool:
        """Whether it ended, if it did, before its deadline."""
        return self.closed_at is not None and self.closed_at <= self.due_at


@dataclass(frozen=True, slots=True, order=True)
class NamedIdentifier:
    """An identifier that a request names, normalized."""

    type: str
    value: str


@dataclass(frozen=True, slots=True)
class StepCount:
    """One line of an erasure: what is done to which table, why, and how many rows it is or was about."""

    table: str
    verb: Verb
    rows: int
    reason: str
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class LegalHold:
    """Columns that a law keeps longer than the person may stay: under a random id and a key of their own."""

    hold_id: int
    retention_class: str
    law: str
    keep_until: date
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything of one person that an erasure or an export is about, as random ids.

    `subjects` are those whose keys seal something of the person: identifiers, anchors and the request itself.
    """

    request_id: int
    identifiers: frozenset[int]
    anchors: frozenset[int]
    profiles: frozenset[int]

    @property
    def subjects(self) -> frozenset[int]:
        return self.identifiers | self.anchors | ({self.request_id} if self.request_id else set())
