"""Messages of a broker in a form of their own, converted by the mappings that webhooks have, too. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cdp.accounting.row_reasons import RowReason
from cdp.brokers.model import BrokerMessage
from cdp.consent.model import Authority
from cdp.flows.hooks.mapping import HookMapping
from cdp.flows.hooks.rows import MappedRows, RowSelector, TooManyRows
from cdp.flows.imports.groups import grouped
from cdp.flows.imports.origin import RowOrigin
from cdp.flows.imports.row import reader_of
from cdp.sources.model import Source
from cdp.wire.document import read_document
from cdp.wire.frame import Frame
from cdp.wire.limits import InvalidReason, Unreadable
from cdp.wire.message import Invalid, Message
from cdp.wire.queued import refused, unpack
from cdp.wire.request_refusal import RequestRefused

SIGNAL: Final = "queue"
"""The signal that the ledger records for a consent of a mapped message of a broker."""


class MappedReader:
    """Converts messages of a broker for one source; one object serves many."""

    def __init__(self, source: Source, mappings: Sequence[HookMapping]) -> None:
        self._source = source
        self._selector = RowSelector(mappings)

    def read(self, message: BrokerMessage, now: datetime) -> list[Message | Invalid]:
        """What a message states, at least one entry. A mapping without `message_id` makes ids of the id of the message."""
        text = unpack(message.body, self._source.request_bytes_max)
        if isinstance(text, RequestRefused):
            return [refused(Frame(self._source, now), text, message.body)]
        try:
            parts = self._selector.of(read_document(text, b""), {})
        except Unreadable as unreadable:
            return [Invalid(self._source, unreadable.reason.value, is_unread=True)]
        except TooManyRows:
            return [Invalid(self._source, InvalidReason.BATCH_TOO_LARGE.value, is_unread=True)]
        found = [read for part in parts for read in self._part(message, part, now)]
        return found or [Invalid(self._source, RowReason.NOT_SELECTED.value)]

    def _part(self, message: BrokerMessage, part: MappedRows, now: datetime) -> list[Message | Invalid]:
        if part.mapping is None:
            return [Invalid(self._source, (row.reason or RowReason.NOT_SELECTED).value) for row in part.rows]
        origin = RowOrigin(message.message_id, Authority.AUTHENTICATED, SIGNAL, is_imported=False)
        read = reader_of(part.mapping, self._source, origin)
        return [read(row, now) for row in grouped(iter(part.rows), part.mapping)]
