"""A small TCP proxy between services and the socket of their database: a network that can be cut, reset and stalled."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_CHUNK_BYTES = 64 * 1024


class Proxy:
    """Forwards connections from a loopback port to a Unix socket, in a thread of its own."""

    def __init__(self, target: Path) -> None:
        self.port = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._refuses = False
        self._stop = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        self._started.wait()

    def reset(self) -> None:
        """End every connection; new ones are accepted."""
        self._call(self._abort)

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        self._refuses = True
        self.reset()

    def stall(self) -> None:
        """Hold back every byte, of old and of new connections."""
        self._call(self._flows.clear)

    def heal(self) -> None:
        """Forward everything, what was held back first."""
        self._refuses = False
        self._call(self._flows.set)

    def close(self) -> None:
        """End the proxy."""
        self._call(self._stop.set)
        self._thread.join()

    def _call(self, function: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        self._loop.run_until_complete(self._listen())
        self._loop.close()

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._flows.set()
        self._started.set()
        await self._stop.wait()
        server.close()
        self._flows.set()
        while self._tasks:
            self._abort()
            await asyncio.wait(set(self._tasks), timeout=0.1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._refuses:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, back}
        self._writers |= pair
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._writers -= pair
            for one in pair:
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while block := await reader.read(_CHUNK_BYTES):
                await self._flows.wait()
                writer.write(block)
                await writer.drain()
        writer.close()

    def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
