"""`kill -9` under load: what was answered with 200 is there once, and no request is there by half."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from cdp.flows.operations.startup import open_context
from cdp.kit.clock import SystemClock
from cdp.kit.db import Database
from cdp.postgres.place import find_place
from cdp.postgres.server import EmbeddedPostgres
from tests.support import messages
from tests.support.commands import outage, temporary_home
from tests.support.folders import FOLDERS
from tests.support.messages import track
from tests.support.policies import permit_all
from tests.support.waits import PATIENCE_SECONDS, until

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).resolve().parents[2]
SENDERS = 4
MESSAGES = 10
LOADED = 30

Landed = dict[str, int]


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


def batch(name: str) -> dict[str, Any]:
    """Messages of a few people who are seen together on some devices, so that profiles merge under load."""
    number = sum(name.encode())
    return messages.batch(
        *[
            track(
                messageId=f"{name}-{index}",
                userId=f"user-{(number + index) % 40}",
                anonymousId=f"device-{(number * 7 + index) % 90}",
                properties={"price": index},
            )
            for index in range(MESSAGES)
        ]
    )


@dataclass(slots=True)
class Load:
    """Senders of batches: the names sent, and those answered with 200."""

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)


def put_under_load(url: str, round_: str, load: Load, stop: threading.Event) -> None:
    """Send batches from several connections until told, or until nobody answers."""

    def send(sender: int) -> None:
        with httpx.Client(base_url=url, headers={"x-write-key": "wk"}, timeout=PATIENCE_SECONDS) as client:
            number = 0
            while not stop.is_set():
                number += 1
                name = f"{round_}-{sender}-{number}"
                load.sent.add(name)
                try:
                    answer = client.post("/v1/batch", json=batch(name))
                except httpx.HTTPError:
                    return
                assert answer.status_code in (200, 503)
                if answer.status_code == 200:
                    load.acknowledged.add(name)

    with ThreadPoolExecutor(SENDERS) as pool:
        for done in [pool.submit(send, sender) for sender in range(SENDERS)]:
            done.result()


def kill_under_load(home: Path, round_: str, *, with_postgres: bool) -> Load:
    load, stop = Load(), threading.Event()
    with service(home) as (process, url), ThreadPoolExecutor(1) as pool:
        running = pool.submit(put_under_load, url, round_, load, stop)
        try:
            until(lambda: len(load.acknowledged) >= LOADED or running.done())
            if with_postgres:
                kill_postgres(home)
            process.kill()
        finally:
            stop.set()
        running.result()
    assert len(load.acknowledged) >= LOADED, "the kill must come under load"
    return load


def kill_postgres(home: Path) -> None:
    place = find_place(home)
    assert place is not None
    os.kill(int((place.data / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)


def landed(home: Path, names: set[str]) -> tuple[Landed, dict[str, int]]:
    """How many messages of each request are stored, and the store's counts that must agree with that."""
    url = EmbeddedPostgres(home).attach()
    assert url is not None
    database = Database(url)
    context = open_context(database, permit_all(), SystemClock(), home=home)
    with database.transaction(read_only=True) as tx:
        source_id = tx.execute("SELECT source_id FROM sources.source")[0][0]
        stored = {str(row[0]) for row in tx.execute("SELECT event_id FROM behavior.event")}
        counts = tx.execute(
            """
            SELECT (SELECT count(*) FROM behavior.event),
                   (SELECT count(*) FROM behavior.duplicate),
                   (SELECT coalesce(sum(messages), 0)::bigint FROM accounting.accounting WHERE state = 'stored'),
                   (SELECT count(*) FROM behavior.event e LEFT JOIN identity.canonical c USING (anchor_id)
                    WHERE c.profile_id IS NULL)
            """
        )[0]
    found = {}
    for name in names:
        ids = context.vault.hashes.message_digests(source_id, [f"{name}-{index}" for index in range(MESSAGES)])
        found[name] = sum(str(UUID(bytes=each)) in stored for each in ids)
    database.close()
    return found, dict(zip(("events", "remembered", "accounted", "homeless"), counts, strict=True))


@pytest.mark.parametrize("with_postgres", [False, True], ids=["the service", "the service and its PostgreSQL"])
def test_what_was_answered_is_there_once_after_a_kill(home: Path, *, with_postgres: bool) -> None:
    sent: set[str] = set()
    acknowledged: set[str] = set()
    for round_ in ("first", "second"):
        load = kill_under_load(home, round_, with_postgres=with_postgres)
        sent |= load.sent
        acknowledged |= load.acknowledged

    with service(home) as (_, url):
        found, counts = landed(home, sent)
        assert {name: found[name] for name in acknowledged} == dict.fromkeys(acknowledged, MESSAGES)
        assert set(found.values()) <= {0, MESSAGES}, "a request is there whole or not at all"
        events = sum(found.values())
        assert (counts["events"], counts["remembered"], counts["accounted"]) == (events, events, events)
        assert counts["homeless"] == 0

        with httpx.Client(base_url=url, headers={"x-write-key": "wk"}, timeout=PATIENCE_SECONDS) as client:
            for name in sorted(sent):
                assert client.post("/v1/batch", json=batch(name)).status_code == 200
        found, counts = landed(home, sent)
        assert found == dict.fromkeys(sent, MESSAGES), "clients that send again lose nothing and double nothing"
        assert counts["events"] == len(sent) * MESSAGES


def test_a_database_that_is_killed_comes_back_and_nothing_is_lost_or_doubled(home: Path) -> None:
    """The service lives on: clients are told to wait, and what they send again lands once."""
    names = [f"batch-{number}" for number in range(16)]
    with (
        service(home) as (_, url),
        httpx.Client(base_url=url, headers={"x-write-key": "wk"}, timeout=PATIENCE_SECONDS) as client,
    ):

        def post(name: str) -> int:
            answer = client.post("/v1/batch", json=batch(name))
            if answer.status_code != 200:
                assert answer.status_code == 503
                assert answer.json()["code"] == "database_unavailable"
                assert int(answer.headers["retry-after"]) >= 1
            return answer.status_code

        assert {post(name) for name in names[:5]} == {200}
        with outage(home):
            until(lambda: post(names[5]) == 503)
            assert {post(name) for name in names[5:]} == {503}

        def is_accepted(name: str) -> bool:
            return post(name) == 200

        for name in names[5:]:
            until(partial(is_accepted, name))
        found, counts = landed(home, set(names))
        assert found == dict.fromkeys(names, MESSAGES)
        assert counts["events"] == len(names) * MESSAGES
