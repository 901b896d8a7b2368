"""From a message of a broker's queue to the messages of the Segment spec in it: one object, or a batch of them. Pure.

Nobody waits for an answer, so nothing is refused as a whole: what cannot be read is one invalid message.
"""

from dataclasses import replace
from typing import Final

import msgspec

from cdp.wire.batch import read_batch
from cdp.wire.consents import may_refuse
from cdp.wire.frame import Frame, Queued
from cdp.wire.gzip import Body
from cdp.wire.limits import InvalidReason
from cdp.wire.message import Invalid, Message
from cdp.wire.request_refusal import RequestRefused
from cdp.wire.salvage import Unbalanced, split_object
from cdp.wire.segment_spec import read_message

_GZIP_MAGIC: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_REASONS: Final = {
    "request_too_large": InvalidReason.BATCH_TOO_LARGE,
    "too_many_messages": InvalidReason.BATCH_TOO_LARGE,
    "not_an_object": InvalidReason.NOT_AN_OBJECT,
    "shared_not_an_object": InvalidReason.FIELD_NOT_AN_OBJECT,
    "batch_missing": InvalidReason.NOT_AN_OBJECT,
    "write_key_not_text": InvalidReason.WRITE_KEY_DISAGREES,
}
"""Why a request would be refused, as the reason of an invalid message; anything else is malformed."""


class _Shape(msgspec.Struct):
    batch: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_shape: Final = msgspec.json.Decoder(_Shape).decode


def unpack(body: bytes, bytes_max: int) -> bytes | RequestRefused:
    """The JSON of a body that may be compressed with gzip, which its first bytes tell; refused where it is too large."""
    content = Body(bytes_max, is_gzip=False)
    return content.feed(body) or content.end()


def read_queued(body: bytes, frame: Frame, queued: Queued) -> list[Message | Invalid]:
    """The messages in a message of a queue, in their order. Those that state no id get one of the id in the queue."""
    text = unpack(body, frame.source.request_bytes_max)
    if isinstance(text, RequestRefused):
        return [refused(frame, text, body)]
    text = text.removeprefix(_BOM)
    if not _is_batch(text):
        return [read_message(text, replace(frame, queued=queued))]
    envelope = read_batch(text)
    if isinstance(envelope, RequestRefused):
        return [refused(frame, envelope, text)]
    frame = replace(frame, sent_at=envelope.sent_at, shared=envelope.shared)
    return [
        read_message(bytes(item), replace(frame, queued=Queued(f"{queued.message_id}-{position}", queued.put_at)))
        for position, item in enumerate(envelope.items)
    ]


def refused(frame: Frame, refusal: RequestRefused, text: bytes) -> Invalid:
    """A message of a queue of which nothing can be read, as one invalid message."""
    reason = _REASONS.get(refusal.code, InvalidReason.MALFORMED_JSON)
    is_opaque = text.startswith(_GZIP_MAGIC)
    return Invalid(frame.source, reason.value, None, is_opaque or may_refuse(text, frame))


def _is_batch(text: bytes) -> bool:
    try:
        return _decode_shape(text).batch is not msgspec.UNSET
    except msgspec.ValidationError:
        return False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return b"batch" in split_object(text)
        except Unbalanced:
            return False
