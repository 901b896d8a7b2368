"""What the messages of one request have in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cdp.consent.signals.model import NO_REQUEST_SIGNALS, RequestSignals
from cdp.sources.model import Source


@dataclass(frozen=True, slots=True)
class BatchDefaults:
    """The `context` and the `integrations` that a batch states for all of its messages."""

    context: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, Any] = field(default_factory=dict)


UNSHARED: Final = BatchDefaults()


@dataclass(frozen=True, slots=True)
class Queued:
    """How a message came through the queue of a broker: its id there, and when it was put there, if that is known.

    How long it waited there is not known to its sender: `sentAt` does not correct its time.
    """

    message_id: str
    put_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """What the messages of one request have in common.

    `kind` is the type that the path gives, None when each message states its own. `sent_at` and `shared` are
    those of the batch; values of the message itself take precedence. `is_imported` marks the rows of a file.
    `signals` are what its cookies and its query state about consent. `delivery` is the name of the webhook delivery, if it is one.
    `queued` is set for what came through a queue.
    """

    source: Source
    received_at: datetime
    kind: str | None = None
    sent_at: object = None
    shared: BatchDefaults = UNSHARED
    write_key: str | None = None
    has_gpc: bool = False
    signals: RequestSignals = NO_REQUEST_SIGNALS
    is_imported: bool = False
    delivery: str = ""
    queued: Queued | None = None
