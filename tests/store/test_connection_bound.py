"""Databases that share a bound never have more connections open than it allows, whichever of them needs one."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from cdp.kit.db import Database
from cdp.kit.db_pool import ConnectionBound
from cdp.kit.errors import Fault
from tests.support.waits import until


@pytest.fixture
def bound() -> ConnectionBound:
    return ConnectionBound(2)


@pytest.fixture
def pools(database_url: str, bound: ConnectionBound) -> Iterator[tuple[Database, ...]]:
    with ExitStack() as opened:
        yield tuple(
            opened.enter_context(
                closing(Database(database_url, bound=bound, application_name=f"shared-{number}", wait_seconds=0.2))
            )
            for number in range(3)
        )


def opened(watcher: Database) -> list[tuple[str, int]]:
    with watcher.transaction(read_only=True) as tx:
        return tx.execute(
            "SELECT application_name::text, count(*) FROM pg_stat_activity "
            "WHERE application_name LIKE 'shared-%%' AND datname = current_database() GROUP BY 1 ORDER BY 1",
            {},
        )


def use(database: Database) -> int:
    with database.transaction() as tx:
        ((pid,),) = tx.execute("SELECT pg_backend_pid()")
    return int(pid)


def test_a_connection_is_kept_for_the_next_caller_of_its_pool(pools: tuple[Database, ...]) -> None:
    assert use(pools[0]) == use(pools[0])
    first, second = use(pools[0]), use(pools[1])
    assert [use(pools[0]), use(pools[1]), use(pools[0])] == [first, second, first]


def test_one_that_has_been_idle_longest_makes_room(pools: tuple[Database, ...], database: Database) -> None:
    assert opened(database) == []
    use(pools[0])
    use(pools[1])
    assert opened(database) == [("shared-0", 1), ("shared-1", 1)]
    use(pools[2])
    until(lambda: opened(database) == [("shared-1", 1), ("shared-2", 1)])


def test_all_in_use_is_a_busy_database_for_every_pool(pools: tuple[Database, ...]) -> None:
    with pools[0].transaction(), pools[1].transaction():
        for database in pools:
            assert (database.callers, database.pool_size) == (2, 2)
            with pytest.raises(Fault, match="database_busy"), database.transaction():
                pass
    for database in pools:
        use(database)


def test_a_login_that_is_refused_takes_no_connection_away(database_url: str, bound: ConnectionBound) -> None:
    wrong = database_url.replace("//cdp:", "//nobody:")
    with closing(Database(wrong, bound=bound)) as refused, closing(Database(database_url, bound=bound)) as right:
        for _ in range(5):
            with pytest.raises(Fault), refused.transaction():
                pass
        with right.transaction(), right.transaction():
            pass


def test_an_engine_that_is_disposed_of_leaves_its_connections_to_others(pools: tuple[Database, ...]) -> None:
    use(pools[0])
    with pools[0].transaction() as tx:
        tx.execute("SELECT 1")
        pools[0].engine.dispose()
    assert [use(database) > 0 for database in (pools[1], pools[2], pools[0])] == [True] * 3


def test_many_threads_never_open_more_than_the_bound(
    database_url: str, database: Database, bound: ConnectionBound
) -> None:
    most, faults = [0], list[BaseException]()

    def work(own: Database) -> None:
        try:
            for _ in range(20):
                use(own)
                most[0] = max(most[0], sum(count for _, count in opened(database)))
        except BaseException as error:
            faults.append(error)

    with ExitStack() as stack:
        pools = [
            stack.enter_context(closing(Database(database_url, bound=bound, application_name=f"shared-{number}")))
            for number in range(3)
        ]
        threads = [threading.Thread(target=work, args=(own,)) for own in pools * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert faults == []
    # The server notes the end of a session a moment after it was closed; pools of their own would keep all six.
    assert bound.connections <= most[0] < len(threads)
