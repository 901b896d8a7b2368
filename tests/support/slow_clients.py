"""Clients that take connections and give little: silent, half-sent, slow, without a key, or reading no answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

_DRIP_SECONDS: Final = 0.5
_ADDRESSES: Final = 8
"""The clients come from so many addresses of the loopback network, all but the first one's."""


def _request(*headers: str) -> bytes:
    lines = ["POST /v1/batch HTTP/1.1", "host: test", "content-length: 500000", *headers, "", ""]
    return "\r\n".join(lines).encode()


_ASKED: Final = b"GET /openapi.json HTTP/1.1\r\nhost: test\r\n\r\n"
_KINDS: Final = (
    (b"", b""),
    (b"POST /v1/batch HTTP/1.1\r\n", b"x-a: b\r\n"),
    (_request(), b" "),
    (_request("x-write-key: nobody"), b" "),
    (_ASKED * 2, b""),
)
"""What each kind sends first, and then again and again."""


def kinds_with(write_key: str) -> tuple[tuple[bytes, bytes], ...]:
    """All kinds of slow clients, among them one with a valid write key."""
    return (*_KINDS, (_request(f"x-write-key: {write_key}"), b" "))


@asynccontextmanager
async def slow_clients(port: int, write_key: str, count: int) -> AsyncIterator[set[int]]:
    """Keep `count` connections of slow clients, which connect again when they are closed, until the block ends.

    Yields the numbers of the clients that have been connected.
    """
    connected: set[int] = set()
    kinds = kinds_with(write_key)
    tasks = [
        asyncio.create_task(_keep(port, number, connected, *kinds[number % len(kinds)])) for number in range(count)
    ]
    try:
        yield connected
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep(port: int, number: int, connected: set[int], /, *sent: bytes) -> None:
    """`sent` is what the client sends first, and then again and again."""
    first, then = sent
    address = f"127.0.0.{2 + number % _ADDRESSES}"
    while True:
        with suppress(OSError):
            # With so small a limit the client stops reading at once.
            _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0), limit=1)
            connected.add(number)
            try:
                writer.write(first)
                while not writer.transport.is_closing():
                    await asyncio.sleep(_DRIP_SECONDS)
                    writer.write(then)
            finally:
                writer.transport.abort()
        await asyncio.sleep(_DRIP_SECONDS)
