"""`/readyz` tells what is broken, each thing broken for real: names and states for everybody, sentences for operators alone."""

import asyncio
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from cdp.flows.operations.pools import Pools, open_pools
from cdp.kit.config import PoolSizes
from cdp.kit.db import Database
from cdp.rights.replay_file import Lifted, ReplayFile
from cdp.web.app import Surroundings
from cdp.worker.runner import Worker
from cdp.worker.task import Task
from tests.support.databases import plain_url
from tests.support.messages import batch, order
from tests.support.policies import shipped
from tests.support.service import RunningService, serve_application
from tests.support.waits import PATIENCE_SECONDS, until

SMALL = PoolSizes(api=2, ingest=2, worker=2, health=2)
OK = dict.fromkeys(("database", "migrations", "replay", "keys", "disk", "audit_copy", "worker", "connections"), "ok")


@pytest.fixture
def pools(database: Database) -> Iterator[Pools]:
    with open_pools(database, SMALL) as pools:
        yield pools


@pytest.fixture
def service(database: Database, pools: Pools, tmp_path: Path) -> Iterator[RunningService]:
    """A service whose home is `tmp_path`, with a log that is signed."""
    with serve_application(database, tmp_path, shipped(), surroundings=Surroundings(pools=pools)) as service:
        service.sign()
        yield service


def asked(service: RunningService) -> tuple[int, dict[str, Any]]:
    """The status of `/readyz`, and what it says, never from before this call."""
    answer = service.call(None, "GET", "/readyz")
    assert ("retry-after" in answer.headers) == (answer.status_code == 503)
    assert str(service.context.home) not in answer.text
    return answer.status_code, answer.json()


def becomes(service: RunningService, status: int, **states: str) -> None:
    """Wait until exactly these checks are not ok; fails if the status is another one then."""
    until(lambda: asked(service)[1]["checks"] == {**OK, **states}, str(states))
    found, shown = asked(service)
    assert found == status
    assert shown["status"] == ("not_ready" if status == 503 else "degraded" if states else "ready")


def run_sql(url: str, *statements: str) -> None:
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def health_sessions(url: str) -> list[int]:
    with psycopg.connect(plain_url(url)) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'cdp-health' AND datname = current_database()"
        )
        return [pid for (pid,) in rows]


def test_a_sound_service_is_ready(service: RunningService) -> None:
    status, shown = asked(service)
    assert (status, shown) == (
        200,
        {"status": "ready", "checks": OK, "policy": service.context.policy.fingerprint, "pending_policy": None},
    )


def test_a_check_writes_to_the_disk_of_the_server(service: RunningService, database: Database) -> None:
    def flushed() -> str:
        with database.transaction(read_only=True) as tx:
            return str(tx.execute("SELECT pg_current_wal_flush_lsn()::text")[0][0])

    becomes(service, 200)
    before = flushed()
    until(lambda: asked(service)[0] == 200 and flushed() > before)


def test_a_database_that_accepts_no_changes_is_not_ready(service: RunningService, database_url: str) -> None:
    name = database_url.partition("?")[0].rpartition("/")[2]
    becomes(service, 200)
    run_sql(
        database_url,
        f'ALTER DATABASE "{name}" SET default_transaction_read_only = on',
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cdp-health' "
        "AND datname = current_database()",
    )
    becomes(service, 503, database="failing", migrations="unknown", replay="unknown", keys="unknown")


def test_a_database_that_hangs_is_reported_in_time_and_recovers(service: RunningService, database_url: str) -> None:
    becomes(service, 200)
    sessions = health_sessions(database_url)
    for pid in sessions:
        os.kill(pid, signal.SIGSTOP)
    try:
        becomes(service, 503, database="failing", migrations="unknown", replay="unknown", keys="unknown")
        assert service.client.get("/readyz", timeout=5).status_code == 503
        assert service.client.get("/healthz", timeout=5).status_code == 200
        assert sum(thread.name == "cdp-readiness" for thread in threading.enumerate()) <= 2
    finally:
        for pid in sessions:
            os.kill(pid, signal.SIGCONT)
    becomes(service, 200)


@pytest.mark.parametrize("revision", ["0001", "9999"])
def test_a_schema_of_another_version_is_not_ready(service: RunningService, database_url: str, revision: str) -> None:
    run_sql(database_url, f"UPDATE public.schema_version SET version_num = '{revision}'")
    becomes(service, 503, migrations="failing", replay="unknown", keys="unknown")


def test_a_restored_database_is_not_ready(service: RunningService) -> None:
    file = ReplayFile(service.context.state)
    file.write([Lifted((b"x" * 32,), service.context.clock.now())], file.last_number() + 1, service.context.clock.now())
    becomes(service, 503, replay="failing")


def test_a_replay_file_that_cannot_be_written_is_not_ready(service: RunningService, tmp_path: Path) -> None:
    path = tmp_path / "replay.jsonl"
    content = path.read_bytes()
    path.unlink()
    becomes(service, 503, replay="failing")
    path.mkdir()
    becomes(service, 503, replay="failing")
    path.rmdir()
    path.write_bytes(content)
    becomes(service, 200)


def test_a_state_folder_that_is_gone_is_not_ready(service: RunningService, tmp_path: Path) -> None:
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    becomes(service, 503, replay="failing", disk="failing", audit_copy="degraded", keys="degraded")
    tmp_path.with_name("elsewhere").rename(tmp_path)
    becomes(service, 200)


