"""An ingest endpoint on a free loopback port, in a thread: for clients that need a real server."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.types import Receive, Scope, Send

from cdp.access.credentials import hash_secret
from cdp.accounting.model import Outcome, State
from cdp.kit.clock import Clock, SystemClock
from cdp.schema.ids import SourceId
from cdp.sources.model import Source, SourceKind
from cdp.web.ingest.batch_retry import BatchProcessor
from cdp.web.ingest.batcher import Batcher, Limits
from cdp.web.ingest.router import IngestEndpoint, IngestRouter
from cdp.web.ingest.write_keys import SourceDirectory
from cdp.wire.message import Invalid, Message
from tests.support.waits import PATIENCE_SECONDS, until


def a_source(number: int, name: str, kind: SourceKind = SourceKind.BROWSER, bytes_max: int = 500 * 1024) -> Source:
    return Source(SourceId(number), name, kind, frozenset({"ingest"}), "eu", bytes_max)


@dataclass(slots=True)
class Recorder:
    """A place where messages land: it keeps them, in the batches in which they came."""

    batches: list[list[Message | Invalid]] = field(default_factory=list)
    before: Callable[[Sequence[Message | Invalid]], None] = lambda _messages: None

    def process(self, messages: Sequence[Message | Invalid]) -> list[Outcome]:
        self.before(messages)
        self.batches.append(list(messages))
        return [
            Outcome(State.INVALID, each.reason) if isinstance(each, Invalid) else Outcome(State.STORED)
            for each in messages
        ]

    @property
    def all(self) -> list[Message | Invalid]:
        return [each for batch in self.batches for each in batch]

    @property
    def messages(self) -> list[Message]:
        return [each for each in self.all if isinstance(each, Message)]

    @property
    def reasons(self) -> list[str]:
        return [each.reason for each in self.all if isinstance(each, Invalid)]


@dataclass(frozen=True, slots=True)
class Running:
    """A door that is open: its address, and what may be asked about its inside."""

    url: str
    door: IngestEndpoint
    batcher: Batcher
    is_closing: Callable[[], bool]


@contextmanager
def serve_ingest(
    ingest: BatchProcessor,
    directory: SourceDirectory,
    *,
    clock: Clock | None = None,
    limits: Limits | None = None,
) -> Iterator[Running]:
    """Serve the door until the block ends; what waits then still lands."""
    batcher = Batcher(ingest, limits or Limits())
    door = IngestEndpoint(batcher, directory, clock or SystemClock())
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        config = uvicorn.Config(
            IngestRouter(door, _Rest(door)),
            loop="uvloop",
            http="httptools",
            log_level="error",
            access_log=False,
            lifespan="on",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started or not thread.is_alive())
            assert server.started, "the server did not start"
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            yield Running(url, door, batcher, lambda: server.should_exit)
        finally:
            server.should_exit = True
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "the server did not stop"


def directory_with(**sources: Source) -> SourceDirectory:
    """A directory of sources by their write keys."""
    known = {hash_secret(key): source for key, source in sources.items()}
    return SourceDirectory(lambda: known)


class _Rest:
    """What stands behind the door: the life of the server, and 404."""

    def __init__(self, door: IngestEndpoint) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            async with self._door:
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await asyncio.sleep(0)
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"behind the door"})
