"""Reading the body of an ingest request within its bounds of size, time and capacity."""

import asyncio
from typing import Final

from starlette.types import Receive

from cdp.web.ingest.batcher import Batcher
from cdp.web.ingest.capacity import Share
from cdp.wire.gzip import Body
from cdp.wire.request_refusal import RequestRefused

BODY_SECONDS_MAX: Final = 30
SLOW: Final = RequestRefused("request_timeout", f"The body did not arrive within {BODY_SECONDS_MAX} seconds.")


class ClientDisconnected(Exception):
    """The client disconnected before its request was read."""


async def read_body(receive: Receive, body: Body, share: Share, *, batcher: Batcher) -> bytes | RequestRefused:
    """The whole body, decompressed; a refusal as soon as it is too large, malformed or too slow.

    Raises the fault `overloaded` where there is no capacity for what has arrived, and `ClientDisconnected`.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            while (message := await receive())["type"] == "http.request":
                refused = body.feed(message.get("body", b""))
                if refused is not None:
                    return refused
                if not share.grow(len(body)):
                    raise batcher.overload()
                if not message.get("more_body", False):
                    return body.end()
    except TimeoutError:
        return SLOW
    raise ClientDisconnected
