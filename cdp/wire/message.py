"""What a door hands to the ingest flow: one decoded message with its times and signals."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cdp.consent.signals.model import ProposedAct
from cdp.sources.model import Source


@dataclass(frozen=True, slots=True)
class Message:
    """One Segment-spec message, understood but not yet judged.

    `kind` is identify, track, page, screen, group or alias. `body` is the decoded object with the
    batch's `context` and `integrations` merged in; ids are strings or absent. `occurred_at` follows
    the time rule of ingest.md. `has_gpc` tells that the request carried `Sec-GPC: 1`. `acts` are consents that the
    door itself states beside what the body says, as an import does for columns of its file.
    """

    source: Source
    kind: str
    message_id: str
    occurred_at: datetime
    received_at: datetime
    body: dict[str, Any]
    body_digest: bytes
    has_gpc: bool = False
    acts: tuple[ProposedAct, ...] = ()


@dataclass(frozen=True, slots=True)
class Invalid:
    """A message that cannot be taken, with the reason as a short code."""

    source: Source
    reason: str
