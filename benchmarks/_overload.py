"""Load from outside: at a steady rate, whatever the answers take, and more than the service can store."""

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks._shop import Shop

_CONNECTIONS: Final = 64
_OVERLOAD_CONNECTIONS: Final = 120
_BATCH: Final = 700
"""Messages of about 600 bytes: close to the largest request."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests offered at a rate, and how long they took from the moment at which each was due, in milliseconds."""

    offered: int
    p50: float
    p99: float
    statuses: Counter[int]

    @property
    def is_within(self) -> bool:
        """Whether all were stored, and 99 of 100 within 100 ms."""
        return self.p99 < 100 and set(self.statuses) == {200}


async def at_rate(port: int, write_key: str, shop: Shop, *, rate: int, seconds: int) -> Rate:
    """Offer single messages at a rate."""
    bodies = iter([json.dumps(call).encode() for call in shop.calls(rate * seconds)])
    begun = time.perf_counter()
    due = iter([begun + number / rate for number in range(rate * seconds)])
    taken: list[float] = []
    statuses: Counter[int] = Counter()

    async def connection() -> None:
        client = await Connection.opened(port, write_key)
        for body in bodies:
            at = next(due)
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            statuses[await client.post("/v1/track", body)] += 1
            taken.append(time.perf_counter() - at)
        client.close()

    await asyncio.gather(*(connection() for _ in range(_CONNECTIONS)))
    ordered = sorted(taken)
    return Rate(rate, 1e3 * ordered[len(ordered) // 2], 1e3 * ordered[int(len(ordered) * 0.99)], statuses)


@dataclass(slots=True)
class Overload:
    """Answers by status while more came than could be stored, and the resident memory of the service by the second, in MB."""

    statuses: Counter[int] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)

    def of_memory(self, part: int, parts: int) -> float:
        """The most memory in one part of the time."""
        width = max(1, len(self.memory) // parts)
        return max(self.memory[part * width : (part + 1) * width] or self.memory[-1:])


async def overloaded(port: int, write_key: str, shop: Shop, *, process: int, seconds: int) -> Overload:
    """Send large batches on many connections, each again as soon as it is answered, whatever the answer says."""
    found = Overload()
    ends = time.monotonic() + seconds
    bodies = [json.dumps({"batch": shop.calls(_BATCH)}).encode() for _ in range(20)]

    async def connection(number: int) -> None:
        client = await Connection.opened(port, write_key)
        while time.monotonic() < ends:
            found.statuses[await client.post("/v1/batch", bodies[number % len(bodies)])] += 1
        client.close()

    async def watch() -> None:
        while time.monotonic() < ends:
            found.memory.append(memory_mb(process))
            await asyncio.sleep(1)

    await asyncio.gather(watch(), *(connection(number) for number in range(_OVERLOAD_CONNECTIONS)))
    return found


@dataclass(slots=True)
class Connection:
    """One connection, opened again when the service has closed it."""

    port: int
    write_key: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def opened(cls, port: int, write_key: str) -> "Connection":
        return cls(port, write_key, *await asyncio.open_connection("127.0.0.1", port))

    async def post(self, path: str, body: bytes) -> int:
        """The status of the answer, 0 if the connection was closed without one."""
        user = base64.b64encode(f"{self.write_key}:".encode()).decode()
        fields = ("host: bench", f"authorization: Basic {user}", "content-type: application/json")
        head = "\r\n".join((f"POST {path} HTTP/1.1", *fields, f"content-length: {len(body)}", "", ""))
        try:
            self.writer.write(head.encode() + body)
            answer = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            length = next((line for line in answer.split(b"\r\n") if line.startswith(b"content-length:")), b":0")
            await self.reader.readexactly(int(length.split(b":")[1]))
        except (OSError, asyncio.IncompleteReadError):
            self.writer.transport.abort()
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            return 0
        if b"connection: close" in answer:
            self.writer.transport.abort()
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return int(answer.split()[1])

    def close(self) -> None:
        self.writer.transport.abort()


def memory_mb(process: int) -> float:
    """The resident memory of a process; 0 where the system does not show it."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values is."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
