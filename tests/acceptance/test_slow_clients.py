"""2,000 idle and slow connections shut out nobody: an honest client is answered, and the service stays ready."""

import asyncio
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.support.commands import Shell, temporary_home
from tests.support.folders import FOLDERS
from tests.support.open_files import allow_open_files
from tests.support.slow_clients import slow_clients
from tests.support.waits import PATIENCE_SECONDS

_CONNECTIONS = 2_000
_REQUESTS = 30
_ANSWER_SECONDS = 40.0
"""Generous, for a busy machine: a service without bounds does not answer at all."""


@pytest.fixture
def shell() -> Iterator[Shell]:
    with temporary_home(FOLDERS) as home:
        yield Shell(home)


@pytest.mark.slow
def test_2000_idle_and_slow_connections_shut_out_nobody(shell: Shell) -> None:
    allow_open_files(_CONNECTIONS + 500)
    with shell.serving() as service:
        key = shell.json("source", "create", "shop", "--kind", "server", "--scope", "ingest")["write_key"]
        answered = asyncio.run(_honest(service.url, key))
    assert answered == [200] * (_REQUESTS * 3)


async def _honest(url: str, key: str) -> list[int]:
    """The answers to an honest client, while the others hold their connections."""
    statuses: list[int] = []
    page = {"type": "page", "userId": "ada"}
    async with slow_clients(int(url.rpartition(":")[2]), key, _CONNECTIONS):
        await asyncio.sleep(3)
        begun = time.monotonic()
        for number in range(_REQUESTS):
            async with httpx.AsyncClient(base_url=url, timeout=_ANSWER_SECONDS) as client:
                statuses.append((await client.post("/v1/batch", json={"batch": [page]}, auth=(key, ""))).status_code)
                statuses.append((await client.get("/healthz")).status_code)
                statuses.append((await client.get("/readyz")).status_code)
            assert time.monotonic() - begun < PATIENCE_SECONDS * 2, f"only {number} requests were answered"
    return statuses
