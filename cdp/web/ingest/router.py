"""The ingest endpoint: the paths of the Segment spec as plain ASGI, without the framework, for speed.

A request is read within its limits, decoded, and answered with 200 only after the transaction with its messages has
committed. The address of the sender is neither stored nor logged.
"""

import logging
from collections import Counter
from types import TracebackType
from typing import Final, Self

from starlette.types import ASGIApp, Receive, Scope, Send

from cdp.accounting.model import State
from cdp.kit.clock import Clock
from cdp.kit.errors import Fault, lacks_resources
from cdp.sources.model import Source
from cdp.web.connections.addresses import client_of
from cdp.web.connections.attempts import WrongSecrets
from cdp.web.connections.hosts import TrustedHosts
from cdp.web.ingest.batcher import Batcher
from cdp.web.ingest.body import SLOW, ClientDisconnected, read_body
from cdp.web.ingest.capacity import Share
from cdp.web.ingest.hooks import HookDirectory, HookReceiver, no_hooks
from cdp.web.ingest.paths import (
    CONFIG_PATH,
    HOOK_METHODS,
    METRICS_PATH,
    IngestPath,
    allowed_methods,
    hook_name,
    ingest_path,
    is_claimed,
    settings_key,
)
from cdp.web.ingest.request import (
    MALFORMED_AUTHORIZATION,
    WRITE_KEYS_DISAGREE,
    RequestHead,
    read_head,
    send_fault,
    send_json,
    send_preflight,
    send_refused,
    send_success,
)
from cdp.web.ingest.settings import rudderstack_config, segment_settings
from cdp.web.ingest.write_keys import SourceDirectory
from cdp.wire.batch import REQUEST_BYTES_DEFAULT
from cdp.wire.gzip import Body, too_large
from cdp.wire.limits import InvalidReason
from cdp.wire.message import Invalid
from cdp.wire.request_refusal import RequestRefused
from cdp.wire.segment_spec import explain

INGEST_SCOPE: Final = "ingest"

_log = logging.getLogger(__name__)

_UNKNOWN_KEY: Final = RequestRefused("unknown_write_key", "No active source has this write key.")
_NO_KEY: Final = RequestRefused(
    "write_key_missing",
    "Send the write key of a source: as the user name of Basic authorization, in the body or in the query.",
)
_NO_SCOPE: Final = RequestRefused("scope_missing", "The source of this write key may not send messages.")
_NO_METHOD: Final = RequestRefused("method_not_allowed", "Method not allowed for this path.")
_NO_PATH: Final = RequestRefused(
    "unknown_path", "Unknown path. Send messages to /v1/batch or to /v1/ followed by their type."
)
_UNREAD: Final = RequestRefused(
    "consent_unreadable",
    "A message may contain a refusal that cannot be read or stored. Every other message was processed.",
)
_FAILED: Final = RequestRefused("internal_error", "The request could not be handled. Nothing of it was stored.")
_UNKNOWN_HOST: Final = RequestRefused(
    "host_not_trusted",
    "Settings name the host to which an SDK sends. The host of this request is not among those of CDP_TRUSTED_HOSTS.",
)
_LACKING: Final = RequestRefused(
    "service_unavailable",
    "The service is overloaded. The request was not completed; send it again after the given time.",
)
_LACKING_RETRY_AFTER_SECONDS: Final = 5


