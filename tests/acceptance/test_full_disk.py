"""A disk that is full under the database: ingest answers 503 and keeps every message that it acknowledged."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import psycopg
import pytest

from cdp.postgres.place import find_place
from tests.support.databases import plain_url
from tests.support.faults.checker import check
from tests.support.faults.clients import Client, Secrets
from tests.support.faults.deployment import Deployment, deployed
from tests.support.faults.disk import BELOW_A_WAL_SEGMENT, descendants, limit_files
from tests.support.faults.generator import Planned
from tests.support.faults.history import History, Kind, Outcome
from tests.support.faults.store_state import StateReader
from tests.support.waits import until

pytestmark = pytest.mark.slow


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with deployed() as deployment:
        yield deployment


def server_log(deployment: Deployment) -> str:
    place = find_place(deployment.database_disk.folder / "home")
    assert place is not None
    return Path(place.log).read_text()


def fill(deployment: Deployment) -> None:
    """Leave no free block; where no file system may be mounted, let PostgreSQL create no file as large as it needs."""
    if deployment.database_disk.is_mounted:
        deployment.database_disk.fill()
    else:
        limit_files(descendants(deployment.postmaster()), BELOW_A_WAL_SEGMENT)


def free(deployment: Deployment) -> None:
    if deployment.database_disk.is_mounted:
        deployment.database_disk.free()


def switch_wal_until_it_panics(deployment: Deployment) -> None:
    """Make the server need new segments of its write-ahead log, as much writing does."""
    url = plain_url(deployment.server.url)

    def has_panicked() -> bool:
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CREATE TEMPORARY TABLE IF NOT EXISTS t (n int)")
                connection.execute("SELECT pg_switch_wal()")
        except psycopg.Error:
            pass
        return "PANIC" in server_log(deployment)

    until(has_panicked, "the panic of the server")


def test_a_full_disk_under_the_database_is_503_and_nothing_acknowledged_is_lost(deployment: Deployment) -> None:
    history = History(0)
    client = Client(
        history,
        list(deployment.nodes.values()),
        Secrets(deployment.keys, deployment.tokens),
        1,
        Event(),
        Event(),
    )
    numbers = iter(range(10**9))

    def send() -> Outcome:
        names = tuple(f"m{next(numbers)}" for _ in range(20))
        client.do(Planned(Kind.SEND, f"person-{len(history.acts) % 50}", "shop", names))
        return history.acts[-1].outcome

    def refusals() -> set[int]:
        return {act.status for act in history.acts if act.outcome is not Outcome.ACKNOWLEDGED}

    assert {send() for _ in range(20)} == {Outcome.ACKNOWLEDGED}
    fill(deployment)
    if deployment.database_disk.is_mounted:  # the tables need space before the write-ahead log does
        until(lambda: send() is not Outcome.ACKNOWLEDGED, "an answer that the disk is full")
    switch_wal_until_it_panics(deployment)
    until(lambda: send() is not Outcome.ACKNOWLEDGED, "an answer without the server")
    assert refusals() == {503}
    assert any(reason in server_log(deployment) for reason in ("No space left on device", "File too large"))
    until(lambda: all(not node.is_ready() for node in deployment.nodes.values()), "services that are not ready")

    free(deployment)
    until(lambda: send() is Outcome.ACKNOWLEDGED, "messages stored on the freed disk")
    deployment.await_ready()
    assert refusals() == {503}
    state = StateReader(deployment, history).read([client], rounds=[1], checks_log=True)
    assert check(history.acts, state) == []
