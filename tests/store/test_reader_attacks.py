"""A reader's database login used by somebody who means harm: each way is refused, or ends within its bound.

`tests/support/reader_attacks.py` has the statements that are refused, which `tests/store/test_reader_roles.py` runs as each reader; here
are the limits that a login must not lift, and what it must not keep or hold up.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
import pytest
from psycopg import errors

from cdp.accounting.model import State
from cdp.consent.store.reader_sessions import SessionLimits
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.consent.logins import check_logins
from cdp.flows.consent.reader_sessions import LIMITS
from cdp.flows.consent.readers import ReaderWatch
from cdp.flows.consent.recompute import end_grants
from cdp.flows.rights.scrub import scrub
from cdp.identity.store.generation import ended_verdicts
from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from tests.support.databases import plain_url
from tests.support.marketer import Login, marketer_login, people_for_readers
from tests.support.messages import consent_context
from tests.support.people import ADA
from tests.support.requests import RequestPipeline
from tests.support.waits import until

pytestmark = pytest.mark.postgres

PROJECTION: Final = "consent.permitted_analytics"


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return people_for_readers(database, tmp_path)


@pytest.fixture
def url(rights: RequestPipeline, server: EmbeddedPostgres) -> Iterator[str]:
    name = rights.context.database.engine.url.database
    assert name is not None
    with marketer_login(server, name) as url:
        yield url


@pytest.fixture
def marketer(url: str) -> Iterator[Login]:
    connection = psycopg.connect(url, autocommit=True)
    try:
        yield connection
    finally:
        connection.close()


def test_it_still_works_as_a_bi_tool(marketer: Login) -> None:
    """What clients ask the catalogue for, and the columns of the projections."""
    assert marketer.execute("SELECT count(reader_pseudonym) FROM consent.permitted_analytics").fetchall() == [(2,)]
    assert marketer.execute("EXPLAIN SELECT traits FROM consent.permitted_analytics").fetchall()
    columns = marketer.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'permitted_analytics'"
    ).fetchall()
    assert len(columns) == 4
    tables = marketer.execute(
        "SELECT n.nspname, c.relname, c.relkind FROM pg_catalog.pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'p') AND has_any_column_privilege(c.oid, 'SELECT') AND n.nspname = 'consent'"
    ).fetchall()
    assert len(tables) == 4
    assert marketer.execute("SELECT version(), current_setting('server_version'), now()").fetchone()


def test_it_connects_to_no_other_database(url: str) -> None:
    for name in ("postgres", "template1", "template0"):
        with pytest.raises(psycopg.OperationalError, match=r"permission denied|not currently"):
            psycopg.connect(url, dbname=name)


def test_temporary_files_are_limited_whatever_it_sets(
    rights: RequestPipeline, marketer: Login, url: str, server: EmbeddedPostgres
) -> None:
    assert marketer.execute("SHOW temp_file_limit").fetchone() == ("1GB",)
    with rights.context.database.transaction() as tx:
        assert tx.execute("SHOW temp_file_limit") == [("-1",)], "what the service needs is not limited"
    with psycopg.connect(plain_url(server.admin_url), autocommit=True) as admin:  # the disk is shared with other tests
        admin.execute("ALTER ROLE marla SET temp_file_limit = '1MB'")
    with psycopg.connect(url, autocommit=True) as login:
        login.execute("SET work_mem = '64kB'")
        with pytest.raises(errors.ConfigurationLimitExceeded):
            login.execute(
                "SELECT count(*) FROM (SELECT repeat('x', 900) || g FROM generate_series(1, 9000) AS g ORDER BY 1) t"
            )


def test_it_writes_nothing_into_the_log_of_the_server(marketer: Login, server: EmbeddedPostgres) -> None:
    for setting in ("debug_print_parse", "debug_print_rewritten", "debug_print_plan", "trace_sort"):
        marketer.execute(f"SET {setting} = on")
    marketer.execute("SELECT 'kept-in-the-log' || min(reader_pseudonym) FROM consent.permitted_analytics")
    place = server._place
    assert place is not None
    written = place.log.read_bytes()
    assert b"kept-in-the-log" not in written
    assert str([*b"kept-in-the-log"])[1:-1].replace(",", "").encode() not in written


def test_an_error_that_ends_its_session_is_not_written_into_the_log_of_the_server(
    marketer: Login, server: EmbeddedPostgres
) -> None:
    """A login can have each of its errors end the session, and the text of an error can quote what it has read."""
    marketer.execute("SET exit_on_error = on")
    with pytest.raises(errors.InvalidTextRepresentation, match="kept-by-an-error"):
        marketer.execute(
            "SELECT ('kept-by-an-error' || min(reader_pseudonym))::integer FROM consent.permitted_analytics"
        )
    assert not is_open(marketer)
    place = server._place
    assert place is not None
    assert b"kept-by-an-error" not in place.log.read_bytes()


# --- what ends -------------------------------------------------------------------------------------------------------


def is_open(login: Login) -> bool:
    """Whether the session still answers."""
    try:
        login.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def watch(rights: RequestPipeline) -> ReaderWatch:
    """The watch of a service that runs for a while already."""
    started = ReaderWatch()
    with rights.context.database.transaction() as tx:
        started.ended = ended_verdicts(tx)
    return started


KEEPERS: dict[str, tuple[LiteralString, ...]] = {
    "a cursor that outlives its transaction": (
        "BEGIN",
        "DECLARE kept CURSOR WITH HOLD FOR SELECT reader_pseudonym FROM consent.permitted_analytics",
        "COMMIT",
    ),
    "a cursor in a transaction": (
        "BEGIN",
        "DECLARE kept CURSOR FOR SELECT reader_pseudonym FROM consent.permitted_analytics",
        "FETCH 1 FROM kept",
    ),
    "a transaction that sees one snapshot": (
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "SELECT reader_pseudonym FROM consent.permitted_analytics",
    ),
    "a serializable transaction": (
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        "SELECT reader_pseudonym FROM consent.permitted_analytics",
    ),
    "a setting": (
        "SELECT set_config('my.kept', (SELECT string_agg(reader_pseudonym, ',') FROM consent.permitted_analytics), false)",
    ),
    "a prepared statement": (
        "PREPARE kept AS SELECT reader_pseudonym FROM consent.permitted_analytics",
        "EXECUTE kept",
    ),
    "a transaction that failed": ("BEGIN", "SELECT count(reader_pseudonym) FROM consent.permitted_analytics"),
    "a channel": ("LISTEN kept", "SELECT count(reader_pseudonym) FROM consent.permitted_analytics"),
}


@pytest.mark.parametrize("how", KEEPERS)
def test_a_session_that_keeps_what_a_withdrawal_took_is_ended(
    rights: RequestPipeline, marketer: Login, how: str
) -> None:
    watched = watch(rights)
    for statement in KEEPERS[how]:
        marketer.execute(statement)
    assert watched.run(rights.context) == {}
    record(rights.context, ConsentStatement(("user_id", "ada"), "analytics", "withdraw"))
    assert watched.run(rights.context) == {"verdict_ended": 1}
    assert not is_open(marketer)


def test_without_the_right_to_end_sessions_the_watch_says_so(rights: RequestPipeline, server: EmbeddedPostgres) -> None:
    with psycopg.connect(plain_url(server.url_for("cdp_admin", "postgres")), autocommit=True) as connection:
        connection.execute("REVOKE pg_read_all_stats FROM cdp")
        try:
            assert watch(rights).run(rights.context) is None
        finally:  # the server serves other tests, too
            connection.execute("GRANT pg_read_all_stats TO cdp")


def test_a_session_in_the_middle_of_a_statement_is_ended_as_well(rights: RequestPipeline, url: str) -> None:
    watched, ended = watch(rights), threading.Event()

    def read() -> None:
        with psycopg.connect(url) as login:
            try:
                login.execute("SELECT pg_sleep(300), reader_pseudonym FROM consent.permitted_analytics")
            except psycopg.OperationalError:
                ended.set()

    reading = threading.Thread(target=read)
    reading.start()
    until(lambda: sessions(rights) == 1)
    record(rights.context, ConsentStatement(("user_id", "ada"), "analytics", "withdraw"))
    assert watched.run(rights.context) == {"verdict_ended": 1}
    assert ended.wait(10)
    reading.join()


def sessions(rights: RequestPipeline) -> int:
    with rights.context.database.transaction() as tx:
        ((count,),) = tx.execute(
            "SELECT count(*)::int FROM pg_stat_activity WHERE usename = 'marla' AND state = 'active'"
        )
    return int(count)


def test_an_erasure_ends_what_keeps_the_person(rights: RequestPipeline, marketer: Login) -> None:
    watched = watch(rights)
    for statement in KEEPERS["a cursor that outlives its transaction"]:
        marketer.execute(statement)
    rights.erase(("user_id", "ada"))
    assert watched.run(rights.context) == {"verdict_ended": 1}
    assert not is_open(marketer)


def test_the_end_of_a_grant_ends_what_keeps_the_person(rights: RequestPipeline, marketer: Login) -> None:
    watched = watch(rights)
    for statement in KEEPERS["a cursor that outlives its transaction"]:
        marketer.execute(statement)
    rights.later(days=400 * 5)
    assert end_grants(rights.context, rights.pipeline.clock.now()) > 0
    assert watched.run(rights.context) == {"verdict_ended": 1}


def test_a_session_that_begins_afterwards_goes_on(rights: RequestPipeline, url: str) -> None:
    watched = watch(rights)
    record(rights.context, ConsentStatement(("user_id", "ada"), "analytics", "withdraw"))
    watched.run(rights.context)
    with psycopg.connect(url, autocommit=True) as login:
        for _ in range(3):
            assert watched.run(rights.context) == {}
            assert is_open(login)


def test_messages_that_end_no_permission_end_no_session(rights: RequestPipeline, marketer: Login) -> None:
    watched = watch(rights)
    marketer.execute("SELECT count(reader_pseudonym) FROM consent.permitted_analytics")
    rights.pipeline.send(
        {"type": "identify", "userId": "ada", "anonymousId": "d9", "context": consent_context(analytics=True)}
    )
    rights.pipeline.send({"type": "identify", "userId": "new", "context": consent_context(analytics=True)})
    assert watched.run(rights.context) == {}
    assert is_open(marketer)


LONG: dict[str, tuple[tuple[LiteralString, ...], str]] = {
    "a statement that it lets run": (("SET statement_timeout = 0",), "transaction"),
    "an open transaction": (
        ("SET idle_in_transaction_session_timeout = 0", "SET statement_timeout = 0", "BEGIN", "SELECT 1"),
        "idle_in_transaction",
    ),
    "a failed transaction": (("BEGIN", "SELECT 1 / 0"), "idle_in_transaction"),
    "a session": (("SELECT 1",), "session"),
}


def shortened(**limits: Any) -> SessionLimits:
    return replace(LIMITS, **limits)


@pytest.mark.parametrize("how", LONG)
def test_what_is_beyond_its_limit_is_ended_whatever_it_sets(
    rights: RequestPipeline, marketer: Login, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits are those of the service: what a login sets for itself does not count."""
    statements, reason = LONG[how]
    watched = watch(rights)
    for statement in statements:
        try:
            marketer.execute(statement)
        except errors.DivisionByZero:
            continue
    if how == "a statement that it lets run":
        sleeping = threading.Thread(target=is_sleeping, args=(marketer,))
        sleeping.start()
        until(lambda: sessions(rights) == 1)
    assert watched.run(rights.context) == {}
    name = {"transaction": "transaction_seconds", "idle_in_transaction": "idle_in_transaction_seconds"}
    short = ReaderWatch(shortened(**{name.get(reason, "session_seconds"): 0.0}))
    short.ended = watched.ended
    time.sleep(0.05)
    assert short.run(rights.context) == {reason: 1}
    assert how == "a statement that it lets run" or not is_open(marketer)


