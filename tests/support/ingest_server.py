"""An ingest endpoint on a free loopback port, in a thread: for clients that need a real server."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from cdp.access.credentials import hash_secret
from cdp.accounting.model import Outcome, State
from cdp.kit.clock import Clock, SystemClock
from cdp.sources.model import Source
from cdp.web.ingest.batch_retry import BatchProcessor
from cdp.web.ingest.batcher import Batcher, Limits
from cdp.web.ingest.hooks import HookDirectory
from cdp.web.ingest.router import IngestEndpoint, IngestRouter
from cdp.web.ingest.write_keys import SourceDirectory
from cdp.wire.message import Invalid, Message
from tests.support.server_thread import serve_in_thread


@dataclass(slots=True)
class Recorder:
    """A batch processor that stores nothing: it keeps the batches that it receives, in order."""

    batches: list[list[Message | Invalid]] = field(default_factory=list)
    before: Callable[[Sequence[Message | Invalid]], None] = lambda _messages: None

    def process(self, messages: Sequence[Message | Invalid]) -> list[Outcome]:
        self.before(messages)
        self.batches.append(list(messages))
        return [
            Outcome(State.INVALID, message.reason) if isinstance(message, Invalid) else Outcome(State.STORED)
            for message in messages
        ]

    def check(self, messages: Sequence[Message | Invalid]) -> None:
        self.before(messages)

    @property
    def all(self) -> list[Message | Invalid]:
        return [message for batch in self.batches for message in batch]

    @property
    def messages(self) -> list[Message]:
        return [message for message in self.all if isinstance(message, Message)]

    @property
    def reasons(self) -> list[str]:
        return [message.reason for message in self.all if isinstance(message, Invalid)]


@dataclass(frozen=True, slots=True)
class RunningIngest:
    """A running ingest server: its URL, and the parts whose state tests read."""

    url: str
    endpoint: IngestEndpoint
    batcher: Batcher
    is_closing: Callable[[], bool]


@contextmanager
def serve_ingest(
    ingest: BatchProcessor,
    directory: SourceDirectory,
    *,
    clock: Clock | None = None,
    limits: Limits | None = None,
    hooks: HookDirectory | None = None,
    **options: Any,
) -> Iterator[RunningIngest]:
    """Serve the ingest endpoint until the block ends; messages that are queued by then are still processed.

    The options are those of `uvicorn.Config`.
    """
    batcher = Batcher(ingest, limits or Limits())
    endpoint = IngestEndpoint(batcher, directory, clock or SystemClock(), hooks=hooks)
    with serve_in_thread(IngestRouter(endpoint, _OtherPaths(endpoint)), **options) as (url, server):
        yield RunningIngest(url, endpoint, batcher, lambda: server.should_exit)


def directory_with(**sources: Source) -> SourceDirectory:
    """A directory of sources by their write keys."""
    known = {hash_secret(key): source for key, source in sources.items()}
    return SourceDirectory(lambda: known)


class _OtherPaths:
    """The application for all other paths: it starts and stops the endpoint with the server, and answers 404."""

    def __init__(self, endpoint: IngestEndpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            async with self._endpoint:
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await asyncio.sleep(0)
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"not an ingest path"})
