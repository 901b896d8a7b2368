"""What the access room keeps on file: sources as listed, tokens, counts of messages, policies in force."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType

from cdp.access.model import Role, Source, SourceId, State

TokenId = NewType("TokenId", int)


class NoticeKind(StrEnum):
    """Oddities that are counted beside the state of a message."""

    UNKNOWN_IDENTIFIER_TYPE = "unknown_identifier_type"
    BLOCKED_IDENTIFIER = "blocked_identifier"
    DUPLICATE_OTHER_BODY = "duplicate_other_body"
    UNKNOWN_PURPOSE = "unknown_purpose"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_PROPERTY = "unknown_property"
    FUTURE_TIME = "future_time"
    MALFORMED_SIGNAL = "malformed_signal"


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """A source with its history; `disabled_at` is None while its write key works."""

    source: Source
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token without its secret; `revoked_at` is None while it works."""

    token_id: TokenId
    name: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None = None


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
    """How often an oddity was seen in messages of a source in an hour; `subject` is a name from policy or `other`."""

    source_id: SourceId
    hour: datetime
    kind: NoticeKind
    subject: str
    messages: int


@dataclass(frozen=True, slots=True)
class AppliedPolicy:
    """A policy folder that was in force from `applied_at` until the next one."""

    applied_policy_id: int
    fingerprint: bytes
    content: dict[str, Any]
    applied_at: datetime