def test_a_copy_of_the_log_that_is_gone_or_unwritable_degrades(service: RunningService, tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    shutil.rmtree(folder)
    becomes(service, 200, audit_copy="degraded")
    folder.write_text("not a folder")
    becomes(service, 200, audit_copy="degraded")
    folder.unlink()
    service.sign()
    becomes(service, 200)


def test_keys_that_are_gone_degrade_while_this_process_has_them(service: RunningService, tmp_path: Path) -> None:
    for path in (tmp_path / "keys" / "master.key", sorted((tmp_path / "keys").glob("*.wrapped"))[0]):
        content = path.read_bytes()
        path.unlink()
        becomes(service, 200, keys="degraded")
        path.write_bytes(content[::-1])
        becomes(service, 200, keys="degraded")
        path.write_bytes(content)
        becomes(service, 200)
    service.send(order(userId="ada"))


def test_a_task_that_fails_degrades_and_a_vital_one_that_ended_is_not_ready(
    database: Database, pools: Pools, tmp_path: Path
) -> None:
    broken = threading.Event()

    def fail() -> None:
        if broken.is_set():
            raise OSError

    worker = Worker([Task("scrub", 0.01, fail), Task("policy", 0.01, lambda: None, is_vital=True)])
    worker.start()
    surroundings = Surroundings(tasks=worker.status, pools=pools)
    try:
        with serve_application(database, tmp_path, shipped(), surroundings=surroundings) as service:
            service.sign()
            becomes(service, 200)
            broken.set()
            becomes(service, 200, worker="degraded")
            broken.clear()
            becomes(service, 200)
            worker.stop()
            becomes(service, 503, worker="failing")
    finally:
        worker.stop()


@contextmanager
def taken(pool: Database) -> Iterator[None]:
    """All connections of a pool, until the block ends."""
    with ExitStack() as stack:
        for _ in range(pool.pool_size):
            stack.enter_context(pool.transaction())
        yield


@pytest.mark.parametrize("kind", ["api", "ingest"])
def test_a_full_pool_is_503_with_retry_after_for_its_callers_alone(
    service: RunningService, pools: Pools, kind: str
) -> None:
    def calls() -> dict[str, httpx.Response]:
        message = batch(order(userId="ada"))
        return {
            "api": service.call("privacy", "GET", "/api/v1/subject-requests"),
            "ingest": service.client.post("/v1/batch", auth=(service.write_key, ""), json=message),
            "health": service.call(None, "GET", "/readyz"),
        }

    with taken(getattr(pools, kind)):
        answers = calls()
    refused = answers.pop(kind)
    assert (refused.status_code, refused.json()["code"]) == (503, "database_busy")
    assert int(refused.headers["retry-after"]) > 0
    assert "Retry-After" in refused.json()["detail"]
    assert "CDP_" not in refused.text
    assert {answer.status_code for answer in answers.values()} == {200}
    assert {answer.status_code for answer in calls().values()} == {200}


def test_a_full_pool_of_the_checks_is_not_ready(service: RunningService, pools: Pools) -> None:
    with taken(pools.health):
        becomes(service, 503, database="failing", migrations="unknown", replay="unknown", keys="unknown")
        assert service.call("admin", "GET", "/metrics").headers["retry-after"]
        service.send(order(userId="ada"))
    becomes(service, 200)


def test_readers_that_wait_degrade(service: RunningService, pools: Pools) -> None:
    waiting = threading.Thread(target=lambda: service.call("privacy", "GET", "/api/v1/subject-requests"))
    with taken(pools.api):
        waiting.start()
        becomes(service, 200, connections="degraded")
        metrics = service.call("admin", "GET", "/metrics")
        assert 'cdp_pool_callers{pool="api"} 3.0' in metrics.text
        assert 'cdp_check_state{check="connections",state="degraded"} 1.0' in metrics.text
    waiting.join(PATIENCE_SECONDS)
    becomes(service, 200)


def test_no_more_than_a_few_wait_for_a_connection(service: RunningService, pools: Pools) -> None:
    """Others are told at once: whoever waits holds a thread."""

    async def crowd() -> list[httpx.Response]:
        headers = {"Authorization": f"Bearer {service.tokens['privacy']}"}
        async with httpx.AsyncClient(base_url=service.url, timeout=PATIENCE_SECONDS, limits=httpx.Limits()) as client:
            return await asyncio.gather(*(client.get("/api/v1/subject-requests", headers=headers) for _ in range(40)))

    with taken(pools.api):
        answers = asyncio.run(crowd())
    assert {answer.status_code for answer in answers} == {503}
    assert sorted(answer.elapsed.total_seconds() for answer in answers)[20] < 4


def test_many_callers_share_one_round_of_checks(service: RunningService, pools: Pools) -> None:
    async def crowd() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=service.url, timeout=PATIENCE_SECONDS, limits=httpx.Limits()) as client:
            return await asyncio.gather(*(client.get("/readyz") for _ in range(100)))

    becomes(service, 200)
    before = pools.health.statements
    until(lambda: (asked(service), pools.health.statements > before)[1])
    for_one_round = pools.health.statements - before
    assert {answer.status_code for answer in asyncio.run(crowd())} == {200}
    rounds = (pools.health.statements - before) / for_one_round
    assert rounds <= 12


def test_a_process_without_threads_says_so_and_asks_to_come_again(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        answer = service.call("privacy", "GET", "/api/v1/subject-requests")
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        becomes(
            service,
            503,
            database="failing",
            migrations="unknown",
            replay="unknown",
            keys="unknown",
            disk="failing",
            audit_copy="unknown",
        )
    becomes(service, 200)
