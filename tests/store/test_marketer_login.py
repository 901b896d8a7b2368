"""A marketer's database login in the hands of somebody who means harm: what it may not see, hold up, keep or write.

The statements of docs/reference/consent.md, "SQL access for BI tools", are run here before the attacks.
"""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import psycopg
import pytest
from psycopg import errors, sql

from cdp.accounting.model import State
from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from tests.support.marketer import Login, attempt, marketer_login, people_for_readers
from tests.support.people import ADA
from tests.support.requests import RequestPipeline
from tests.support.source_tree import ROOT

pytestmark = pytest.mark.postgres


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return people_for_readers(database, tmp_path)


@pytest.fixture
def marketer(rights: RequestPipeline, server: EmbeddedPostgres) -> Iterator[Login]:
    name = rights.context.database.engine.url.database
    assert name is not None
    with marketer_login(server, name) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_row_security_cannot_be_looked_around(rights: RequestPipeline, marketer: Login) -> None:
    """A permission that has ended is not told by a function that sees rows before the policy does, nor by an error."""
    with rights.context.database.transaction() as tx:
        tx.execute("UPDATE consent.permitted SET until = '2020-01-01', traits = '{\"ended\": 1}'")
        tx.execute("ANALYZE consent.permitted_analytics")
    marketer.execute("SET row_security = on")
    assert marketer.execute("SELECT count(*) FROM consent.permitted_analytics").fetchall() == [(0,)]
    leaky = "SELECT 1 FROM consent.permitted_analytics WHERE (1 / (length(reader_pseudonym) - length(reader_pseudonym))) = 1"
    assert marketer.execute(leaky).fetchall() == []
    assert marketer.execute("SELECT * FROM pg_stats WHERE schemaname = 'consent'").fetchall() == []
    marketer.execute("SET row_security = off")
    with pytest.raises(errors.InsufficientPrivilege):
        marketer.execute("SELECT reader_pseudonym FROM consent.permitted_analytics")


def test_what_it_holds_holds_up_no_message(rights: RequestPipeline, marketer: Login) -> None:
    """It may take no advisory lock, and an open reading transaction is waited for by nobody."""
    for key in (1, *OLD_KEYS):
        with pytest.raises(errors.InsufficientPrivilege):
            marketer.execute("SELECT pg_advisory_lock(%s::bigint)", [key])
    marketer.execute("BEGIN")
    marketer.execute("SELECT count(reader_pseudonym) FROM consent.permitted_analytics")
    with rights.context.database.transaction() as tx:
        tx.execute("SET LOCAL lock_timeout = '10s'")
    assert rights.pipeline.send({**ADA, "messageId": "while-held"})[0].state is State.STORED
    assert rights.erase(("user_id", "ada")).status == "fulfilled"
    rights.sequence()
    marketer.execute("ROLLBACK")


OLD_KEYS = (7_142_316_001, 7_142_316_002, 7_142_316_101, 0x6364705F6C6F6700, 0x6364705F6B657973)


def test_nothing_of_the_service_takes_an_advisory_lock_once_the_schema_is_there(rights: RequestPipeline) -> None:
    """Otherwise a login that knows its number, which is public, stops the service for good.

    A state database is not the one that marketers log in to, and takes its lock only to create its table.
    """
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "cdp").rglob("*.py")
        if "pg_advisory_" in path.read_text(encoding="utf-8")
    }
    assert found == {"cdp/schema/migrate.py", "cdp/kit/state_database.py"}


def test_its_failing_statements_write_no_pseudonym_into_the_log(marketer: Login, server: EmbeddedPostgres) -> None:
    (pseudonym,) = marketer.execute("SELECT min(reader_pseudonym) FROM consent.permitted_analytics").fetchone() or ("",)
    with pytest.raises(errors.InvalidTextRepresentation):
        marketer.execute("SELECT reader_pseudonym::int FROM consent.permitted_analytics")
    place = server._place
    assert place is not None
    assert len(pseudonym) > 8
    assert pseudonym.encode() not in place.log.read_bytes()


# --- joining what is kept apart ---------------------------------------------------------------------------------------

PURPOSES = ("advertising", "analytics", "email_marketing", "personalization", "service")
READ = PURPOSES[:-1]
"""Those that rest on consent or legitimate interests; `service` rests on a contract, and nobody can refuse it."""


def readable_columns(marketer: Login, purpose: str) -> set[str]:
    """The columns of a projection that the login may select."""
    rows = marketer.execute(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attnum > 0 "
        "AND NOT attisdropped AND has_column_privilege(attrelid, attnum, 'SELECT')",
        {"table": f"consent.permitted_{purpose}"},
    )
    return {name for (name,) in rows}


def test_no_two_projections_have_a_key_in_common(rights: RequestPipeline, marketer: Login) -> None:
    """Both people answered for every purpose in the same click, so that only what is stored can keep the purposes apart."""
    with rights.context.database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT purpose, count(*) FROM consent.permitted GROUP BY purpose ORDER BY purpose")
    assert rows == [(purpose, 2) for purpose in PURPOSES]
    joined = {}
    for one, other in combinations(READ, 2):
        assert readable_columns(marketer, one) == readable_columns(marketer, other)
        for column in readable_columns(marketer, one) - {"traits", "since_on", "until_on"}:
            query = sql.SQL("SELECT count(*) FROM {} AS one JOIN {} AS other USING ({})").format(
                sql.Identifier("consent", f"permitted_{one}"),
                sql.Identifier("consent", f"permitted_{other}"),
                sql.Identifier(column),
            )
            joined[one, other, column] = marketer.execute(query).fetchone()
    assert set(joined.values()) == {(0,)}, joined
    assert {column for _, _, column in joined} == {"reader_pseudonym"}
    for purpose in READ:
        for column in ("reader_pseudonym", "since_on", "until_on", "traits"):
            names = sql.Identifier("consent", f"permitted_{purpose}"), sql.Identifier(column)
            with pytest.raises(errors.InsufficientPrivilege):
                marketer.execute(
                    sql.SQL("SELECT count(*) FROM {} AS one JOIN consent.permitted_service AS other USING ({})").format(
                        *names
                    )
                )


def test_it_reads_no_purpose_that_nobody_can_refuse(marketer: Login) -> None:
    assert readable_columns(marketer, "service") == set()
    for query in ("SELECT count(*) FROM consent.permitted_service", "SELECT traits FROM consent.permitted_service"):
        assert attempt(marketer, query) == "InsufficientPrivilege"


def test_a_permission_is_dated_to_the_day(marketer: Login) -> None:
    """An instant of consent is given for all purposes in one click, so it would join them as well as a key does."""
    types = marketer.execute(
        "SELECT DISTINCT column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = 'consent' AND table_name = 'permitted_analytics' AND column_name <> 'traits'"
    ).fetchall()
    assert set(types) == {("reader_pseudonym", "text"), ("since_on", "date"), ("until_on", "date")}
