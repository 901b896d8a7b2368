"""Limits before every route: authentication, body size and time, security headers, and one log line per request.

Plain ASGI around the framework, so that no request body is read before its token is checked.
"""

import asyncio
import logging
import time
from typing import Any, Final, Protocol

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cdp.kit.errors import Fault
from cdp.web.platform.auth import CALLER
from cdp.web.platform.authentication import Authentication
from cdp.web.platform.errors import ProblemResponse, internal_error, problem_of, unauthorized

BODY_BYTES_MAX: Final = 1_000_000
_BODY_SECONDS_MAX: Final = 30.0
_GUARDED: Final = ("/api/", "/metrics")
_SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_POLICY: Final = (
    b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_NO_STORE: Final = (b"cache-control", b"no-store")
_log = logging.getLogger("cdp.web")


class Observe(Protocol):
    """Counts one response of a route."""

    def __call__(self, method: str, route: str, status: int, *, seconds: float) -> None: ...


"""(method, route template, status, seconds=seconds)"""


class RequestLimits:
    """ASGI middleware that authenticates requests, limits them and adds security headers."""

    def __init__(self, app: ASGIApp, authentication: Authentication, observe: Observe) -> None:
        self._app = app
        self._authentication = authentication
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _ResponseHeaders(scope, send)
        started_at = time.monotonic()
        try:
            refusal = await self._refusal(scope)
            if refusal is not None:
                await refusal(scope, receive, answer.send)
            else:
                await self._app(scope, _limited(receive), answer.send)
        except Exception as error:  # noqa: BLE001 - whatever happens, the response is a problem document
            if not answer.status:  # otherwise the framework has responded, and raises it again
                await internal_error(error)(scope, receive, answer.send)
        finally:
            self._note(scope, answer.status, time.monotonic() - started_at)

    async def _refusal(self, scope: Scope) -> ProblemResponse | None:
        """The response to a refused request; None when it passes, with its caller in the state."""
        headers = dict(reversed(scope["headers"]))
        if scope["path"].startswith(_GUARDED):
            header = headers.get(b"authorization")
            try:
                caller = await self._authentication.caller(scope, None if header is None else header.decode("latin-1"))
            except Fault as fault:
                return problem_of(fault)
            if caller is None:
                return unauthorized(
                    "Send a valid token as `Authorization: Bearer TOKEN`. `cdp token create` creates one."
                )
            scope.setdefault("state", {})[CALLER] = caller
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > BODY_BYTES_MAX:
            return ProblemResponse(
                413, "body_too_large", "The body is too large", detail="A request has at most one megabyte."
            )
        return None

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        template = getattr(scope.get("route"), "path", "unknown")
        self._observe(scope["method"], template, status, seconds=seconds)
        _log.info(
            "request",
            extra={
                "method": scope["method"],
                "route": template,
                "status": status,
                "milliseconds": round(seconds * 1000, 1),
            },
        )


class _ResponseHeaders:
    """Passes a response on with the headers that every response has."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._is_personal = scope["path"].startswith("/api/")
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        """Pass one ASGI message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            stated = message.get("headers", ())
            names = {name.lower() for name, _ in stated}
            headers: list[tuple[bytes, bytes]] = [*stated, *(one for one in _SECURITY_HEADERS if one[0] not in names)]
            if b"content-security-policy" not in names:
                headers.append((b"content-security-policy", _POLICY))
            if self._is_personal or b"cache-control" not in names:
                headers = [header for header in headers if header[0].lower() != b"cache-control"]
                headers.append(_NO_STORE)
            message = {**message, "headers": headers}
        await self._send(message)


def _limited(receive: Receive) -> Receive:
    """Receive a body of at most one megabyte within the time limit."""
    received = 0
    is_whole = False
    deadline = time.monotonic() + _BODY_SECONDS_MAX

    async def bounded() -> Any:
        nonlocal received, is_whole
        if is_whole:
            return await receive()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408) from None
        received += len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        if received > BODY_BYTES_MAX:
            raise HTTPException(413)
        return message

    return bounded
