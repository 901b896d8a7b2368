"""The webhooks of sources: `POST /v1/hook/NAME`, verified before anything of the body is read as data.

Whatever is wrong with the sender, the answer is the same 401 after the same work: it says nothing about which sources and
webhooks there are.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from starlette.types import Receive, Scope, Send

from cdp.flows.context import Context
from cdp.flows.hooks.receive import ActiveHook, active_hooks, read_request, verify_request
from cdp.flows.operations.sources import INGEST, REQUEST_BYTES_MAX
from cdp.kit.clock import Clock
from cdp.web.connections.addresses import client_of
from cdp.web.connections.attempts import WrongSecrets
from cdp.web.ingest.batcher import Batcher
from cdp.web.ingest.body import SLOW, read_body
from cdp.web.ingest.capacity import Share
from cdp.web.ingest.request import gzip_of, send_success
from cdp.web.ingest.write_keys import Directory
from cdp.wire.gzip import Body, too_large
from cdp.wire.limits import InvalidReason
from cdp.wire.request_refusal import RequestRefused
from cdp.wire.segment_spec import explain
from cdp.wire.signatures import SignedRequest, VerifiedSender, headers_of

Refused = tuple[int, RequestRefused]
HookDirectory = Directory[ActiveHook]

_NOT_VERIFIED: Final = RequestRefused(
    "delivery_not_verified",
    "No webhook with this name accepts this request: check the name, the secret, and that the clock of the sender is right.",
)
_CONSENT_UNREAD: Final = RequestRefused(
    "consent_unreadable", "A refusal in this delivery could not be stored. Everything else of it was processed."
)
_PING: Final = re.compile(rb"webhook_id=[0-9]{1,20}")
"""What WooCommerce sends, unsigned, when somebody saves a webhook; it must be answered with 200."""


def hooks_of(context: Callable[[], Context]) -> HookDirectory:
    """The webhooks of a context, which may change with the policy."""

    def load() -> Mapping[bytes, ActiveHook]:
        return {name.encode(): hook for name, hook in active_hooks(context()).items()}

    return Directory(load)


def no_hooks() -> HookDirectory:
    """A directory without webhooks."""
    return Directory(dict)


class HookReceiver:
    """Receives what platforms deliver."""

    def __init__(self, batcher: Batcher, hooks: HookDirectory, clock: Clock, *, wrong_secrets: WrongSecrets) -> None:
        self._batcher = batcher
        self._hooks = hooks
        self._clock = clock
        self._wrong_secrets = wrong_secrets

    async def answer(self, scope: Scope, receive: Receive, send: Send, *, hook: str) -> Refused | None:
        """Respond with success once everything is stored, or return the refusal to respond with.

        Requests other than POST ask whether the address exists; it does, whatever its name.
        """
        if scope["method"] != "POST":
            await send_success(send)
            return None
        headers = headers_of(scope["headers"])
        is_gzip = gzip_of(headers.get(b"content-encoding", b""))
        if isinstance(is_gzip, RequestRefused):
            return (400, is_gzip)
        share = Share(self._batcher.keyless, (client_of(scope),))
        if self._batcher.is_full:
            raise self._batcher.overload()
        try:
            body = await read_body(receive, Body(REQUEST_BYTES_MAX, is_gzip=is_gzip), share, batcher=self._batcher)
            if isinstance(body, RequestRefused):
                return (408 if body is SLOW else 400, body)
            return await self._receive(scope, send, SignedRequest(headers, body), hook=hook)
        finally:
            share.release()

    async def _receive(self, scope: Scope, send: Send, request: SignedRequest, *, hook: str) -> Refused | None:
        if _PING.fullmatch(request.body):
            await send_success(send)
            return None
        now = self._clock.now()
        known = await self._verified(request, hook, now)
        if known is None:
            self._wrong_secrets.note(client_of(scope))
            return (401, _NOT_VERIFIED)
        found, verified = known
        if len(request.body) > found.source.request_bytes_max:
            return (400, too_large(found.source.request_bytes_max))
        received = await asyncio.to_thread(read_request, found, request, verified, now=now)
        outcomes = await self._batcher.submit(received.messages, len(request.body), address=client_of(scope))
        if received.is_unread:
            return (400, RequestRefused(outcomes[0].reason, explain(outcomes[0].reason)))
        if any(outcome.reason == InvalidReason.CONSENT_UNPROCESSABLE for outcome in outcomes):
            return (400, _CONSENT_UNREAD)
        await send_success(send)
        return None

    async def _verified(
        self, request: SignedRequest, hook: str, now: datetime
    ) -> tuple[ActiveHook, VerifiedSender] | None:
        """The webhook of a request, and its sender; None if it is not known.

        What fails is verified again with the webhooks as they are now: a new one, or a new secret, works at once, and a wrong
        signature takes as long as an unknown name.
        """
        name = hook.encode("utf-8", "surrogatepass")
        for find in (self._hooks.cached, self._hooks.reread):
            found = await find(name)
            sender = verify_request(found, request, now)
            if found is not None and sender is not None and INGEST in found.source.scopes:
                return found, sender
        return None
