"""Values of message accounting: the states in which messages end, and counts of them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from cdp.schema.ids import SourceId

OTHER: Final = "other"
"""The subject of a notice about something that has no name in the policy."""


class State(StrEnum):
    """Where a message ended; every message ends in exactly one (docs/reference/ingest.md, "States").

    Only a row of a link table can be `REFUSED`: it was recorded, and a rule of the policy did not let it link anything.
    A `DEFERRED` message waits for an answer, and moves to one of the others when the device answers or the term ends.
    """

    STORED = "stored"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    NOT_PERMITTED = "not_permitted"
    INVALID = "invalid"
    BLOCKED = "blocked"
    REFUSED = "refused"
    DEFERRED = "deferred"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state of one message and, where there is one, the reason (a short code, never a value).

    `is_other_body` marks a duplicate with another content than the message that was stored under its id.
    """

    state: State
    reason: str = ""
    is_other_body: bool = field(default=False, compare=False)


class NoticeKind(StrEnum):
    """Irregularities that are counted beside the state of a message."""

    UNKNOWN_IDENTIFIER_TYPE = "unknown_identifier_type"
    BLOCKED_IDENTIFIER = "blocked_identifier"
    MALFORMED_IDENTIFIER = "malformed_identifier"
    LEFT_OUT_IDENTIFIER = "left_out_identifier"
    DUPLICATE_OTHER_BODY = "duplicate_other_body"
    UNKNOWN_PURPOSE = "unknown_purpose"
    UNRECORDED_REFUSAL = "unrecorded_refusal"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_PROPERTY = "unknown_property"
    FUTURE_TIME = "future_time"
    MALFORMED_SIGNAL = "malformed_signal"
    LEFT_OVER_TRAITS = "left_over_traits"


class PropertyNoticeKind(StrEnum):
    """What is wrong with a planned property of a message."""

    MISTYPED = "mistyped"
    MISSING = "missing"


class PropertyNotice(NamedTuple):
    """A fault of a planned property: the planned event, or `other`, the property and the expected type."""

    kind: PropertyNoticeKind
    event: str
    property: str
    expected: str


@dataclass(frozen=True, slots=True)
class AccountingEntry:
    """How many messages of a source ended in a state, for a reason, in the hour that begins at `hour`."""

    source_id: SourceId
    hour: datetime
    state: State
    reason: str
    messages: int


@dataclass(frozen=True, slots=True)
class NoticeEntry:
    """How often an irregularity was seen in messages of a source in an hour; `subject` is a name from policy or `other`."""

    source_id: SourceId
    hour: datetime
    kind: NoticeKind
    subject: str
    messages: int


@dataclass(frozen=True, slots=True)
class PropertyNoticeEntry:
    """How many messages of a source had a fault of a planned property in an hour; all names are of the policy."""

    source_id: SourceId
    hour: datetime
    notice: PropertyNotice
    messages: int


@dataclass(frozen=True, slots=True)
class RecentMessage:
    """What became of one message, without ids and values. `event` is a name of the policy, or `other`.

    `notices` are kinds of notices with what they are about, such as `mistyped revenue (number)` or `unknown_property`.
    `delivery` is the name of the webhook delivery that brought it, empty for any other message.
    """

    source_id: SourceId
    received_at: datetime
    type: str
    event: str
    state: State
    reason: str
    notices: tuple[str, ...]
    delivery: str = ""