class IngestEndpoint:
    """An ASGI application for the ingest paths; use it as `async with endpoint:` around the lifetime of the server."""

    def __init__(
        self,
        batcher: Batcher,
        sources: SourceDirectory,
        clock: Clock,
        *,
        wrong_secrets: WrongSecrets | None = None,
        hosts: TrustedHosts | None = None,
        hooks: HookDirectory | None = None,
    ) -> None:
        self._batcher = batcher
        self._sources = sources
        self._clock = clock
        self._wrong_secrets = wrong_secrets or WrongSecrets()
        self._hosts = hosts or TrustedHosts()
        self._hooks = HookReceiver(batcher, hooks or no_hooks(), clock, wrong_secrets=self._wrong_secrets)
        self.answers: Counter[int] = Counter()
        """Responses by status since the start."""

    async def __aenter__(self) -> Self:
        self._batcher.start()
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _place: TracebackType | None
    ) -> None:
        await self._batcher.close()

    def claims(self, path: str) -> bool:
        """True for the paths of the spec and all of `/v1/`, so that SDKs only get the errors of this endpoint."""
        return path.startswith("/v1/") or is_claimed(_plain(path))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request."""
        try:
            self.answers[await self._answer(scope, receive, send)] += 1
        except ClientDisconnected:
            self.answers[499] += 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Respond, and return the status."""
        try:
            refusal = await self._handle(scope, receive, send)
        except Fault as fault:
            if fault.is_for_operators:
                _log.warning("ingest_request_not_completed", exc_info=fault)
            await send_fault(send, fault)
            return fault.status
        except ClientDisconnected:
            raise
        except Exception as error:  # noqa: BLE001 - an SDK needs a response with a code, whatever happened
            _log.exception("ingest_request_failed")
            if lacks_resources(error):
                await send_refused(send, 503, _LACKING, retry_after_seconds=_LACKING_RETRY_AFTER_SECONDS)
                return 503
            await send_refused(send, 500, _FAILED)
            return 500
        if refusal is None:
            return 200
        status, refused = refusal
        await send_refused(
            send, status, refused, allow=allowed_methods(_plain(scope["path"])) if status == 405 else None
        )
        return status

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> tuple[int, RequestRefused] | None:
        """Respond with success, or return the refusal to respond with."""
        path, method = _plain(scope["path"]), scope["method"]
        if method == "OPTIONS":
            await send_preflight(send)
            return None
        hook = hook_name(path)
        if hook is not None:
            return (
                (405, _NO_METHOD)
                if method not in HOOK_METHODS
                else await self._hooks.answer(scope, receive, send, hook=hook)
            )
        taken = ingest_path(path)
        if taken is not None:
            return (
                (405, _NO_METHOD)
                if method not in taken.methods
                else await self._ingest(scope, receive, send, path=taken)
            )
        if path == METRICS_PATH:
            await send_success(send)
            return None
        if path != CONFIG_PATH and settings_key(path) is None:
            return (404, _NO_PATH)
        return (405, _NO_METHOD) if method != "GET" else await self._settings(scope, send)

    async def _ingest(
        self, scope: Scope, receive: Receive, send: Send, *, path: IngestPath
    ) -> tuple[int, RequestRefused] | None:
        head = read_head(scope, path_key=path.write_key, key_parameter=path.key_parameter)
        if isinstance(head, RequestRefused):
            return (401 if head is MALFORMED_AUTHORIZATION else 400, head)
        source = None
        if head.write_key is not None:
            source = await self._find(scope, head.write_key)
            if source is None:
                return (401, _UNKNOWN_KEY)
            if INGEST_SCOPE not in source.scopes:
                return (403, _NO_SCOPE)
        bytes_max = REQUEST_BYTES_DEFAULT if source is None else source.request_bytes_max
        if head.content_length > bytes_max:
            return (400, too_large(bytes_max))
        share = self._share(scope, source)
        if self._batcher.is_full or not share.fits(head.content_length):
            raise self._batcher.overload()
        try:
            body = await read_body(receive, Body(bytes_max, is_gzip=head.is_gzip), share, batcher=self._batcher)
            if isinstance(body, RequestRefused):
                return (408 if body is SLOW else 400, body)
            return await self._submit(scope, send, head, body=body, path=path)
        finally:
            share.release()

    def _share(self, scope: Scope, source: Source | None) -> Share:
        """What a request holds of the capacity: apart from all others while its source is unknown."""
        client = client_of(scope)
        if source is None:
            return Share(self._batcher.keyless, (client,))
        return Share(self._batcher.capacity, (client, source.source_id))

    async def _find(self, scope: Scope, write_key: str) -> Source | None:
        """The source of a write key. Raises the fault `too_many_wrong_secrets`."""
        source = await self._sources.find(write_key)
        if source is None:
            self._wrong_secrets.note(client_of(scope))
        return source

    async def _submit(
        self, scope: Scope, send: Send, head: RequestHead, *, body: bytes, path: IngestPath
    ) -> tuple[int, RequestRefused] | None:
        envelope = path.read(scope, body)
        if isinstance(envelope, RequestRefused):
            return (400, envelope)
        key = head.write_key or envelope.write_key
        if key is None:
            return (401, _NO_KEY)
        if envelope.write_key not in (None, key):
            return (400, WRITE_KEYS_DISAGREE)
        named = await self._find(scope, key)  # also where the head named it: the body may have taken half a minute
        if named is None:
            return (401, _UNKNOWN_KEY)
        if INGEST_SCOPE not in named.scopes:
            return (403, _NO_SCOPE)
        messages = envelope.messages(named, self._clock.now(), key, has_gpc=head.has_gpc, signals=head.signals)
        outcomes = await self._batcher.submit(messages, len(body), address=client_of(scope))
        if path.is_single and outcomes[0].state is State.INVALID:
            return (400, RequestRefused(outcomes[0].reason, explain(outcomes[0].reason)))
        if any(isinstance(message, Invalid) and message.is_unread for message in messages) or any(
            outcome.reason == InvalidReason.CONSENT_UNPROCESSABLE for outcome in outcomes
        ):
            return (400, _UNREAD)
        await path.answer(send)
        return None

    async def _settings(self, scope: Scope, send: Send) -> tuple[int, RequestRefused] | None:
        head = read_head(scope)
        if isinstance(head, RequestRefused):
            return (401 if head is MALFORMED_AUTHORIZATION else 400, head)
        in_path = settings_key(scope["path"])
        key = in_path or head.write_key
        if key is None:
            return (401, _NO_KEY)
        source = await self._find(scope, key)
        if source is None:
            return (401, _UNKNOWN_KEY)
        host = self._hosts.named(scope)
        if host is None:
            return (421, _UNKNOWN_HOST)
        scheme = scope.get("scheme", "http")
        is_segment = in_path is not None
        await send_json(
            send,
            segment_settings(scheme, host, key) if is_segment else rudderstack_config(scheme, host, key, source=source),
        )
        return None


class IngestRouter:
    """Routes ingest requests to their endpoint and everything else to the framework."""

    def __init__(self, endpoint: IngestEndpoint, app: ASGIApp) -> None:
        self._endpoint = endpoint
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_ingest = scope["type"] == "http" and self._endpoint.claims(scope["path"])
        await (self._endpoint if is_ingest else self._app)(scope, receive, send)


def _plain(path: str) -> str:
    return path[:-1] if path.endswith("/") and len(path) > 1 else path
