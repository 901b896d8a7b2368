"""uvicorn's HTTP protocol with bounds on everything that a client sends, and on how slowly it may send and read.

uvicorn bounds neither the size of a head nor the time in which a request must arrive; this subclass adds that and
leaves the rest to it (decision record 32).
"""

import json
from abc import abstractmethod
from enum import Enum, auto
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cdp.web.connections.limits import Refusal
from cdp.web.connections.table import ConnectionTable

_PIECE: Final = 16 * 1024
"""A head is fed to the parser in pieces, so that what it holds of an unfinished header is bounded."""
_SETTLED_SECONDS: Final = 1.0
_RETRY_AFTER_SECONDS: Final = 1


class _Phase(Enum):
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    HANDLED = auto()
    LINGERING = auto()


class BoundedParsing(HttpToolsProtocol):
    """What a connection sends, within its sizes."""

    def __init__(self, *arguments: Any, table: ConnectionTable, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._table = table
        self._limits = table.limits
        self._phase = _Phase.IDLE
        self._since = 0.0
        self._requests = 0
        self._head_bytes = 0
        self._headers = 0
        self._header_bytes = 0
        self._wire_bytes = 0
        self._payload_bytes = 0
        self._refusal = Refusal.MALFORMED_REQUEST

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, piece by piece while it is a head."""
        self._unset_keepalive_if_required()
        at = 0
        while at < len(data) and self._phase is not _Phase.LINGERING and not self.transport.is_closing():
            piece = data[at:] if self._phase is _Phase.BODY else data[at : at + _PIECE]
            at += len(piece)
            requests = self._requests
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                self._without_upgrade(piece[upgrade.args[0] :] + data[at:])
                return
            except httptools.HttpParserError:
                self.refuse(self._refusal)
                return
            if self._phase is _Phase.HEAD and self._requests == requests:
                self._head_bytes += len(piece)
                if self._head_bytes > self._limits.url_max + self._limits.head_max:
                    self.refuse(Refusal.HEADERS_TOO_LARGE)
            elif self._phase is _Phase.BODY:
                self._wire_bytes += len(piece)
                if self._wire_bytes > self._limits.body_max:
                    self.refuse(Refusal.BODY_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._requests += 1
        self._head_bytes = self._headers = self._header_bytes = self._wire_bytes = self._payload_bytes = 0
        self._enter(_Phase.HEAD)

    def on_url(self, url: bytes) -> None:
        """A part of the URL."""
        super().on_url(url)
        if len(self.url) > self._limits.url_max:
            self._stop(Refusal.URL_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. One after the body is counted and ignored: it may change nothing that was checked before."""
        self._headers += 1
        self._header_bytes += len(name) + len(value)
        if self._headers > self._limits.headers_max or self._header_bytes > self._limits.head_max:
            self._stop(Refusal.HEADERS_TOO_LARGE)
        if self._phase is _Phase.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete: the request is given to the application."""
        if self.parser.should_upgrade():
            return
        super().on_headers_complete()
        if len(self.pipeline) > self._limits.pipelined_max:
            self._stop(Refusal.TOO_MANY_PIPELINED)
        self._enter(_Phase.BODY)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        super().on_body(body)
        self._payload_bytes += len(body)

    def on_message_complete(self) -> None:
        """The whole request has arrived."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        is_answered = self.cycle.response_complete and not self.pipeline
        self._enter(_Phase.IDLE if is_answered else _Phase.HANDLED)

    def _without_upgrade(self, rest: bytes) -> None:
        """Read a request as if it did not ask for another protocol, as RFC 9110, 7.8 allows.

        httptools would drop its body: clients that offer HTTP/2 in every request, such as that of Java, send one.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.refuse(Refusal.MALFORMED_REQUEST)
            return
        is_last = not self.parser.should_keep_alive()
        kept = [(name, value) for name, value in self.headers if name not in (b"upgrade", b"connection")]
        if is_last:
            kept.append((b"connection", b"close"))
        lines = [b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % header for header in kept]
        self.parser = httptools.HttpRequestParser(self)
        self._enter(_Phase.IDLE)
        self.data_received(b"\r\n".join([*lines, b"", b""]) + rest)

    def _enter(self, phase: _Phase) -> None:
        self._phase = phase
        self._since = self.loop.time()

    def _stop(self, refusal: Refusal) -> None:
        """Stop the parser from within one of its callbacks."""
        self._refusal = refusal
        raise ValueError(refusal.code)

    @abstractmethod
    def refuse(self, refusal: Refusal) -> None:
        """Answer with the refusal, and close."""


class BoundedHttpProtocol(BoundedParsing):
    """One connection. `table` decides about all connections of the process."""

    def __init__(self, *arguments: Any, table: ConnectionTable, **options: Any) -> None:
        super().__init__(*arguments, table=table, **options)
        self._unread_bytes = 0
        self._unread_until = 0.0

    @property
    def peer(self) -> str | None:
        """The address of the other end of the connection."""
        return None if self.client is None else self.client[0]

    def connection_made(self, transport: Any) -> None:
        """Admit the connection, or refuse it with 503."""
        super().connection_made(transport)
        self._since = self.loop.time()
        if not self._table.admit(self):
            self.refuse(Refusal.TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._table.closed(self)
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """The client has sent everything: what is left is closed once its answer has left."""
        if self._phase is _Phase.LINGERING:
            self.transport.close()

    def on_response_complete(self) -> None:
        """The answer has been given to the connection."""
        is_last = not self.pipeline
        super().on_response_complete()
        self._table.used(self)
        if is_last and self._phase is _Phase.HANDLED:
            self._enter(_Phase.IDLE)

    def refuse(self, refusal: Refusal) -> None:
        """Answer with a problem document where the client still waits for one, and close.

        What it sends until then is read and dropped, so that the answer is not lost with the connection.
        """
        self._table.refused[refusal] += 1
        can_answer = refusal.status and not self.transport.is_closing() and self._awaits_answer()
        cycle = self._latest
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if not can_answer:
            self.transport.abort()
            return
        self._enter(_Phase.LINGERING)
        self.flow.resume_reading()
        self.transport.write(_answer(refusal))
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def patience(self, now: float) -> int | None:
        """How soon it is closed for another: idle first, then a slow head, then a slow body, never one that is handled."""
        if self._phase in (_Phase.IDLE, _Phase.LINGERING):
            return 0
        if now - self._since < _SETTLED_SECONDS or self._phase is _Phase.HANDLED:
            return None
        return 1 if self._phase is _Phase.HEAD else 2

    def evict(self) -> None:
        """Close for the sake of another connection."""
        if self._phase is _Phase.IDLE:
            self.transport.close()
        else:
            self.refuse(Refusal.TOO_MANY_CONNECTIONS)

    def check(self, now: float) -> None:
        """Refuse what is too slow."""
        elapsed = now - self._since
        if self._is_unread(now):
            self.refuse(Refusal.ANSWER_NOT_READ)
        elif self._phase is _Phase.LINGERING:
            if elapsed > self._limits.linger_seconds:
                self.transport.abort()
        elif self._phase is _Phase.IDLE and not self._requests and elapsed > self._limits.head_seconds:
            self._table.refused[Refusal.NO_REQUEST] += 1
            self.transport.close()
        elif (self._phase is _Phase.HEAD and elapsed > self._limits.head_seconds) or (
            self._phase is _Phase.BODY and self._is_slow(elapsed)
        ):
            self.refuse(Refusal.REQUEST_TIMEOUT)

    def _is_slow(self, elapsed: float) -> bool:
        if self.flow.read_paused or elapsed <= self._limits.grace_seconds:
            return False
        return elapsed > self._limits.body_seconds or self._payload_bytes < self._limits.rate_min * elapsed

    def _is_unread(self, now: float) -> bool:
        """Whether an answer has waited for its reader for longer than its size allows."""
        unread = self.transport.get_write_buffer_size()
        if unread > self._unread_bytes:
            allowed = self._limits.grace_seconds + unread / self._limits.rate_min
            self._unread_until = now + min(allowed, self._limits.body_seconds)
        self._unread_bytes = max(unread, self._unread_bytes) if unread else 0
        return bool(unread) and now > self._unread_until

    def _awaits_answer(self) -> bool:
        cycle = self._latest
        if cycle is None or (self._phase is not _Phase.BODY and cycle.response_complete):
            return True
        return self._phase is _Phase.BODY and not cycle.response_started and not self.pipeline

    @property
    def _latest(self) -> RequestResponseCycle | None:
        """The latest request whose head is complete; None before the first."""
        return self.cycle


def protocol_with(table: ConnectionTable) -> type[BoundedHttpProtocol]:
    """The protocol for `uvicorn.Config`, with the table of this process."""
    return cast("type[BoundedHttpProtocol]", partial(BoundedHttpProtocol, table=table))


def _answer(refusal: Refusal) -> bytes:
    phrase = HTTPStatus(refusal.status).phrase
    body = json.dumps(
        {
            "success": False,
            "code": refusal.code,
            "message": refusal.detail,
            "type": "about:blank",
            "title": phrase,
            "status": refusal.status,
            "detail": refusal.detail,
        }
    ).encode()
    headers = [
        f"HTTP/1.1 {refusal.status} {phrase}",
        "content-type: application/problem+json",
        f"content-length: {len(body)}",
        "access-control-allow-origin: *",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "connection: close",
    ]
    if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(f"retry-after: {_RETRY_AFTER_SECONDS}")
    return "\r\n".join([*headers, "", ""]).encode() + body
