"""Sessions of readers' logins are recorded: who, from when to when, and what the login could read; never what a query says."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import errors

from cdp.consent.store import session_records as record_store
from cdp.consent.store.session_records import ReaderAccess, ReaderSession
from cdp.flows.audit.sessions import SessionQuery, list_sessions
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.consent.logins import check_logins
from cdp.flows.consent.readers import ReaderWatch
from cdp.flows.operations.retention import sweep
from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from tests.support.databases import plain_url
from tests.support.marketer import LOGIN, Login, marketer_login, people_for_readers
from tests.support.requests import RequestPipeline
from tests.support.waits import until

pytestmark = pytest.mark.postgres

SESSIONS_PER_HOUR: Final = 3_600
LOGINS_ARE_NOTED: Final = 170_000
"""From this version on, PostgreSQL tells when a login begins."""


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return people_for_readers(database, tmp_path)


@pytest.fixture
def admin_url(rights: RequestPipeline, server: EmbeddedPostgres) -> str:
    name = rights.context.database.engine.url.database
    assert name is not None
    return plain_url(server.url_for("cdp_admin", name))


@pytest.fixture
def admin(admin_url: str) -> Iterator[Login]:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def url(rights: RequestPipeline, server: EmbeddedPostgres) -> Iterator[str]:
    name = rights.context.database.engine.url.database
    assert name is not None
    with marketer_login(server, name) as url:
        yield url


@pytest.fixture
def notes_logins(admin: Login) -> bool:
    """Whether this server tells when a login begins."""
    return admin.info.server_version >= LOGINS_ARE_NOTED


def recorded(rights: RequestPipeline) -> list[ReaderSession]:
    with rights.context.database.transaction(read_only=True) as tx:
        return record_store.sessions(tx, since=None, until=None, limit=100)


def watch(rights: RequestPipeline) -> ReaderWatch:
    """A watch that has seen what ended before."""
    watched = ReaderWatch()
    watched.run(rights.context)
    return watched


def is_gone(admin: Login) -> bool:
    return admin.execute("SELECT FROM pg_stat_activity WHERE usename = %s", [LOGIN]).fetchone() is None


def test_a_session_is_recorded_with_its_bounds_and_what_it_could_read(
    rights: RequestPipeline, url: str, admin: Login
) -> None:
    watched = watch(rights)
    before = datetime.now(UTC)
    with psycopg.connect(url, autocommit=True) as login:
        login.execute("SELECT reader_pseudonym FROM consent.permitted_analytics WHERE traits->>'country' = 'DE'")
        watched.run(rights.context)
        (session,) = recorded(rights)
        assert (session.login, session.gone_at) == (LOGIN, None)
        assert before - timedelta(seconds=1) <= session.started_at <= session.seen_at <= datetime.now(UTC)
        watched.run(rights.context)
        (later,) = recorded(rights)
        assert later.started_at == session.started_at
        assert later.seen_at > session.seen_at
    until(lambda: is_gone(admin))
    watched.run(rights.context)
    (ended,) = recorded(rights)
    assert (ended.started_at, ended.seen_at) == (later.started_at, later.seen_at)
    assert ended.gone_at is not None
    assert ended.seen_at <= ended.gone_at <= datetime.now(UTC)
    assert [(access.role, access.purpose) for access in ended.could_read] == [
        ("marketer", purpose) for purpose in ("advertising", "analytics", "email_marketing", "personalization")
    ]
    watched.run(rights.context)
    assert recorded(rights) == [ended], "an end is found once"
    with rights.context.database.transaction(read_only=True) as tx:
        ((text,),) = tx.execute("SELECT string_agg(s::text, ' ') FROM consent.reader_session AS s")
    assert "country" not in text


def test_a_session_shorter_than_a_look_is_recorded_where_the_server_tells_of_it(
    rights: RequestPipeline, url: str, admin: Login, *, notes_logins: bool
) -> None:
    watched = watch(rights)
    with psycopg.connect(url) as login:
        login.execute("SELECT reader_pseudonym FROM consent.permitted_analytics")
    until(lambda: is_gone(admin))
    watched.run(rights.context)
    found = recorded(rights)
    assert len(found) == int(notes_logins), "before PostgreSQL 17 it is not seen, as the page says"
    for session in found:
        assert session.gone_at is not None
        assert session.started_at <= session.seen_at <= session.gone_at
        assert {access.purpose for access in session.could_read} >= {"analytics"}


def test_a_session_that_goes_on_while_no_service_runs_has_true_bounds(
    rights: RequestPipeline, url: str, admin: Login
) -> None:
    """One service sees it, is gone, and another finds it ended: it ended between the two."""
    watched = watch(rights)
    with psycopg.connect(url, autocommit=True):
        watched.run(rights.context)
        (seen,) = recorded(rights)
        stopped = datetime.now(UTC)
    until(lambda: is_gone(admin))
    started = datetime.now(UTC)
    ReaderWatch().run(rights.context)
    (session,) = recorded(rights)
    assert session.seen_at == seen.seen_at < stopped
    assert session.gone_at is not None
    assert session.gone_at >= started


def test_sessions_while_no_service_runs_are_recorded_where_the_server_tells_of_them(
    rights: RequestPipeline, url: str, admin: Login, *, notes_logins: bool
) -> None:
    for _ in range(3):
        psycopg.connect(url).close()
    until(lambda: is_gone(admin))
    watch(rights)
    found = recorded(rights)
    assert len(found) == 3 * int(notes_logins)
    assert all(session.gone_at is not None for session in found)


@pytest.mark.parametrize("how", ["by the administrator", "by a withdrawal"])
def test_a_session_that_is_killed_has_an_end(rights: RequestPipeline, url: str, admin: Login, how: str) -> None:
    watched = watch(rights)
    login = psycopg.connect(url, autocommit=True)
    watched.run(rights.context)
    if how == "by a withdrawal":
        record(rights.context, ConsentStatement(("user_id", "ada"), "analytics", "withdraw"))
        assert watched.run(rights.context) == {"verdict_ended": 1}
    else:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [LOGIN])
    until(lambda: is_gone(admin))
    watched.run(rights.context)
    (session,) = recorded(rights)
    assert session.gone_at is not None
    login.close()


def test_two_services_record_a_session_once(rights: RequestPipeline, url: str, admin: Login) -> None:
    """Both look at the same time, many times, while sessions come and go."""
    watched = [watch(rights), watch(rights)]
    stop, failed = threading.Event(), list[BaseException]()

    def look(one: ReaderWatch) -> None:
        try:
            while not stop.is_set():
                one.run(rights.context)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=look, args=(one,)) for one in watched]
    for thread in threads:
        thread.start()
    for _ in range(10):
        with psycopg.connect(url) as login:
            login.execute("SELECT 1")
            until(partial(any_of, rights, login.info.backend_pid))
    until(lambda: is_gone(admin))
    until(lambda: all(session.gone_at is not None for session in recorded(rights)))
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(recorded(rights)) == 10


def any_of(rights: RequestPipeline, pid: int) -> bool:
    with rights.context.database.transaction(read_only=True) as tx:
        return bool(tx.execute("SELECT 1 FROM consent.reader_session WHERE pid = %(pid)s", {"pid": pid}))


def test_only_readers_are_recorded(rights: RequestPipeline, admin_url: str) -> None:
    with psycopg.connect(admin_url), psycopg.connect(plain_url(rights.context.database.url)):
        watch(rights).run(rights.context)
    assert recorded(rights) == []


def test_a_role_that_must_be_taken_on_first_is_recorded_as_well(
    rights: RequestPipeline, url: str, admin: Login
) -> None:
    admin.execute(f"REVOKE cdp_marketer FROM {LOGIN}")
    admin.execute(f"GRANT cdp_marketer TO {LOGIN} WITH INHERIT FALSE")
    watched = watch(rights)
    with psycopg.connect(url, autocommit=True) as login:
        login.execute("SET ROLE cdp_marketer")
        watched.run(rights.context)
        (session,) = recorded(rights)
        assert session.login == LOGIN
        assert ReaderAccess("permitted_analytics", "marketer", "analytics") in session.could_read


def test_a_reader_neither_reads_nor_writes_the_record(rights: RequestPipeline, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as login:
        for statement in (
            "SELECT login FROM consent.reader_session",
            "DELETE FROM consent.reader_session",
            "UPDATE consent.reader_session SET gone_at = now()",
            "SELECT consent.note_reader_login()",
            "SELECT consent.note_reader_sessions(NULL)",
            "SELECT consent.tables_of_reader(0)",
            "SELECT cdp_logins.note_login()",
            "DROP EVENT TRIGGER cdp_reader_logins",
            "ALTER EVENT TRIGGER cdp_reader_logins DISABLE",
            "SET event_triggers = off",
        ):
            with pytest.raises((errors.InsufficientPrivilege, errors.UndefinedObject, errors.InvalidSchemaName)):
                login.execute(statement)


@pytest.mark.parametrize("option", ["default_transaction_read_only=on", "statement_timeout=1ms", "row_security=off"])
def test_no_setting_hides_a_session(
    rights: RequestPipeline, url: str, admin: Login, option: str, *, notes_logins: bool
) -> None:
    """It is recorded, or it does not begin; where the server does not tell of logins, it is let in."""
    refusal = refusal_of(url, option)
    if "read_only" in option and notes_logins:
        assert "the sessions of readers are recorded" in refusal
    elif "timeout" not in option:
        assert not refusal
    until(lambda: is_gone(admin))
    assert len(recorded(rights)) == int(not refusal and notes_logins)


def refusal_of(url: str, option: str) -> str:
    """What a login with an option is told, empty if it is let in."""
    try:
        psycopg.connect(url, options=f"-c {option}").close()
    except psycopg.OperationalError as error:
        return str(error)
    return ""


def test_a_login_does_not_fill_the_record(
    rights: RequestPipeline, url: str, admin: Login, *, notes_logins: bool
) -> None:
    admin.execute(
        "INSERT INTO consent.reader_session (started_at, pid, login, tables, seen_at, gone_at) "
        "SELECT now() - n * interval '100 ms', 1, %s, '{}', now(), now() FROM generate_series(1, %s) AS n",
        [LOGIN, SESSIONS_PER_HOUR - 1],
    )
    psycopg.connect(url).close()
    refusal = refusal_of(url, "search_path=consent")
    assert ("began 3600 sessions within an hour" in refusal) is notes_logins
    admin.execute("UPDATE consent.reader_session SET started_at = started_at - interval '1 hour' WHERE pid = 1")
    psycopg.connect(url).close()


def test_a_server_that_could_tell_of_logins_and_does_not_is_named(
    rights: RequestPipeline, admin: Login, *, notes_logins: bool
) -> None:
    def gaps() -> list[str]:
        return [gap.name for gap in check_logins(rights.context).gaps if gap.name == "short_sessions"]

    assert gaps() == []
    if not notes_logins:
        return
    admin.execute("DROP EVENT TRIGGER cdp_reader_logins")
    assert gaps() == ["short_sessions"]
    for statement in check_logins(rights.context).statements:
        admin.execute(statement)
    assert gaps() == []


def test_nothing_of_the_record_keeps_others_from_logging_in(
    rights: RequestPipeline, url: str, admin: Login, admin_url: str
) -> None:
    """Without the functions of the store, as while a backup is restored, and on a store that refuses to be written."""
    admin.execute("ALTER FUNCTION consent.note_reader_login() RENAME TO other")
    psycopg.connect(url).close()
    psycopg.connect(admin_url).close()
    admin.execute("DROP FUNCTION consent.other()")
    for option in ("default_transaction_read_only=on", "statement_timeout=10s"):
        psycopg.connect(admin_url, options=f"-c {option}").close()
        psycopg.connect(plain_url(rights.context.database.url), options=f"-c {option}").close()


def test_records_end_with_the_facts_of_the_log(rights: RequestPipeline, url: str) -> None:
    watched = watch(rights)
    with psycopg.connect(url, autocommit=True):
        watched.run(rights.context)
    keep = timedelta(days=rights.context.policy.retention.audit_salts.keep_for_days)
    (session,) = recorded(rights)
    for later, left in ((keep - timedelta(days=1), 1), (keep + timedelta(days=1), 0)):
        sweep(rights.context, session.seen_at + later)
        assert len(recorded(rights)) == left


def test_the_listing_answers_for_a_period_and_is_logged(rights: RequestPipeline, url: str, admin: Login) -> None:
    watched = watch(rights)
    with psycopg.connect(url, autocommit=True):
        watched.run(rights.context)
    until(lambda: is_gone(admin))
    watched.run(rights.context)
    (session,) = recorded(rights)
    assert session.gone_at is not None
    moment = timedelta(microseconds=1)

    def listed(since: datetime | None, before: datetime | None) -> int:
        query = SessionQuery(since, before)
        return len(list_sessions(rights.context, query, rights.pipeline.clock.now(), actor="auditor", token=4))

    assert listed(None, None) == listed(session.gone_at, session.started_at + moment) == 1
    assert listed(session.gone_at + moment, None) == listed(None, session.started_at) == 0
    fact = rights.pipeline.one("SELECT body FROM audit.fact ORDER BY entry_id DESC LIMIT 1")
    assert (fact["read"], fact["actor"], fact["token"], fact["count"]) == ("sessions", "auditor", 4, 0)
    assert LOGIN not in str(fact)


def test_a_table_names_its_role_and_purpose() -> None:
    for table, role, purpose in (
        ("permitted_email_marketing", "marketer", "email_marketing"),
        ("projection_agency_email_marketing", "agency", "email_marketing"),
        ("projection_agency", "agency", None),
        ("permitted", None, None),
        ("record", None, None),
    ):
        assert ReaderAccess.of_table(table) == ReaderAccess(table, role, purpose)
