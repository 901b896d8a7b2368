"""When a message happened: the rule of docs/reference/ingest.md, "Times". Pure.

`occurred_at = received_at - (sentAt - own time)` removes the error of the sender's clock, because both stated times
were read from it. Without `sentAt` the own time is used. A future time becomes `received_at`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cdp.kit.canonical import instant_text
from cdp.kit.clock import parse_instant

EARLIEST: Final = datetime(1, 1, 1, tzinfo=UTC)
"""What a time before the calendar becomes; it is before every retention horizon."""

LATEST: Final = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def read_instant(value: object) -> datetime | None:
    """An ISO 8601 text as an instant in UTC, without an offset taken as UTC; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        return parse_instant(value)
    except ValueError:
        return None
    except OverflowError:
        return EARLIEST if value.startswith("000") else LATEST


def happened_at(body: dict[str, Any], sent_at: datetime | None, received_at: datetime) -> datetime | None:
    """The `occurred_at` of a message, None when the time it states is not an instant.

    The own time is `timestamp`, or `originalTimestamp` where that is missing. A message with both (RudderStack's
    servers, forwarded events) states in `timestamp` what is no longer a reading of the sender's clock: it is not corrected.
    """
    stated = body.get("timestamp")
    original = body.get("originalTimestamp")
    if stated and original:
        instant = read_instant(stated)
        return None if instant is None else min(instant, received_at)
    value = stated or original
    if value is None or value == "":
        return received_at
    own = read_instant(value)
    return None if own is None else occurred_at(own, sent_at, received_at)


def occurred_at(own: datetime, sent_at: datetime | None, received_at: datetime) -> datetime:
    """The time rule for a time read from the sender's clock."""
    if sent_at is None:
        return min(own, received_at)
    try:
        return min(received_at - (sent_at - own), received_at)
    except OverflowError:
        return EARLIEST if own < sent_at else received_at


def keep_own_time(body: dict[str, Any], put_at: datetime | None) -> None:
    """State the own time of a message so that `sentAt` does not correct it; without one, it is that of `put_at`."""
    own = body.get("timestamp") or body.get("originalTimestamp") or (put_at and instant_text(put_at))
    if own:
        body["timestamp"] = body.get("timestamp") or own
        body["originalTimestamp"] = body.get("originalTimestamp") or own


def is_own_clock(body: Mapping[str, Any]) -> bool:
    """Whether the time of a message was read from the sender's clock and not corrected by `sentAt`: it may be years off."""
    stated, original = body.get("timestamp"), body.get("originalTimestamp")
    if not (stated or original):
        return False
    return bool(stated and original) or read_instant(body.get("sentAt")) is None


def is_from_the_future(body: Mapping[str, Any], received_at: datetime) -> bool:
    """Whether a message states a time after its sending, or after its arrival: one that was clamped to `received_at`."""
    stated, original = body.get("timestamp"), body.get("originalTimestamp")
    own = read_instant(stated or original)
    is_corrected = not (stated and original)
    sent_at = read_instant(body.get("sentAt")) if is_corrected else None
    return own is not None and own > (sent_at or received_at)
