"""From the body of an ingest request to its messages. Pure.

What is tolerated is listed in docs/reference/ingest.md, "Tolerated input".

A request is refused as a whole only when its messages cannot be separated: invalid JSON, no batch, too many messages.
Otherwise each message is valid or invalid by itself, and every message is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from cdp.consent.signals.model import NO_REQUEST_SIGNALS, RequestSignals
from cdp.sources.model import Source
from cdp.wire.frame import UNSHARED, BatchDefaults, Frame
from cdp.wire.limits import Unreadable, read_value
from cdp.wire.message import Invalid, Message
from cdp.wire.request_refusal import RequestRefused
from cdp.wire.salvage import Unbalanced, split_list, split_object
from cdp.wire.segment_spec import read_message

MESSAGES_MAX: Final = 2_500
SHARED_BYTES_MAX: Final = 8 * 1024
REQUEST_BYTES_DEFAULT: Final = 500 * 1024
REQUEST_BYTES_RUDDERSTACK: Final = 4 * 1024 * 1024

Raw = bytes | msgspec.Raw

_BOM: Final = b"\xef\xbb\xbf"
_NOT_JSON: Final = RequestRefused("invalid_json", "The body must be JSON in UTF-8.")
_NOT_AN_OBJECT: Final = RequestRefused("not_an_object", "The body must be one JSON object.")
_NO_BATCH: Final = RequestRefused("batch_missing", 'The body must contain a list of messages under "batch".')
_TOO_MANY: Final = RequestRefused("too_many_messages", f"A batch may hold at most {MESSAGES_MAX:,} messages.")
_BAD_KEY: Final = RequestRefused("write_key_not_text", "writeKey must be a string.")
_BAD_SHARED: Final = RequestRefused(
    "shared_not_an_object",
    f"context and integrations of a batch must be JSON objects of at most {SHARED_BYTES_MAX:,} bytes in total.",
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """The messages of a request, still as JSON, with what the batch states for all of them."""

    items: Sequence[Raw]
    kind: str | None = None
    write_key: str | None = None
    sent_at: object = None
    shared: BatchDefaults = UNSHARED

    def messages(
        self,
        source: Source,
        received_at: datetime,
        write_key: str,
        *,
        has_gpc: bool,
        signals: RequestSignals = NO_REQUEST_SIGNALS,
    ) -> list[Message | Invalid]:
        """Every message in the order sent; `write_key` is the one that the request came with."""
        frame = Frame(
            source=source,
            received_at=received_at,
            kind=self.kind,
            sent_at=self.sent_at,
            shared=self.shared,
            write_key=write_key,
            has_gpc=has_gpc,
            signals=signals,
        )
        return [read_message(bytes(item), frame) for item in self.items]


class _Batch(msgspec.Struct):
    batch: list[msgspec.Raw]
    write_key: msgspec.Raw = msgspec.field(name="writeKey", default_factory=msgspec.Raw)
    sent_at: msgspec.Raw = msgspec.field(name="sentAt", default_factory=msgspec.Raw)
    context: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    targets: msgspec.Raw = msgspec.field(name="integrations", default_factory=msgspec.Raw)


class _Single(msgspec.Struct):
    write_key: msgspec.Raw = msgspec.field(name="writeKey", default_factory=msgspec.Raw)


_decode_batch: Final = msgspec.json.Decoder(_Batch).decode
_decode_single: Final = msgspec.json.Decoder(_Single).decode


def read_single(body: bytes, kind: str) -> Envelope | RequestRefused:
    """The envelope of a request that carries one message whose type the path gives."""
    body = body.removeprefix(_BOM)
    try:
        single = _decode_single(body)
        key = _write_key(single.write_key)
    except msgspec.ValidationError:
        return _NOT_AN_OBJECT
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Unreadable):
        return _salvaged_single(body, kind)
    return key if isinstance(key, RequestRefused) else Envelope([body], kind=kind, write_key=key)


def read_batch(body: bytes) -> Envelope | RequestRefused:
    """The envelope of a request that carries a batch. A message that is not valid JSON does not affect the others."""
    body = body.removeprefix(_BOM)
    try:
        batch = _decode_batch(body)
    except msgspec.ValidationError:
        return _NO_BATCH if body.lstrip()[:1] == b"{" else _NOT_AN_OBJECT
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _salvaged(body)
    return _envelope(batch.batch, batch.write_key, batch.sent_at, context=batch.context, targets=batch.targets)


def _salvaged(body: bytes) -> Envelope | RequestRefused:
    try:
        entries = split_object(body)
        items = split_list(entries[b"batch"])
    except (Unbalanced, KeyError):
        return _NOT_JSON
    return _envelope(
        items,
        entries.get(b"writeKey", b""),
        entries.get(b"sentAt", b""),
        context=entries.get(b"context", b""),
        targets=entries.get(b"integrations", b""),
    )


def _salvaged_single(body: bytes, kind: str) -> Envelope | RequestRefused:
    """A message that is not valid JSON, if its values can be separated: a refusal in it counts."""
    try:
        key = _write_key(split_object(body).get(b"writeKey", b""))
    except (Unbalanced, Unreadable):
        return _NOT_JSON
    return key if isinstance(key, RequestRefused) else Envelope([body], kind=kind, write_key=key)


def _envelope(
    items: Sequence[Raw], write_key: Raw, sent_at: Raw, *, context: Raw, targets: Raw
) -> Envelope | RequestRefused:
    if len(items) > MESSAGES_MAX:
        return _TOO_MANY
    if len(bytes(context)) + len(bytes(targets)) > SHARED_BYTES_MAX:
        return _BAD_SHARED
    try:
        key = _write_key(write_key)
        shared = BatchDefaults(_value(context) or {}, _value(targets) or {})
        sent = _value(sent_at)
    except Unreadable:
        return _NOT_JSON
    if isinstance(key, RequestRefused):
        return key
    if not isinstance(shared.context, dict) or not isinstance(shared.targets, dict):
        return _BAD_SHARED
    return Envelope(items, write_key=key, sent_at=sent, shared=shared)


def _write_key(raw: Raw) -> str | RequestRefused | None:
    value = _value(raw)
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else _BAD_KEY


def _value(raw: Raw) -> Any:
    """The value, None when it is missing. Raises Unreadable."""
    text = bytes(raw)
    return read_value(text) if text else None
