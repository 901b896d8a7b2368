"""What is given to the ingest flow: one decoded message with its times and signals."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cdp.consent.signals.model import NO_REQUEST_SIGNALS, ProposedAct, RequestSignals
from cdp.sources.model import Source


@dataclass(frozen=True, slots=True)
class Message:
    """One Segment-spec message, decoded but not yet decided.

    `kind` is identify, track, page, screen, group or alias. `body` is the decoded object with the
    batch's `context` and `integrations` merged in; ids are strings or absent. `occurred_at` follows
    the rule of docs/reference/ingest.md, "Times". `has_gpc` is set when the request carried `Sec-GPC: 1`; `signals` are its
    cookies and the parameters of its query that may state consent. `acts` are
    consents stated outside the body, such as those from columns of an imported file. `is_imported` marks a row of a file, whose statements have less authority than
    those of a live message. `delivery` is the name of the webhook delivery that brought it.
    """

    source: Source
    kind: str
    message_id: str
    occurred_at: datetime
    received_at: datetime
    body: dict[str, Any]
    body_digest: bytes
    has_gpc: bool = False
    signals: RequestSignals = NO_REQUEST_SIGNALS
    acts: tuple[ProposedAct, ...] = ()
    is_imported: bool = False
    delivery: str = ""


@dataclass(frozen=True, slots=True)
class Invalid:
    """A message that cannot be processed, with the reason as a short code.

    `consents` are its consent signals, of which the refusals count all the same. `is_unread` is set if it may contain a
    refusal that cannot be read, or not about whom: the sender must learn of it.
    """

    source: Source
    reason: str
    consents: Message | None = None
    is_unread: bool = False
    delivery: str = ""