def is_sleeping(login: Login) -> None:
    try:
        login.execute("SELECT pg_sleep(300)")
    except psycopg.OperationalError:
        return


def test_more_sessions_than_a_login_may_have_are_ended(rights: RequestPipeline, url: str) -> None:
    """Without a limit of the server for connections: an administrator may have forgotten it."""
    watched = watch(rights)
    with psycopg.connect(plain_url(rights.context.database.url)) as _, ExitStack() as stack:
        logins = [stack.enter_context(psycopg.connect(url, autocommit=True)) for _ in range(3)]
        few = ReaderWatch(shortened(sessions_per_login=2))
        few.ended = watched.ended
        assert few.run(rights.context) == {"sessions": 1}
        assert [is_open(login) for login in logins] == [True, True, False]


def test_a_reader_that_holds_up_a_change_of_the_schema_is_ended(rights: RequestPipeline, marketer: Login) -> None:
    """What waits for its lock holds up whatever comes after it, ingest included."""
    watched = watch(rights)
    marketer.execute("BEGIN")
    marketer.execute("SELECT count(reader_pseudonym) FROM consent.permitted_analytics")
    done = threading.Event()

    def change() -> None:
        with rights.context.database.transaction() as tx:
            tx.execute("ALTER TABLE consent.permitted_analytics ENABLE ROW LEVEL SECURITY")
        done.set()

    changing = threading.Thread(target=change)
    changing.start()
    until(lambda: watched.run(rights.context) == {"lock": 1})
    assert done.wait(10)
    changing.join()
    assert rights.pipeline.send({**ADA, "messageId": "after"})[0].state is State.STORED


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_a_reader_holds_up_no_scrub(rights: RequestPipeline, marketer: Login, isolation: str) -> None:
    """A snapshot keeps deleted rows in a rewritten table, a lock keeps the table from being rewritten."""
    marketer.execute(f"BEGIN ISOLATION LEVEL {isolation}")
    marketer.execute("SELECT count(reader_pseudonym) FROM consent.permitted_analytics")
    done = scrub(rights.context.database, rights.pipeline.clock.now())
    assert [left for left in done.not_scrubbed if "." in left or left == "older_snapshot"] == []
    assert "consent.permitted" in done.tables


