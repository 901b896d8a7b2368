"""Messages for tests: bodies in the words of the Segment spec, batches of them, and messages as ingest reads them.

The keywords of a builder are the fields of the body, so they keep the spelling of the spec: `userId`, `messageId`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cdp.consent.signals.model import NO_REQUEST_SIGNALS, RequestSignals
from cdp.kit.canonical import canonical_json, sha256
from cdp.sources.model import Source
from cdp.wire.message import Message


def track(event: str = "Product Viewed", /, **fields: Any) -> dict[str, Any]:
    """The body of an event."""
    return {"type": "track", "event": event, **fields}


def order(**fields: Any) -> dict[str, Any]:
    """The body of a completed order."""
    return track("Order Completed", **fields)


def numbered_order(number: int) -> dict[str, Any]:
    """One of many orders of Ada, each with its own message id, order id and revenue."""
    properties = {"order_id": f"o-{number}", "revenue": number}
    return order(userId="ada", messageId=f"o{number}", properties=properties)


def identify(**fields: Any) -> dict[str, Any]:
    """A body that states who somebody is."""
    return {"type": "identify", **fields}


def page(**fields: Any) -> dict[str, Any]:
    """The body of a page view."""
    return {"type": "page", **fields}


def alias(**fields: Any) -> dict[str, Any]:
    """A body that states that two ids are one person."""
    return {"type": "alias", **fields}


def consent_context(**categories: bool) -> dict[str, Any]:
    """The context of a body that carries consent choices by purpose."""
    return {"consent": {"categoryPreferences": categories}}


def batch(*bodies: object, **fields: Any) -> dict[str, Any]:
    """The body of a batch request; the fields stand beside the list."""
    return {"batch": list(bodies), **fields}


def read_as(
    body: Mapping[str, Any],
    source: Source,
    received_at: datetime,
    *,
    occurred_at: datetime | None = None,
    has_gpc: bool = False,
    signals: RequestSignals = NO_REQUEST_SIGNALS,
) -> Message:
    """The message that ingest processes for a body with a `messageId`.

    It occurred at the instant given, else at the body's `timestamp`, else when it was received.
    """
    stated = body.get("timestamp")
    return Message(
        source=source,
        kind=body.get("type", "track"),
        message_id=body["messageId"],
        occurred_at=occurred_at or (received_at if stated is None else datetime.fromisoformat(stated)),
        received_at=received_at,
        body=dict(body),
        body_digest=sha256(canonical_json(body)),
        has_gpc=has_gpc,
        signals=signals,
    )
