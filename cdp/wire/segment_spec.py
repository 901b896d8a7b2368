"""From the bytes of one Segment-spec message to a `Message`, or to an `Invalid` with a reason. Pure.

What unmodified clients send is tolerated (docs/reference/ingest.md, "Tolerated input"): null and empty ids, numeric ids, empty lists where an object
belongs, unknown keys. A message that cannot be understood is invalid and does not affect the other messages of its
request; of an invalid message, its consent signals still count.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from cdp.consent.signals.model import ProposedAct
from cdp.kit.canonical import sha256
from cdp.kit.ids import encode_id, new_id
from cdp.wire.consents import ID_KEYS, OBJECT_KEYS, consents_in, id_text, may_refuse, names_somebody
from cdp.wire.frame import Frame
from cdp.wire.limits import DEPTH_MAX, InvalidReason, Unreadable, read_value, read_with_texts
from cdp.wire.message import Invalid, Message
from cdp.wire.salvage import readable
from cdp.wire.timestamps import happened_at, keep_own_time, read_instant

KINDS: Final = frozenset({"identify", "track", "page", "screen", "group", "alias"})

MESSAGE_BYTES_MAX: Final = 32 * 1024

_VOLATILE_KEYS: Final = ("sentAt", "_metadata", "writeKey")


EXPLANATIONS: Final[Mapping[str, str]] = {
    InvalidReason.MESSAGE_TOO_LARGE: f"A message may have at most {MESSAGE_BYTES_MAX} bytes of JSON.",
    InvalidReason.MALFORMED_JSON: "The message is not valid JSON (RFC 8259); unpaired surrogates are not allowed. NaN and Infinity are read as text.",
    InvalidReason.TEXT_NOT_UNICODE: "The message contains bytes that are not valid UTF-8.",
    InvalidReason.NESTED_TOO_DEEP: f"Objects and lists may be nested at most {DEPTH_MAX} levels deep.",
    InvalidReason.NUMBER_OUT_OF_RANGE: "A number must fit into a 64-bit integer or a double; in a message, another one is read as text.",
    InvalidReason.NOT_AN_OBJECT: "A message must be a JSON object.",
    InvalidReason.WRITE_KEY_DISAGREES: "The write key in the message differs from that of the request.",
    InvalidReason.TYPE_MISSING: "A message in a batch needs a type: identify, track, page, screen, group or alias.",
    InvalidReason.TYPE_UNKNOWN: "The type must be identify, track, page, screen, group or alias.",
    InvalidReason.MESSAGE_ID_NOT_TEXT: "messageId must be a string or a number.",
    InvalidReason.ID_NOT_TEXT: "userId, anonymousId, previousId and groupId must be strings or numbers.",
    InvalidReason.ID_HOLDS_NUL: "userId, anonymousId, previousId and groupId must not contain the character NUL.",
    InvalidReason.ID_MISSING: "A message needs a userId, an anonymousId or context.externalIds.",
    InvalidReason.PREVIOUS_ID_MISSING: "An alias needs a previousId.",
    InvalidReason.GROUP_ID_MISSING: "A group message needs a groupId.",
    InvalidReason.EVENT_MISSING: "A track message needs the name of its event as a non-empty string.",
    InvalidReason.FIELD_NOT_AN_OBJECT: "context, properties and traits must be JSON objects.",
    InvalidReason.TIMESTAMP_MALFORMED: "timestamp and originalTimestamp must be ISO 8601 instants.",
    InvalidReason.BATCH_TOO_LARGE: "A message of a queue may have at most the bytes that its source may send in a request, and 2,500 messages in its batch.",
    InvalidReason.UNPROCESSABLE: "The message could not be stored; the other messages of the request were.",
    InvalidReason.CONSENT_UNPROCESSABLE: "Neither the message nor its consent signals could be stored.",
}
FLOW_EXPLANATIONS: Final[Mapping[str, str]] = {
    "expired": "The message is older than the retention period of its class.",
    "no_identifier": "The message has no well-formed identifier of a known type.",
    "delivery_too_large": "A delivery of a webhook may have at most 2,500 rows, and 500,000 values beside them in all.",
    "event_not_planned": "The tracking plan does not name the event and drops unknown events.",
}
"""Reasons with which the ingest flow refuses messages that the wire format allows."""


def explain(reason: str) -> str:
    """A sentence for the sender that explains the reason of an invalid message."""
    return EXPLANATIONS.get(reason) or FLOW_EXPLANATIONS.get(
        reason, "The message cannot be processed; see the code for the reason."
    )


_encode: Final[Callable[[Any], bytes]] = msgspec.json.Encoder(order="sorted").encode


def read_message(text: bytes, frame: Frame) -> Message | Invalid:
    """Read one message from its JSON; an `Invalid` with the reason where that is not possible."""
    if len(text) > MESSAGE_BYTES_MAX:
        return _unread(text, frame, InvalidReason.MESSAGE_TOO_LARGE)
    try:
        body = _value(text)
    except Unreadable as unreadable:
        return _unread(text, frame, unreadable.reason)
    if not isinstance(body, dict):
        return Invalid(frame.source, InvalidReason.NOT_AN_OBJECT.value)
    return message_of(body, frame)


def _value(text: bytes) -> Any:
    """The value of a message; a number that JSON or the store does not have becomes its text."""
    try:
        return read_value(text)
    except Unreadable as unreadable:
        if unreadable.reason not in (InvalidReason.MALFORMED_JSON, InvalidReason.NUMBER_OUT_OF_RANGE):
            raise
        try:
            return read_with_texts(text)
        except Unreadable:
            raise unreadable from None


def message_of(body: dict[str, Any], frame: Frame, *, acts: tuple[ProposedAct, ...] = ()) -> Message | Invalid:
    """Read one decoded message; `acts` are consents stated outside it.

    `body` is modified: ids become strings or are removed, and the `context` and `integrations` of the batch are merged
    in; the stated times stay as they are.
    """
    body_digest = _digest(body, frame)
    if frame.queued is not None:
        keep_own_time(body, frame.queued.put_at)
    reason = (
        _write_key(body, frame)
        or _kind(body, frame)
        or _message_id(body, frame)
        or _ids(body)
        or _objects(body)
        or _needs(body, body["type"])
    )
    if reason is not None:
        return Invalid(frame.source, reason.value, consents_in(body, frame, acts=acts), delivery=frame.delivery)
    if frame.sent_at is not None and not body.get("sentAt"):
        body["sentAt"] = frame.sent_at
    happened = happened_at(body, read_instant(body.get("sentAt")), frame.received_at)
    if happened is None:
        consents = consents_in(body, frame, acts=acts)
        return Invalid(frame.source, InvalidReason.TIMESTAMP_MALFORMED.value, consents, delivery=frame.delivery)
    return Message(
        source=frame.source,
        kind=body["type"],
        message_id=body["messageId"],
        occurred_at=happened,
        received_at=frame.received_at,
        body=_merged(body, frame),
        body_digest=body_digest,
        has_gpc=frame.has_gpc,
        signals=frame.signals,
        acts=acts,
        is_imported=frame.is_imported,
        delivery=frame.delivery,
    )


def _unread(text: bytes, frame: Frame, reason: InvalidReason) -> Invalid:
    """An invalid message of whose JSON as much is read as can be: a broken value must not hide a refusal beside it."""
    body = readable(text)
    if body is not None and frame.queued is not None:
        keep_own_time(body, frame.queued.put_at)
    consents = None if body is None else consents_in(body, frame)
    is_unread = (consents is None or not names_somebody(consents)) and may_refuse(text, frame)
    return Invalid(frame.source, reason.value, consents, is_unread)


def _digest(body: dict[str, Any], frame: Frame) -> bytes:
    """SHA-256 of what the sender stated, without what a retry of the same message changes, whatever the key order."""
    stated = body.copy()
    for key in _VOLATILE_KEYS:
        stated.pop(key, None)
    if frame.kind is not None:
        stated["type"] = frame.kind
    return sha256(_encode(stated))


def _write_key(body: dict[str, Any], frame: Frame) -> InvalidReason | None:
    write_key = body.pop("writeKey", None)
    if write_key and frame.write_key is not None and write_key != frame.write_key:
        return InvalidReason.WRITE_KEY_DISAGREES
    return None


def _kind(body: dict[str, Any], frame: Frame) -> InvalidReason | None:
    if frame.kind is not None:
        body["type"] = frame.kind
        return None
    kind = body.get("type")
    if kind is None or kind == "":
        return InvalidReason.TYPE_MISSING
    return None if isinstance(kind, str) and kind in KINDS else InvalidReason.TYPE_UNKNOWN


def _message_id(body: dict[str, Any], frame: Frame) -> InvalidReason | None:
    message_id = id_text(body.get("messageId"))
    if message_id is None:
        return InvalidReason.MESSAGE_ID_NOT_TEXT
    if not message_id:
        message_id = encode_id("msg", new_id()) if frame.queued is None else frame.queued.message_id
    body["messageId"] = message_id
    return None


def _ids(body: dict[str, Any]) -> InvalidReason | None:
    for key in ID_KEYS:
        if key not in body:
            continue
        value = body[key]
        text = value if type(value) is str else id_text(value)
        if text is None:
            return InvalidReason.ID_NOT_TEXT
        if "\x00" in text:
            return InvalidReason.ID_HOLDS_NUL
        if text:
            body[key] = text
        else:
            del body[key]
    return None


def _objects(body: dict[str, Any]) -> InvalidReason | None:
    for key in OBJECT_KEYS:
        if key not in body:
            continue
        value = body[key]
        if value is None:
            del body[key]
        elif value == []:
            body[key] = {}
        elif not isinstance(value, dict):
            return InvalidReason.FIELD_NOT_AN_OBJECT
    return None


def _needs(body: dict[str, Any], kind: str) -> InvalidReason | None:
    if "userId" not in body and "anonymousId" not in body and not _external_ids(body):
        return InvalidReason.ID_MISSING
    if kind == "track":
        event = body.get("event")
        return None if isinstance(event, str) and event.strip() else InvalidReason.EVENT_MISSING
    if kind == "group" and "groupId" not in body:
        return InvalidReason.GROUP_ID_MISSING
    if kind == "alias" and "previousId" not in body:
        return InvalidReason.PREVIOUS_ID_MISSING
    return None


def _external_ids(body: dict[str, Any]) -> object:
    return body.get("context", {}).get("externalIds")


def _merged(body: dict[str, Any], frame: Frame) -> dict[str, Any]:
    if frame.shared.context:
        body["context"] = {**frame.shared.context, **body.get("context", {})}
    if frame.shared.targets:
        own = body.get("integrations")
        if own is None or isinstance(own, dict):
            body["integrations"] = {**frame.shared.targets, **(own or {})}
    return body
