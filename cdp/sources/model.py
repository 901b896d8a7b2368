"""Values of sources."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cdp.schema.ids import SourceId

IMPORT_SOURCE: Final = "import"
"""The name of the source of imported files that name no other one."""


class SourceKind(StrEnum):
    """What a source can vouch for: a browser's write key is public, a server's is not."""

    BROWSER = "browser"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Source:
    """A sender of messages. `request_bytes_max` bounds one decompressed request.

    With `defer`, messages of devices that have not answered wait for their answer, sealed under a key of the device.
    """

    source_id: SourceId
    name: str
    kind: SourceKind
    scopes: frozenset[str]
    jurisdiction: str
    request_bytes_max: int
    defer: bool = False


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """A source with its history; `disabled_at` is None while its write key works."""

    source: Source
    created_at: datetime
    disabled_at: datetime | None
