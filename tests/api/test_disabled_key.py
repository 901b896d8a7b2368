"""A write key that was disabled or replaced ends in every service, within a bound that commands wait for."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from cdp.flows.operations import sources
from cdp.flows.operations.sources import KEY_SECONDS_MAX
from cdp.flows.operations.startup import PolicyWatcher
from cdp.kit.db import Database
from cdp.web.app import create_app
from tests.support.commands import Shell
from tests.support.messages import order
from tests.support.policies import shipped
from tests.support.service import RunningService, running, serve_application
from tests.support.waits import PATIENCE_SECONDS, until


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Iterator[tuple[RunningService, list[str]]]:
    """Two services of one database, and their URLs."""
    with (
        serve_application(database, tmp_path / "home", shipped()) as first,
        running(create_app(PolicyWatcher(first.context))) as second,
    ):
        yield first, [first.url, second]


class Sender(threading.Thread):
    """Sends to one service without a pause; keeps when each request was begun, and its status."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__()
        self._url, self._key = url, key
        self.answers: list[tuple[float, int]] = []
        self.ends = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self._url, auth=(self._key, ""), timeout=PATIENCE_SECONDS) as client:
            while not self.ends.is_set():
                begun = time.monotonic()
                self.answers.append((begun, client.post("/v1/track", json=order(userId="ada")).status_code))

    def statuses(self, since: float) -> set[int]:
        return {status for begun, status in self.answers if begun >= since}


def by_the_flow(service: RunningService, _home: Path, act: str) -> float:
    end = {"disable": sources.disable_source, "rotate": sources.replace_write_key}[act]
    end(service.context, "server")
    return time.monotonic() + KEY_SECONDS_MAX


def by_command(service: RunningService, home: Path, act: str) -> float:
    url = service.context.database.url.replace("+psycopg", "")
    shell = Shell(home, {"CDP_DATABASE_URL": url})
    shell.run("source", act, "server")
    return time.monotonic()


@pytest.mark.parametrize("act", ["disable", "rotate"])
@pytest.mark.parametrize("end", [by_the_flow, by_command])
def test_no_service_accepts_a_request_with_a_key_that_ended(
    end: Callable[[RunningService, Path, str], float],
    act: str,
    services: tuple[RunningService, list[str]],
    tmp_path: Path,
) -> None:
    service, urls = services
    senders = [Sender(url, service.write_key) for url in urls]
    for sender in senders:
        sender.start()
    try:
        until(lambda: all(sender.answers for sender in senders), "the first answers")
        ended_at = end(service, tmp_path / "home", act)
        until(lambda: all(sender.statuses(ended_at) for sender in senders), "answers after the end")
    finally:
        for sender in senders:
            sender.ends.set()
            sender.join(PATIENCE_SECONDS)
    for sender in senders:
        assert sender.answers[0][1] == 200
        assert sender.statuses(ended_at) <= {401, 429}, "429: too many wrong keys from this address"
