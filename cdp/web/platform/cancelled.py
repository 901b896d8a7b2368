"""Requests that the server cancels because it has to end: they are answered like every other failure of the service."""

import asyncio
import logging
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cdp.kit.errors import Fault
from cdp.web.ingest.request import send_fault

_STOPPING: Final = Fault(
    "service_stopping",
    "The service is stopping",
    "The request was not completed; send it again after the given time.",
    status=503,
    retry_after_seconds=5,
)
_log = logging.getLogger(__name__)


class CancelledRequests:
    """ASGI middleware: 503 where uvicorn would answer with a 500 of its own, as plain text and without `nosniff`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        has_started = False

        async def noting(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except asyncio.CancelledError:
            if scope["type"] != "http" or has_started:
                raise
            _log.warning("request_cancelled")
            await send_fault(send, _STOPPING)
