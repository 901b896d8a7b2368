"""Forty readers that wait for a lock stop nobody else: ingest, the worker and the checks of readiness go on."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import psycopg
import pytest

from tests.support.commands import Service, Shell
from tests.support.databases import plain_url
from tests.support.messages import batch, order
from tests.support.waits import PATIENCE_SECONDS, until

READERS: Final = 40
REQUESTS: Final = "/api/v1/subject-requests"
PROMPT_SECONDS: Final = 8.0


@pytest.fixture
def shell(home: Path, database_url: str) -> Shell:
    return Shell(home, {"CDP_DATABASE_URL": plain_url(database_url)})


@contextmanager
def locked(url: str, table: str) -> Iterator[None]:
    """The table as a migration by hand would lock it, until the block ends."""
    with psycopg.connect(url) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


class Readers:
    """Forty readers of subject requests at the same time, and their answers so far."""

    def __init__(self, service: Service, token: str) -> None:
        self.answers: list[httpx.Response] = []
        self._threads = [threading.Thread(target=self._read, args=(service, token)) for _ in range(READERS)]
        for thread in self._threads:
            thread.start()

    def join(self) -> list[httpx.Response]:
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        return self.answers

    def _read(self, service: Service, token: str) -> None:
        self.answers.append(service.request("GET", REQUESTS, headers={"Authorization": f"Bearer {token}"}))


def test_forty_waiting_readers_stop_nobody_else(shell: Shell) -> None:
    url = shell.settings["CDP_DATABASE_URL"]
    key = shell.json("source", "create", "shop", "--kind", "server")["write_key"]
    privacy = shell.json("token", "create", "ada", "--role", "privacy")["token"]

    def waiting() -> int:
        with psycopg.connect(url) as connection:
            ((count,),) = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        return int(count)

    with shell.serving() as service, httpx.Client(base_url=service.url, timeout=PROMPT_SECONDS) as client:
        assert client.get("/readyz").status_code == 200
        with locked(url, "rights.request"):
            readers = Readers(service, privacy)
            until(lambda: waiting() >= 8)
            sent = client.post("/v1/batch", auth=(key, ""), json=batch(order(userId="ada")))
            assert (sent.status_code, sent.json()) == (200, {"success": True})
            assert client.get("/healthz").status_code == 200
            assert client.get("/readyz").status_code == 200
            shell.json("source", "create", "other", "--kind", "server")
            with psycopg.connect(url) as connection:  # the worker signs what the command added
                until(
                    lambda: (
                        connection.execute("SELECT count(*) FROM audit.entry WHERE leaf_index IS NULL").fetchone()
                        == (0,)
                    )
                )
            # Whoever finds no connection is told so soon, and when to come back.
            until(lambda: len(readers.answers) > 0)
            for answer in readers.answers:
                assert (answer.status_code, answer.json()["code"]) == (503, "database_busy")
                assert int(answer.headers["retry-after"]) > 0
        assert [answer.status_code for answer in readers.join()].count(200) >= 8
        assert len(readers.answers) == READERS
