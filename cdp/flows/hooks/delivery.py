"""A delivery of a webhook, converted to messages by the mappings of its source. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cdp.accounting.row_reasons import RowReason
from cdp.consent.model import Authority
from cdp.flows.hooks.mapping import HookMapping
from cdp.flows.hooks.rows import MappedRows, RowSelector, header_column
from cdp.flows.imports.cells import Row
from cdp.flows.imports.groups import grouped
from cdp.flows.imports.origin import RowOrigin
from cdp.flows.imports.row import reader_of
from cdp.flows.imports.row_notices import Note
from cdp.kit.canonical import sha256
from cdp.sources.hook import SignatureScheme
from cdp.sources.model import Source
from cdp.wire.message import Invalid, Message
from cdp.wire.signatures import VerifiedSender

SIGNAL: Final = "webhook"
"""The signal that the ledger records for a consent of a webhook."""
_WITHHELD: Final = "withheld"
_SHOWN: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_.:-]{8,100}")
"""Names of deliveries that are shown as they are: they have a letter and no sign of an address, so they can be neither an address nor a number."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery whose sender is known: its headers by lower-case name, its body, and that body as a JSON value."""

    headers: Mapping[bytes, bytes]
    body: bytes = field(repr=False)
    document: Any = field(repr=False)
    verified: VerifiedSender


@dataclass(frozen=True, slots=True)
class ReadRow:
    """What a delivery states in one place: a message or why there is none, its rows, and the mapping that selected them."""

    message: Message | Invalid
    row: Row
    mapping: HookMapping | None


class DeliveryReader:
    """Converts the deliveries of one source; one object serves many."""

    def __init__(self, source: Source, scheme: SignatureScheme, mappings: Sequence[HookMapping]) -> None:
        self._source = source
        self._scheme = scheme
        self._selector = RowSelector(mappings)

    def read(self, delivery: Delivery, now: datetime, *, note: Note | None = None) -> list[ReadRow]:
        """What the delivery states, at least one entry. Raises `TooManyRows`."""
        found: list[ReadRow] = []
        for part in self._selector.of(delivery.document, delivery.headers):
            found += self._part(delivery, part, now, note=note)
        nothing = Row(1, {}, RowReason.NOT_SELECTED)
        return found or [ReadRow(self._unread(delivery, RowReason.NOT_SELECTED), nothing, None)]

    def unread(self, delivery: Delivery, reason: str) -> Invalid:
        """A delivery that cannot be read at all, to be counted."""
        return Invalid(self._source, reason, delivery=shown_name(delivery.verified.delivery))

    def _part(self, delivery: Delivery, part: MappedRows, now: datetime, *, note: Note | None) -> list[ReadRow]:
        if part.mapping is None:
            return [
                ReadRow(self._unread(delivery, row.reason or RowReason.NOT_SELECTED), row, None) for row in part.rows
            ]
        origin = RowOrigin(
            prefix=f"hook-{self._id_of(delivery, part.mapping)}",
            authority=Authority.AUTHENTICATED,
            signal=SIGNAL,
            is_imported=False,
            delivery=shown_name(delivery.verified.delivery),
        )
        read = reader_of(part.mapping, self._source, origin, note=note)
        return [ReadRow(read(row, now), row, part.mapping) for row in grouped(iter(part.rows), part.mapping)]

    def _unread(self, delivery: Delivery, reason: RowReason) -> Invalid:
        return self.unread(delivery, reason.value)

    def _id_of(self, delivery: Delivery, mapping: HookMapping) -> str:
        """What identifies the delivery, of what was signed: a repeated one has the same, and nobody can give it another.

        That is an id which the scheme signs, the id of Stripe's event, which is in the body, or the digest of the body. The
        topic by which the mapping was selected is part of it, for platforms send one body under several.
        """
        stated = delivery.verified.signed_id
        if self._scheme is SignatureScheme.STRIPE and isinstance(delivery.document, dict):
            event_id = delivery.document.get("id")
            stated = event_id if isinstance(event_id, str) else ""
        topics = [header_column(selection.column, delivery.headers) for selection in mapping.only]
        topic = "\n".join(text.strip().casefold() for text in topics if text is not None)
        signed = stated.encode("utf-8", "surrogatepass") if stated else delivery.body
        return sha256(sha256(topic.encode()) + signed).hex()[:32]


def shown_name(name: str) -> str:
    """The name of a delivery as it is kept for a day; one that could be an address or a number is not kept."""
    return name if not name or _SHOWN.fullmatch(name) else _WITHHELD
