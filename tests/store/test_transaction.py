"""What happens after a commit happens after a commit, and never without one."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from cdp.kit.db import Database, Transaction
from cdp.kit.db_faults import has_waited, is_conflict
from cdp.kit.errors import Fault
from tests.support.faults.disk import limit_files
from tests.support.waits import until

pytestmark = pytest.mark.postgres


def test_it_is_called_once_the_transaction_is_on_disk(database: Database) -> None:
    seen: list[int] = []

    def look() -> None:
        with database.transaction(read_only=True) as other:
            seen.append(int(other.scalar(text("SELECT count(*) FROM behavior.term WHERE term = 'after'"))))

    with database.transaction() as tx:
        tx.execute("INSERT INTO behavior.term (vocabulary, term) VALUES ('test', 'after')")
        tx.on_commit(look)
        assert seen == []
    assert seen == [1]


def test_it_is_not_called_after_a_rollback(database: Database) -> None:
    called: list[bool] = []
    with pytest.raises(ZeroDivisionError), database.transaction() as tx:
        _fail_after(tx, lambda: called.append(True))
    assert called == []


def test_lists_that_follow_each_other_may_be_of_other_kinds(database: Database) -> None:
    with database.transaction() as tx:
        assert tx.execute("SELECT %(given)s::bigint[]", {"given": [1, 2]}) == [([1, 2],)]
        assert tx.execute("SELECT %(given)s::text[]", {"given": ["a", None]}) == [(["a", None],)]
        assert tx.execute("SELECT %(given)s::bigint[]", {"given": [None]}) == [([None],)]


def _fail_after(tx: Transaction, call: Callable[[], None]) -> None:
    tx.on_commit(call)
    raise ZeroDivisionError


def test_one_instant_is_seen_throughout_and_may_be_written_in(database: Database) -> None:
    count = text("SELECT count(*) FROM behavior.term WHERE vocabulary = 'test'")
    add = "INSERT INTO behavior.term (vocabulary, term) VALUES ('test', %(term)s)"
    with database.transaction(one_instant=True) as tx:
        assert tx.scalar(count) == 0
        with database.transaction() as other:
            other.execute(add, {"term": "theirs"})
        assert tx.scalar(count) == 0
        tx.execute(add, {"term": "ours"})
    with database.transaction() as tx:
        assert tx.scalar(count) == 2


def test_a_lock_that_stays_taken_is_told_and_was_waited_for(database: Database) -> None:
    impatient = Database(database.url, lock_seconds=0.1)
    with database.transaction() as tx:
        tx.execute("SELECT pg_advisory_xact_lock(7)")
        with pytest.raises(Fault, match="database_busy") as raised, impatient.transaction() as other:
            other.execute("SELECT pg_advisory_xact_lock(7)")
    impatient.close()
    assert (raised.value.status, raised.value.retry_after_seconds) == (503, 2)
    assert is_conflict(raised.value)
    assert has_waited(raised.value)


def test_a_lost_race_is_told_and_worth_another_try(database: Database) -> None:
    touch = "UPDATE behavior.term SET term = term || 'x' WHERE vocabulary = 'test'"
    with database.transaction() as tx:
        tx.execute("INSERT INTO behavior.term (vocabulary, term) VALUES ('test', 'a')")

    def lose() -> None:
        with database.transaction(one_instant=True) as tx:
            tx.execute("SELECT count(*) FROM behavior.term")
            with database.transaction() as other:
                other.execute(touch)
            tx.execute(touch)

    with pytest.raises(Fault, match="database_busy") as raised:
        lose()
    assert is_conflict(raised.value)
    assert not has_waited(raised.value)


def test_a_session_that_the_server_ended_is_told(database: Database) -> None:
    def sleep() -> None:
        with database.transaction() as tx:
            pid = tx.execute("SELECT pg_backend_pid()")[0][0]
            tx.execute("SET LOCAL idle_in_transaction_session_timeout = '1ms'")
            until(lambda: not _lives(database, pid))
            tx.execute("SELECT 1")

    with pytest.raises(Fault, match="database_unavailable") as raised:
        sleep()
    assert raised.value.status == 503


def test_files_that_may_not_grow_are_told_as_a_full_disk_is(database: Database) -> None:
    """PostgreSQL has a code for a disk without space and none for a limit on the size of files, which ends a statement as well."""

    def sort() -> None:
        with database.transaction(read_only=True) as tx:
            pid = tx.execute("SELECT pg_backend_pid()")[0][0]
            tx.execute("SET LOCAL work_mem = '64kB'")
            limit_files([pid], 1_000_000)
            try:
                tx.execute(
                    "SELECT count(*) FROM (SELECT n FROM generate_series(1, 1000000) AS n ORDER BY n OFFSET 1) AS sorted"
                )
            finally:
                limit_files([pid], None)

    with pytest.raises(Fault, match="database_unavailable") as raised:
        sort()
    assert (raised.value.status, raised.value.retry_after_seconds) == (503, 2)


def _lives(database: Database, pid: int) -> bool:
    with database.transaction(read_only=True) as tx:
        return bool(tx.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %(pid)s", {"pid": pid})[0][0])


def test_what_happens_to_a_connection_outside_a_transaction_is_told_as_inside(database: Database) -> None:
    with database.outside() as raw:
        assert raw.autocommit
        raw.execute("VACUUM behavior.term")  # which PostgreSQL refuses in a transaction
    with database.transaction() as tx, pytest.raises(Fault) as told, database.outside() as raw:  # noqa: PT012 - it ends within
        tx.execute("SELECT pg_terminate_backend(%(pid)s, 60000)", {"pid": raw.info.backend_pid})
        raw.execute("SELECT 1")
    assert (told.value.code, told.value.status) == ("database_unavailable", 503)
    with database.transaction() as tx:
        assert tx.scalar(text("SELECT 1")) == 1
