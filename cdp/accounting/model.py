"""Values of message accounting: the states in which messages end, and counts of them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cdp.schema.ids import SourceId


class State(StrEnum):
    """Where a message ended; every message ends in exactly one (docs/reference/ingest.md, "States")."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    NOT_PERMITTED = "not_permitted"
    INVALID = "invalid"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state of one message and, where there is one, the reason (a short code, never a value)."""

    state: State
    reason: str = ""


class NoticeKind(StrEnum):
    """Irregularities that are counted beside the state of a message."""

    UNKNOWN_IDENTIFIER_TYPE = "unknown_identifier_type"
    BLOCKED_IDENTIFIER = "blocked_identifier"
    MALFORMED_IDENTIFIER = "malformed_identifier"
    DUPLICATE_OTHER_BODY = "duplicate_other_body"
    UNKNOWN_PURPOSE = "unknown_purpose"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_PROPERTY = "unknown_property"
    FUTURE_TIME = "future_time"
    MALFORMED_SIGNAL = "malformed_signal"


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
