"""The source of a write key, without a query per request."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from cdp.access.credentials import hash_secret
from cdp.flows.operations.sources import KEY_SECONDS_MAX
from cdp.kit.db import Database
from cdp.sources.model import Source
from cdp.sources.store.sources import active_sources

PAUSE_SECONDS = 0.25
Entry = TypeVar("Entry")


class Directory(Generic[Entry]):
    """Entries in memory by a key, read again when they are older than `fresh_seconds`.

    What was read is used for so long and no longer, also while it cannot be read: a key that was disabled ends within that
    time in every service.

    For an unknown key the entries are read again, so a new one works at once; but at most once per `pause_seconds`, however
    many wrong keys are tried, and wrong keys are not kept.
    """

    def __init__(
        self,
        load: Callable[[], Mapping[bytes, Entry]],
        *,
        fresh_seconds: float = KEY_SECONDS_MAX,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._load = load
        self._fresh_seconds = fresh_seconds
        self._pause_seconds = pause_seconds
        self._entries: Mapping[bytes, Entry] = {}
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def entry(self, key: bytes) -> Entry | None:
        """The entry of a key, None when there is none. Raises Fault when the entries cannot be read."""
        now = asyncio.get_running_loop().time()
        known = self._entries.get(key)
        if known is not None and now - self._read_at < self._fresh_seconds:
            return known
        while self._read_at < now and (known is None or now - self._read_at >= self._fresh_seconds):
            await self._refresh()
            known = self._entries.get(key)
        return known

    async def cached(self, key: bytes) -> Entry | None:
        """The entry of a key as it is in memory, None when that is too old, too."""
        is_fresh = asyncio.get_running_loop().time() - self._read_at < self._fresh_seconds
        return self._entries.get(key) if is_fresh else None

    async def reread(self, key: bytes) -> Entry | None:
        """The entry of a key as it is now, known or not. Raises Fault when the entries cannot be read."""
        now = asyncio.get_running_loop().time()
        while self._read_at < now:
            await self._refresh()
        return self._entries.get(key)

    async def _refresh(self) -> None:
        """Read the entries again; concurrent callers wait for the same read."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._read_at + self._pause_seconds - loop.time()))
        started_at = loop.time()
        self._entries = await asyncio.to_thread(self._load)
        self._read_at = started_at


class SourceDirectory(Directory[Source]):
    """All active sources by the hashes of their write keys."""

    async def find(self, write_key: str) -> Source | None:
        """The source of a write key, None when it has none. Raises Fault when the sources cannot be read."""
        return await self.entry(hash_secret(write_key))


def directory_of(database: Database) -> SourceDirectory:
    """The directory of the sources of a database."""

    def load() -> Mapping[bytes, Source]:
        with database.transaction(read_only=True) as tx:
            return active_sources(tx)

    return SourceDirectory(load)