def test_only_readers_are_watched(rights: RequestPipeline, server: EmbeddedPostgres) -> None:
    """Neither the service, nor a superuser, nor a login that reads no projection."""
    name = rights.context.database.engine.url.database
    assert name is not None
    admin = plain_url(server.url_for("cdp_admin", name))
    strict = ReaderWatch(shortened(session_seconds=0.0, transaction_seconds=0.0, idle_in_transaction_seconds=0.0))
    with psycopg.connect(admin, autocommit=True) as one, psycopg.connect(plain_url(rights.context.database.url)) as two:
        for connection in (one, two):
            connection.execute("BEGIN")
        record(rights.context, ConsentStatement(("user_id", "ada"), "analytics", "withdraw"))
        assert strict.run(rights.context) == {}
        two.execute("SELECT 1")
        one.execute("ROLLBACK")


def test_another_reader_role_is_watched_like_the_first(
    rights: RequestPipeline, url: str, server: EmbeddedPostgres
) -> None:
    """The watch goes by what a login may read, not by the name of a role."""
    name = rights.context.database.engine.url.database
    assert name is not None
    admin = plain_url(server.url_for("cdp_admin", name))
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("REVOKE cdp_marketer FROM marla")
        connection.execute("DROP ROLE IF EXISTS other_reader")
        connection.execute("CREATE ROLE other_reader NOLOGIN")
        connection.execute("GRANT USAGE ON SCHEMA consent TO other_reader")
        connection.execute("GRANT SELECT (reader_pseudonym) ON consent.permitted_analytics TO other_reader")
        connection.execute("GRANT other_reader TO marla WITH INHERIT FALSE")
        try:
            watched = watch(rights)
            with psycopg.connect(url, autocommit=True) as login:
                login.execute("SET ROLE other_reader")
                login.execute("SELECT reader_pseudonym FROM consent.permitted_analytics")
                record(rights.context, ConsentStatement(("user_id", "ada"), "analytics", "withdraw"))
                assert watched.run(rights.context) == {"verdict_ended": 1}
                assert not is_open(login)
        finally:
            connection.execute("DROP OWNED BY other_reader")
            connection.execute("DROP ROLE other_reader")


