"""A failure of the service at any call of ingest: everything of a batch is stored, or none of it is acknowledged."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from cdp.accounting.model import Outcome, State
from cdp.behavior.store.partitions import clear_partition_cache
from cdp.flows.consent.lookup import look_up
from cdp.flows.rights.replay import is_behind
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.web.ingest.batch_retry import process_with_retry
from cdp.wire.message import Message
from tests.support.fault_injection import FAILURES, Injection, injected
from tests.support.messages import consent_context, identify, track
from tests.support.people import NOON
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import permit_all

pytestmark = pytest.mark.postgres

TAKEN = {State.STORED, State.DUPLICATE, State.NOT_PERMITTED}


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    pipeline.register()
    pipeline.send(track(userId="known"))
    return pipeline


def batch_of(pipeline: Pipeline, name: str) -> list[Message]:
    """A new person, one who is known, and a withdrawal."""
    return [
        pipeline.message({**track(userId=f"{name}-new"), "messageId": f"{name}-1"}),
        pipeline.message({**track(userId="known"), "messageId": f"{name}-2"}),
        pipeline.message(
            {**identify(userId=f"{name}-no"), "messageId": f"{name}-3", "context": consent_context(analytics=False)}
        ),
    ]


def send(pipeline: Pipeline, messages: list[Message]) -> bool:
    """Whether a batch is acknowledged; if not, the client is told when to send it again."""
    results = process_with_retry(pipeline.ingest, messages)
    faults = [result for result in results if isinstance(result, Fault)]
    assert all(fault.status == 503 and fault.retry_after_seconds for fault in faults)
    assert len(faults) in (0, len(results)), "a part of the batch is acknowledged"
    assert {result.state for result in results if isinstance(result, Outcome)} <= TAKEN
    return not faults


def require_stored_once(pipeline: Pipeline, name: str) -> None:
    found = look_up(pipeline.context, ("user_id", f"{name}-no"), NOON, actor="operator")
    assert not found.verdicts["analytics"].allowed
    assert [record["act"] for record in found.records] == ["refuse"], name
    assert pipeline.one("SELECT count(*) FROM accounting.accounting WHERE state = 'invalid'") == 0


def events(pipeline: Pipeline) -> int:
    counted: int = pipeline.one("SELECT count(*) FROM behavior.event")
    return counted


def lines(pipeline: Pipeline) -> int:
    return sum(1 for _ in pipeline.context.replay.lines_after(0))


@pytest.mark.parametrize("keeps_failing", [False, True], ids=["once", "until mended"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_at_any_call_loses_nothing_and_books_nothing(
    pipeline: Pipeline, failure: str, *, keeps_failing: bool
) -> None:
    refused, at = 0, 0
    while True:
        name = f"at{(at := at + 1)}"
        messages = batch_of(pipeline, name)
        before, before_lines = events(pipeline), lines(pipeline)
        clear_partition_cache(pipeline.context.database)
        with injected(Injection(at, FAILURES[failure], keeps_failing)) as injection:
            is_taken = send(pipeline, messages)
        if is_taken:
            assert events(pipeline) == before + 2, name
        assert send(pipeline, messages), name
        assert events(pipeline) == before + 2, name
        assert lines(pipeline) > before_lines, name
        assert not is_behind(pipeline.context), name
        require_stored_once(pipeline, name)
        refused += not is_taken
        if injection.calls < at:
            break
    assert {"execute", "commit", "after commit", "fsync", "after fsync", "connect", "write"} <= set(injection.names)
    assert refused or failure == "odd value"  # which is tried again at once, and passes


def tables(pipeline: Pipeline) -> list[str]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        rows: list[Any] = tx.execute(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1"
        )
    return [name for (name,) in rows]


def test_a_lock_held_by_a_schema_change_books_nothing(pipeline: Pipeline, database_url: str, tmp_path: Path) -> None:
    impatient = Database(database_url, lock_seconds=0.03)
    try:
        own = open_pipeline(impatient, permit_all(), tmp_path)
        waiting = []
        for number, table in enumerate(tables(pipeline)):
            messages = batch_of(own, f"t{number}")
            before = events(pipeline)
            with psycopg.connect(database_url.replace("+psycopg", "")) as other:
                other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
                is_taken = send(own, messages)
                other.rollback()
            waiting += [] if is_taken else [table]
            assert send(own, messages), table
            assert events(pipeline) == before + 2, table
            require_stored_once(own, f"t{number}")
    finally:
        impatient.close()
    assert {"behavior.event", "consent.record", "accounting.accounting", "rights.replay"} <= set(waiting)
