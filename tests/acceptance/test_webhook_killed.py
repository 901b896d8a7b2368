"""`kill -9` while platforms deliver: what was answered with 200 is there, and what is delivered again is there once."""

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from cdp.accounting.model import State
from cdp.accounting.store.messages import accounting
from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from cdp.sources.hook import SignatureScheme
from tests.support.commands import temporary_home
from tests.support.folders import FOLDERS
from tests.support.ingest_endpoint import BEGINNING, END
from tests.support.policies import ROOT
from tests.support.waits import PATIENCE_SECONDS
from tests.support.webhooks import SECRETS

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

DELIVERIES = 60
KILLED_AFTER = 15


@pytest.fixture
def home() -> Iterator[Path]:
    with temporary_home(FOLDERS) as home:
        yield home


@contextmanager
def service(home: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.ingest_service", str(home)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), "the service did not start"
        yield process, url
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE_SECONDS)


def deliver(url: str, number: int) -> bool:
    """Whether a delivery is answered with 200."""
    body = json.dumps({"user": f"u{number}", "order": number}).encode()
    signature = hmac.new(SECRETS[SignatureScheme.GITHUB].encode(), body, hashlib.sha256).hexdigest()
    headers = {"x-hub-signature-256": f"sha256={signature}"}
    try:
        return (
            httpx.post(f"{url}/v1/hook/shop", content=body, headers=headers, timeout=PATIENCE_SECONDS).status_code
            == 200
        )
    except httpx.HTTPError:
        return False


def test_what_a_killed_service_did_not_answer_is_delivered_again_and_counts_once(home: Path) -> None:
    acknowledged: set[int] = set()
    with service(home) as (process, url), ThreadPoolExecutor(4) as pool:

        def attempt(number: int) -> None:
            if deliver(url, number):
                acknowledged.add(number)
                if len(acknowledged) == KILLED_AFTER:
                    os.kill(process.pid, signal.SIGKILL)

        list(pool.map(attempt, range(DELIVERIES)))
    assert KILLED_AFTER <= len(acknowledged) < DELIVERIES
    with service(home) as (_, url), ThreadPoolExecutor(4) as pool:
        again = [number for number in range(DELIVERIES) if number not in acknowledged]
        assert all(pool.map(lambda number: deliver(url, number), again))
        assert all(pool.map(lambda number: deliver(url, number), sorted(acknowledged)))
    with EmbeddedPostgres(home) as server:
        database = Database(server.url)
        with database.transaction(read_only=True) as tx:
            [(events,)] = tx.execute("SELECT count(*) FROM behavior.event")
            states = [(entry.state, entry.messages) for entry in accounting(tx, BEGINNING, END)]
        database.close()
    assert events == DELIVERIES
    assert sum(count for state, count in states if state is State.STORED) == DELIVERIES
    assert sum(count for state, count in states if state is State.DUPLICATE) >= len(acknowledged)
