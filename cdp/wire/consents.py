"""What counts of a message that is invalid: whom it names, and its consent signals. Pure.

A refusal is never lost to another field of its message, so it is read before anything else can fail. Grants of an
invalid message do not count.
"""

from collections.abc import Mapping
from typing import Any, Final

from cdp.consent.signals.model import NO_REQUEST_SIGNALS, ProposedAct
from cdp.kit.ids import encode_id, new_id
from cdp.wire.frame import Frame
from cdp.wire.message import Message
from cdp.wire.timestamps import happened_at, read_instant

ID_KEYS: Final = ("userId", "anonymousId", "previousId", "groupId")
OBJECT_KEYS: Final = ("context", "properties", "traits")
CONSENT_KEYS: Final = ("consent", "consentManagement")

_KEPT: Final = ("type", "event", *ID_KEYS, *OBJECT_KEYS, "timestamp", "originalTimestamp", "sentAt")
_EXACT_FLOAT_MAX: Final = 2.0**53
_MENTION: Final = b"onsent"
"""Part of the name of every consent field."""


def consents_in(body: Mapping[str, Any], frame: Frame, *, acts: tuple[ProposedAct, ...] = ()) -> Message | None:
    """The consent signals of an invalid message as a message of their own; None if it states nothing about consent.

    Ids and fields that cannot be used are left out. A time that cannot be read is the time of receipt.
    """
    kept = {key: body[key] for key in _KEPT if key in body}
    for key in ID_KEYS:
        text = id_text(kept.pop(key, None))
        if text and "\x00" not in text:
            kept[key] = text
    for key in OBJECT_KEYS:
        if not isinstance(kept.get(key), dict):
            kept.pop(key, None)
    if frame.shared.context:
        kept["context"] = {**frame.shared.context, **kept.get("context", {})}
    kind = frame.kind or kept.get("type")
    kept["type"] = kind if isinstance(kind, str) else "track"
    sent_at = read_instant(kept.get("sentAt") or frame.sent_at)
    consents = Message(
        source=frame.source,
        kind=kept["type"],
        message_id=encode_id("msg", new_id()),
        occurred_at=happened_at(kept, sent_at, frame.received_at) or frame.received_at,
        received_at=frame.received_at,
        body=kept,
        body_digest=b"",
        has_gpc=frame.has_gpc,
        signals=frame.signals,
        acts=acts,
        delivery=frame.delivery,
    )
    return consents if may_state_consent(consents) else None


def may_state_consent(message: Message) -> bool:
    """Whether a message has a consent signal, or an event that a policy could declare to be a refusal."""
    context = message.body.get("context")
    return bool(
        message.has_gpc
        or message.signals is not NO_REQUEST_SIGNALS
        or message.acts
        or isinstance(message.body.get("event"), str)
        or (isinstance(context, dict) and any(key in context for key in CONSENT_KEYS))
    )


def without_content(message: Message) -> Message:
    """A message reduced to its ids and consent signals, for one that cannot be stored with its content."""
    body = {key: value for key, value in message.body.items() if key in _KEPT and key not in OBJECT_KEYS}
    context = message.body.get("context")
    if isinstance(context, dict):
        body["context"] = {key: context[key] for key in (*CONSENT_KEYS, "externalIds") if key in context}
    return Message(
        source=message.source,
        kind=message.kind,
        message_id=message.message_id,
        occurred_at=message.occurred_at,
        received_at=message.received_at,
        body=body,
        body_digest=message.body_digest,
        has_gpc=message.has_gpc,
        signals=message.signals,
        acts=message.acts,
        delivery=message.delivery,
    )


def names_somebody(message: Message) -> bool:
    """Whether the message has an id in one of the places that every client uses."""
    body = message.body
    return bool(body.get("userId") or body.get("anonymousId") or body.get("context", {}).get("externalIds"))


def may_refuse(text: bytes, frame: Frame) -> bool:
    """Whether a message that cannot be read may contain a refusal."""
    return (
        frame.has_gpc
        or frame.signals is not NO_REQUEST_SIGNALS
        or _MENTION in text
        or any(key in frame.shared.context for key in CONSENT_KEYS)
    )


def id_text(value: object) -> str | None:
    """An id as text, empty when there is none; None for what cannot be an id."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if abs(value) >= _EXACT_FLOAT_MAX:
            return f"{value:.16e}"  # its last digits are lost: in this form it is read as malformed
        return str(int(value)) if value.is_integer() else repr(value)
    return None
