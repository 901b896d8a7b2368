"""Values of the access room."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

SourceId = NewType("SourceId", int)


class SourceKind(StrEnum):
    """What a source can vouch for: a browser's write key is public, a server's is not."""

    BROWSER = "browser"
    SERVER = "server"


class Role(StrEnum):
    """What a person's token allows."""

    MARKETER = "marketer"
    PRIVACY = "privacy"
    AUDITOR = "auditor"
    ADMIN = "admin"


class State(StrEnum):
    """Where a message ended; every message ends in exactly one (ingest.md)."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    NOT_PERMITTED = "not_permitted"
    INVALID = "invalid"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Source:
    """A sender of messages. `request_bytes_max` bounds one decompressed request."""

    source_id: SourceId
    name: str
    kind: SourceKind
    scopes: frozenset[str]
    jurisdiction: str
    request_bytes_max: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state of one message and, where there is one, the reason (a short code, never a value)."""

    state: State
    reason: str = ""