def test_what_a_server_leaves_to_logins_is_listed(rights: RequestPipeline, server: EmbeddedPostgres) -> None:
    """The databases of tests have the rights of the embedded server, but those of a database are each database's own."""
    name = rights.context.database.engine.url.database
    assert name is not None
    admin = plain_url(server.url_for("cdp_admin", name))
    with psycopg.connect(admin, autocommit=True) as connection:
        run_all(connection, check_logins(rights.context).statements)
        assert check_logins(rights.context).gaps == ()
        for statement in (
            "GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC",
            "GRANT SELECT ON pg_stat_all_tables TO PUBLIC",
            "GRANT SELECT ON pg_class TO PUBLIC",
            "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC",
            f"GRANT TEMPORARY ON DATABASE {name} TO PUBLIC",
            "GRANT CONNECT ON DATABASE postgres TO PUBLIC",
        ):
            connection.execute(statement)
        try:
            assert [gap.name for gap in check_logins(rights.context).gaps] == [
                "catalog_functions",
                "catalog_views",
                "code_blocks",
                "other_databases",
                "row_counts",
                "temporary_tables",
            ]
        finally:
            run_all(connection, check_logins(rights.context).statements)
        assert check_logins(rights.context).gaps == ()
        connection.execute(f"ALTER DATABASE {name} SET log_min_messages = 'fatal'")
        rights.context.database.engine.dispose()
        assert [gap.name for gap in check_logins(rights.context).gaps] == ["server_log"]


def run_all(connection: Login, statements: Sequence[str]) -> None:
    for statement in statements:
        connection.execute(statement)
