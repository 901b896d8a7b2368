"""The parts of the service log in with roles that have exactly the rights of the matrix, and that nothing leads out of."""

import logging
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg import errors, sql
from sqlalchemy import make_url

from cdp.access.model import Role
from cdp.consent.store.projection import prepare_purposes
from cdp.consent.store.reader_sessions import SessionLimits, end_sessions
from cdp.flows.operations.part_logins import LoginGap, judge_logins, open_logins, role_name
from cdp.flows.operations.pools import PART_OF, open_pools
from cdp.kit.config import PoolSizes
from cdp.kit.db import Database, Transaction
from cdp.operations.readiness import CheckState
from cdp.operations.store.backups import create_missing_roles
from cdp.postgres.server import EmbeddedPostgres
from cdp.schema.database_roles import (
    AUDIT_LOG,
    FUNCTIONS,
    LEDGER,
    MATRIX,
    READ_BY_PARTITION,
    ROWS_SECURED,
    VERBS,
    DatabaseRole,
)
from tests.support.databases import administer, plain_url, temporary_database
from tests.support.marketer import people_for_readers

Login = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture(scope="module")
def store(server: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with people, shared by the tests of this file, with its parts open."""
    with temporary_database(server, template) as url, closing(Database(url)) as database:
        people_for_readers(database, tmp_path_factory.mktemp("parts"))
        assert open_logins(database).gaps == {}
        yield database


@pytest.fixture(params=DatabaseRole)
def part(request: pytest.FixtureRequest) -> DatabaseRole:
    found: DatabaseRole = request.param
    return found


@pytest.fixture
def login(store: Database, part: DatabaseRole) -> Iterator[Login]:
    with psycopg.connect(plain_url(open_logins(store).urls[part]), autocommit=True) as connection:
        yield connection


def relations(store: Database) -> list[str]:
    with store.transaction(read_only=True) as tx:
        rows = tx.execute(
            "SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
        )
    return [name if "." in name else f"public.{name}" for (name,) in rows]


def partitions(store: Database, table: str) -> set[str]:
    with store.transaction(read_only=True) as tx:
        rows = tx.execute(
            "SELECT relid::regclass::text FROM pg_partition_tree(%(table)s::regclass) WHERE level > 0", {"table": table}
        )
    return {name for (name,) in rows}


def test_no_part_may_change_the_ledger_or_the_log() -> None:
    for part, tables in MATRIX.items():
        for table in (*LEDGER, *AUDIT_LOG):
            verbs = {right.partition("(")[0] for right in tables.get(table, frozenset())}
            assert verbs <= {"SELECT", "INSERT"}, (part, table)
        assert tables.get("vault.subject_key", frozenset()) <= {"SELECT", "INSERT"}, part
        for rights in tables.values():
            assert not {"TRUNCATE", "TRIGGER", "REFERENCES"} & {right.partition("(")[0] for right in rights}, part


def read_by_name(store: Database, part: DatabaseRole) -> set[str]:
    """The partitions that a part reads by their names."""
    tables = [table for table in READ_BY_PARTITION if "SELECT" in MATRIX[part].get(table, ())]
    return {name for table in tables for name in partitions(store, table)}


def test_rights_are_those_of_the_matrix(store: Database, login: Login, part: DatabaseRole) -> None:
    """As PostgreSQL answers it to the role itself, whatever gives it the right."""
    read = read_by_name(store, part)
    found, wanted = {}, {}
    for name in relations(store):
        with store.transaction(read_only=True) as tx:
            ((oid,),) = tx.execute("SELECT %(name)s::regclass::oid::int", {"name": name})
        row = login.execute(
            """
            SELECT array(
                SELECT v FROM unnest(%(verbs)s::text[]) AS v WHERE has_table_privilege(%(table)s::oid, v)
                UNION ALL
                SELECT v || '(' || a.attname || ')'
                FROM pg_attribute AS a, unnest(%(of_columns)s::text[]) AS v
                WHERE a.attrelid = %(table)s::oid AND a.attnum > 0 AND NOT a.attisdropped
                  AND has_column_privilege(a.attrelid, a.attnum, v) AND NOT has_table_privilege(a.attrelid, v)
            )
            """,
            {"verbs": list(VERBS), "of_columns": ["SELECT", "INSERT", "UPDATE", "REFERENCES"], "table": oid},
        ).fetchone()
        assert row is not None
        found[name] = set(row[0])
        wanted[name] = {"SELECT"} if name in read else set(MATRIX[part].get(name, ()))
    assert found == wanted
    functions = login.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace "
        "WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND has_function_privilege(p.oid, 'EXECUTE') "
        "AND has_schema_privilege(n.oid, 'USAGE') AND p.prorettype <> 'trigger'::regtype"
    ).fetchall()
    assert {name for (name,) in functions} == set(FUNCTIONS[part])


def test_opening_the_parts_again_changes_nothing(store: Database) -> None:
    first = open_logins(store)
    with store.transaction() as tx:
        before = tx.execute("SELECT array_agg(relacl::text ORDER BY oid) FROM pg_class")[0][0]
    assert open_logins(store) == first
    with store.transaction() as tx:
        assert tx.execute("SELECT array_agg(relacl::text ORDER BY oid) FROM pg_class")[0][0] == before


def test_more_rights_than_the_matrix_are_taken_away(store: Database, login: Login, part: DatabaseRole) -> None:
    role = login.info.user
    with store.transaction() as tx:
        tx.execute(sql.SQL("GRANT DELETE ON consent.record TO {}").format(sql.Identifier(role)))
        tx.execute(sql.SQL("GRANT SELECT (token_hash) ON access.token TO {}").format(sql.Identifier(role)))
        tx.execute(sql.SQL("REVOKE INSERT ON consent.record FROM {}").format(sql.Identifier(role)))
    open_logins(store)
    test_rights_are_those_of_the_matrix(store, login, part)
    with pytest.raises(errors.InsufficientPrivilege):
        login.execute("SELECT token_hash FROM access.token")


def test_a_part_sees_all_rows_of_what_it_reads(store: Database, login: Login, part: DatabaseRole) -> None:
    """Partitions that readers' logins read have row security, which shows a role without a policy nothing, and no error."""
    names = [name for table in ROWS_SECURED for name in partitions(store, table)]
    assert len(names) > 3
    with store.transaction(read_only=True) as tx:
        expected = {
            name: tx.execute(sql.SQL("SELECT count(*) FROM {}").format(qualified(name)))[0][0] for name in names
        }
    assert sum(expected.values()) > 0
    for name in names:
        assert login.execute(sql.SQL("SELECT count(*) FROM {}").format(qualified(name))).fetchone() == (expected[name],)


def qualified(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))


def forbidden(store: Database, part: DatabaseRole) -> list[tuple[str, str]]:
    """A statement for each right that the matrix does not give, on tables and a partition of each kind."""
    out, read = [], read_by_name(store, part)
    for name in relations(store):
        rights = MATRIX[part].get(name, frozenset())
        granted = {right.partition("(")[0] for right in rights}
        if "SELECT" in granted and "SELECT" not in rights:
            out.append((name, "SELECT * FROM {} LIMIT 1"))
        if name in read:
            granted = {"SELECT"}
        for verb, query in (
            ("SELECT", "SELECT 1 FROM {} LIMIT 1"),
            ("INSERT", "INSERT INTO {} DEFAULT VALUES"),
            ("DELETE", "DELETE FROM {} WHERE false"),
            ("TRUNCATE", "TRUNCATE {}"),
            ("UPDATE", "SELECT 1 FROM {} LIMIT 1 FOR UPDATE"),
        ):
            if verb not in granted:
                out.append((name, query))
        out += [
            (name, query)
            for query in (
                "ALTER TABLE {} DISABLE TRIGGER ALL",
                "DROP TABLE {}",
                "CREATE INDEX ON {} ((1))",
                "COMMENT ON TABLE {} IS 'x'",
                "ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
            )
        ]
    return out


def test_what_the_matrix_does_not_give_fails(store: Database, login: Login, part: DatabaseRole) -> None:
    tried = forbidden(store, part)
    assert len(tried) > 300, part
    for name, query in tried:
        statement = sql.SQL(query).format(sql.Identifier(*name.split(".")))
        try:
            login.execute(statement)
        except errors.InsufficientPrivilege:
            continue
        pytest.fail(f"the part {part} may: {query}, {name}")


ATTACKS: Final = (
    "UPDATE consent.record SET act = 'grant'",
    "DELETE FROM consent.record",
    "TRUNCATE consent.record CASCADE",
    "DELETE FROM consent.repetition",
    "MERGE INTO consent.record AS r USING (SELECT 1) AS x ON true WHEN MATCHED THEN DELETE",
    "WITH gone AS (DELETE FROM consent.record RETURNING 1) SELECT count(*) FROM gone",
    "EXPLAIN ANALYZE DELETE FROM consent.record",
    "UPDATE consent.validity SET validity_days = NULL",
    "UPDATE audit.entry SET commitment = ''",
    "DELETE FROM audit.entry",
    "DELETE FROM audit.fact",
    "UPDATE audit.fact SET body = '{}'",
    "DELETE FROM vault.subject_key",
    "UPDATE vault.subject_key SET wrapped = wrapped",
    "UPDATE vault.epoch SET retired_at = now()",
    "UPDATE vault.key_check SET check_value = check_value",
    "INSERT INTO vault.key_check DEFAULT VALUES",
    "SELECT * FROM access.token",
    "SELECT token_hash FROM access.token",
    "INSERT INTO access.token DEFAULT VALUES",
    "UPDATE sources.source SET scopes = '{ingest,consent}'",
    "INSERT INTO operations.instant_override VALUES (1, now())",
    "INSERT INTO operations.applied_policy DEFAULT VALUES",
    "UPDATE operations.part_role SET role_name = 'x'",
    "SELECT * FROM operations.part_role",
    "DELETE FROM behavior.event",
    "UPDATE behavior.event SET bits = bits",
    "DELETE FROM identity.identifier",
    "DELETE FROM identity.profile",
    "DELETE FROM identity.evidence",
    "UPDATE identity.evidence SET rule = rule",
    "DELETE FROM consent.reader_session",
    "CREATE TABLE public.copied AS SELECT 1",
    "CREATE TABLE consent.copied (id int)",
    "CREATE SCHEMA own",
    "CREATE FUNCTION public.own() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION consent.refuse_update() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
    "ALTER TABLE consent.record DISABLE TRIGGER append_only",
    "ALTER TABLE consent.record OWNER TO CURRENT_USER",
    "SET session_replication_role = replica",
    "SET ROLE cdp",
    "SET ROLE cdp_admin",
    "SET ROLE cdp_marketer",
    "SET SESSION AUTHORIZATION cdp",
    "SELECT set_config('role', 'cdp', false)",
    "GRANT cdp TO CURRENT_USER",
    "CREATE ROLE other LOGIN",
    "ALTER ROLE cdp PASSWORD 'other'",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER CREATEROLE",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "COPY consent.record TO PROGRAM 'cat'",
    "COPY consent.record TO '/tmp/ledger'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'cdp'",
    "SELECT * FROM pg_authid",
    "LOCK TABLE consent.record IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE audit.entry IN ACCESS EXCLUSIVE MODE",
    "CLUSTER consent.record USING record_pkey",
    "REINDEX TABLE consent.record",
    "COMMENT ON TABLE consent.record IS 'x'",
    "SECURITY LABEL ON TABLE consent.record IS 'x'",
    "ALTER SYSTEM SET log_statement = 'all'",
)
"""Ways out of a part that no part has."""

ATTACKS_OF: Final = {
    DatabaseRole.INGEST: (
        "SELECT commitment FROM audit.entry",
        "SELECT * FROM audit.tile",
        "DELETE FROM rights.suppression",
        "UPDATE rights.suppression SET purpose = purpose",
        "SELECT * FROM rights.request_identifier",
        "SELECT * FROM rights.request",
        "SELECT * FROM rights.hold",
        "SELECT * FROM segments.membership",
    ),
    DatabaseRole.AUDITOR: (
        "INSERT INTO consent.record DEFAULT VALUES",
        "SELECT write_key_hash FROM sources.source",
        "SELECT * FROM audit.tile",
        "SELECT * FROM rights.request_identifier",
        "SELECT * FROM rights.request_value",
        "SELECT * FROM rights.suppression",
        "SELECT * FROM consent.deferred_message",
        "SELECT * FROM destinations.outbox",
        "SELECT vault.throw_away_keys('{1}')",
        "SELECT vault.hold_active_epoch()",
        "INSERT INTO vault.subject_key DEFAULT VALUES",
        "UPDATE rights.request SET status = status",
        "DELETE FROM rights.hold",
        "DELETE FROM consent.permitted",
        "INSERT INTO segments.membership DEFAULT VALUES",
        "SELECT version FROM identity.generation FOR UPDATE",
        "UPDATE consent.reader_session SET gone_at = NULL",
        "DELETE FROM accounting.accounting",
        "UPDATE access.lookup SET lookups = 0",
        "COPY (SELECT token_hash FROM access.token) TO STDOUT",
    ),
    DatabaseRole.MARKETING: (
        "INSERT INTO consent.record DEFAULT VALUES",
        "SELECT sealed FROM identity.identifier",
        "SELECT pseudonym FROM identity.identifier",
        "SELECT sealed FROM behavior.event",
        "SELECT sealed FROM behavior.trait",
        "COPY identity.identifier TO STDOUT",
        "SELECT identifier FROM identity.identifier",
        "SELECT to_jsonb(e) FROM behavior.event AS e",
        "SELECT body FROM audit.fact",
        "SELECT * FROM audit.read_subject",
        "SELECT * FROM rights.request",
        "SELECT * FROM rights.hold",
        "SELECT * FROM rights.suppression",
        "SELECT * FROM consent.deferred_message",
        "SELECT name FROM access.token",
        "SELECT write_key_hash FROM sources.source",
        "DELETE FROM access.lookup",
        "UPDATE identity.generation SET version = 0",
        "UPDATE identity.generation SET single = 1, acted_at = now()",
        "LOCK TABLE identity.generation IN ROW EXCLUSIVE MODE",
        "INSERT INTO consent.permitted DEFAULT VALUES",
        "UPDATE consent.permitted SET until = NULL",
        "DELETE FROM consent.permitted_analytics",
        "UPDATE consent.projection SET until = NULL",
        "DELETE FROM consent.refused",
        "INSERT INTO vault.subject_key DEFAULT VALUES",
        "SELECT vault.throw_away_keys('{1}')",
        "SELECT vault.hold_active_epoch()",
        "INSERT INTO segments.stale DEFAULT VALUES",
        "DELETE FROM segments.segment",
        "UPDATE segments.segment_version SET version = version",
        "DELETE FROM segments.membership_change",
    ),
    DatabaseRole.PRIVACY: (
        "UPDATE consent.repetition SET record_id = record_id",
        "DELETE FROM consent.record WHERE act = 'refuse'",
        "DELETE FROM behavior.restricted_event",
        "DELETE FROM identity.identifier",
        "DELETE FROM identity.link",
        "UPDATE identity.link SET profile_id = 1",
        "UPDATE identity.canonical SET profile_id = 1",
        "DELETE FROM rights.request",
        "INSERT INTO rights.hold DEFAULT VALUES",
        "DELETE FROM rights.hold",
        "UPDATE rights.step SET rows_touched = 0",
        "UPDATE destinations.outbox SET body = '{}'",
        "DELETE FROM consent.withdrawal",
        "UPDATE segments.segment SET name = 'x'",
        "DELETE FROM segments.membership",
        "SELECT token_hash FROM access.token",
        "SELECT write_key_hash FROM sources.source",
        "SELECT * FROM accounting.accounting",
        "INSERT INTO access.lookup DEFAULT VALUES",
        "UPDATE vault.epoch SET destroyed_at = now()",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user",
    ),
}
"""What a part may not do although another may, or what would serve it most."""


@pytest.mark.parametrize(
    ("part", "statement"),
    [(part, statement) for part in DatabaseRole for statement in (*ATTACKS, *ATTACKS_OF[part])],
)
def test_attacks_of_a_part_fail(login: Login, statement: str) -> None:
    before = login.execute("SELECT session_user, current_user").fetchone()
    if statement.startswith("LOCK"):
        login.execute("BEGIN")
    with pytest.raises(
        (
            errors.InsufficientPrivilege,
            errors.InvalidParameterValue,
            errors.InvalidGrantOperation,
            errors.UndefinedObject,
        )
    ):
        login.execute(statement)
    login.execute("ROLLBACK")
    assert login.execute("SELECT session_user, current_user").fetchone() == before


def test_a_right_to_lock_the_writers_changes_nothing(store: Database) -> None:
    with psycopg.connect(plain_url(open_logins(store).urls[DatabaseRole.MARKETING]), autocommit=True) as login:
        assert login.execute("SELECT count(*) FROM (SELECT FROM identity.generation FOR UPDATE) AS g").fetchone() == (
            1,
        )
        for value in (0, 2):
            with pytest.raises(errors.CheckViolation):
                login.execute("UPDATE identity.generation SET single = %s", [value])
        login.execute("UPDATE identity.generation SET single = single")


def test_a_session_leads_nowhere(login: Login) -> None:
    name = login.info.user
    for statement in ("RESET ROLE", "SET ROLE NONE", "RESET SESSION AUTHORIZATION", "RESET ALL", "DISCARD ALL"):
        login.execute(statement)
        assert login.execute("SELECT session_user::text, current_user::text").fetchone() == (name, name)


@pytest.mark.parametrize("part", [DatabaseRole.INGEST, DatabaseRole.PRIVACY])
def test_a_part_destroys_only_keys_of_nobody(store: Database, login: Login) -> None:
    with store.transaction() as tx:
        before = tx.execute("SELECT count(*) FROM vault.subject_key")[0][0]
    assert before > 0
    destroyed = login.execute(
        "SELECT vault.throw_away_keys(array(SELECT subject_id FROM vault.subject_key))"
    ).fetchone()
    assert destroyed == (0,)


def test_a_part_shreds_only_keys_of_closed_requests(store: Database) -> None:
    query = "SELECT vault.shred_request_keys(array(SELECT subject_id FROM vault.subject_key))"
    with store.transaction() as tx:
        ((before, subject),) = tx.execute("SELECT count(*), min(subject_id) FROM vault.subject_key")
        now = datetime(2026, 1, 1, tzinfo=UTC)
        tx.execute(
            """
            INSERT INTO rights.request (request_id, kind, regime, status, received_at, due_at)
            VALUES (%(subject)s, 'access', 'gdpr', 'received', %(now)s, %(now)s)
            """,
            {"subject": subject, "now": now},
        )
    with psycopg.connect(plain_url(open_logins(store).urls[DatabaseRole.PRIVACY])) as login:
        assert login.execute(query).fetchone() == (0,)
        login.execute(
            "UPDATE rights.request SET status = 'withdrawn', closed_at = now() WHERE request_id = %s", [subject]
        )
        assert login.execute(query).fetchone() == (1,)
        assert login.execute("SELECT count(*) FROM vault.subject_key").fetchone() == (before - 1,)
        login.rollback()
    with store.transaction() as tx:
        tx.execute("DELETE FROM rights.request WHERE request_id = %(subject)s", {"subject": subject})


def test_parts_log_in_with_their_roles_and_the_rest_as_the_owner(store: Database) -> None:
    with open_pools(store, PoolSizes(api=2, ingest=2, worker=2, health=2)) as pools:
        for database, part in (
            (pools.ingest, DatabaseRole.INGEST),
            *((pools.parts[role], PART_OF[role]) for role in PART_OF),
        ):
            with database.transaction() as tx:
                assert tx.execute("SELECT session_user::text") == [(role_of(store, part),)]
            assert database.owner is store
        with pools.api.transaction() as tx:
            assert tx.execute("SELECT session_user::text") == [("cdp",)]
        assert Role.ADMIN not in pools.parts
        with pools.parts[Role.AUDITOR].transaction(), pools.api.transaction():
            assert pools.api.callers == pools.api.pool_size == 2
    assert judge_logins(store).state is CheckState.OK


@pytest.fixture
def owner(server: EmbeddedPostgres, template: str) -> Iterator[Database]:
    """A migrated database of its own, whose parts were never opened."""
    with temporary_database(server, template) as url, closing(Database(url)) as database:
        yield database


def role_of(database: Database, part: DatabaseRole = DatabaseRole.INGEST) -> str:
    return role_name(str(make_url(database.url).database), part)


def test_a_part_leads_to_no_other_database_of_the_server(store: Database, owner: Database) -> None:
    url = make_url(open_logins(store).urls[DatabaseRole.INGEST])
    other = plain_url(url.set(database=make_url(owner.url).database).render_as_string(hide_password=False))
    open_logins(owner)
    with psycopg.connect(other, autocommit=True) as login, pytest.raises(errors.InsufficientPrivilege):
        login.execute("SELECT 1 FROM consent.record")


def test_in_a_copy_of_a_database_the_parts_of_the_original_have_no_rights(
    server: EmbeddedPostgres, owner: Database
) -> None:
    original, name = role_of(owner), str(make_url(owner.url).database)
    open_logins(owner)
    owner.close()
    with temporary_database(server, name) as url, closing(Database(url)) as copy:
        open_logins(copy)
        with copy.transaction(read_only=True) as tx:
            query = "SELECT has_schema_privilege(%(role)s, 'consent', 'USAGE')"
            assert [tx.execute(query, {"role": role}) for role in (original, role_of(copy))] == [[(False,)], [(True,)]]
            assert tx.execute("SELECT 1 FROM pg_policy WHERE polname = %(role)s", {"role": original}) == []
            found = tx.execute("SELECT part, role_name FROM operations.part_role")
            assert dict(found) == {part.value: role_of(copy, part) for part in DatabaseRole}


def test_the_projection_of_a_new_purpose_is_read_by_the_parts(owner: Database) -> None:
    opened = open_logins(owner)
    with owner.transaction() as tx:
        prepare_purposes(tx, ["quizzes"], datetime(2026, 1, 1, tzinfo=UTC))
        before = policies_and_rights(tx)
    for url in opened.urls.values():
        with psycopg.connect(plain_url(url)) as login:
            assert login.execute("SELECT count(*) FROM consent.permitted_quizzes").fetchone() == (0,)
    open_logins(owner)
    with owner.transaction() as tx:
        assert policies_and_rights(tx) == before


def policies_and_rights(tx: Transaction) -> list[tuple[Any, ...]]:
    return tx.execute(
        "SELECT c.oid::regclass::text, c.relacl::text, array(SELECT polname::text FROM pg_policy WHERE polrelid = c.oid ORDER BY 1) "
        "FROM pg_class AS c ORDER BY c.oid"
    )


def test_a_role_that_was_made_for_something_else_is_left_alone(
    server: EmbeddedPostgres, owner: Database, caplog: pytest.LogCaptureFixture
) -> None:
    administer(server, "CREATE ROLE {}", role_of(owner))
    with caplog.at_level(logging.WARNING):
        opened = open_logins(owner)
    assert set(opened.urls) == set(DatabaseRole) - {DatabaseRole.INGEST}
    assert opened.gaps == {DatabaseRole.INGEST: LoginGap.ROLE_FOREIGN}
    assert [(record.message, vars(record)["reason"]) for record in caplog.records] == [
        ("login_not_separate", "role_foreign")
    ]
    with owner.transaction(read_only=True) as tx:
        ((can_login,),) = tx.execute(
            "SELECT rolcanlogin FROM pg_roles WHERE rolname = %(role)s", {"role": role_of(owner)}
        )
    assert not can_login
    found = judge_logins(owner)
    assert (found.state, found.code) == (CheckState.DEGRADED, "login_not_separate")
    with open_pools(owner, PoolSizes(api=2, ingest=2, worker=2, health=2)) as pools, pools.ingest.transaction() as tx:
        assert tx.execute("SELECT session_user::text") == [("cdp",)]


def test_a_role_that_may_more_than_a_part_is_not_used(server: EmbeddedPostgres, owner: Database) -> None:
    open_logins(owner)
    for part in DatabaseRole:
        administer(server, "GRANT pg_read_all_data TO {}", role_of(owner, part))
        assert open_logins(owner).gaps == {part: LoginGap.ROLE_ELEVATED}
        administer(server, "REVOKE pg_read_all_data FROM {}", role_of(owner, part))
    assert open_logins(owner).gaps == {}


def test_an_owner_that_may_create_no_roles_is_told_what_an_administrator_runs(
    server: EmbeddedPostgres, template: str
) -> None:
    administer(server, "CREATE ROLE {} LOGIN PASSWORD 'poor'", "poor_owner")
    try:
        with temporary_database(server, template) as url:
            name = str(make_url(url).database)
            administer(server, "ALTER DATABASE {} OWNER TO {}", name, "poor_owner")
            admin = plain_url(server.url_for("cdp_admin", name))
            with psycopg.connect(admin, autocommit=True) as connection:
                connection.execute("GRANT cdp TO poor_owner")
                connection.execute("ALTER ROLE poor_owner SET role = 'cdp'")
            with closing(Database(as_user(url, "poor_owner", "poor"))) as database:
                # A stand-in for an owner: it has the rights of the owner, but not CREATEROLE.
                with psycopg.connect(admin, autocommit=True) as connection:
                    connection.execute("ALTER ROLE cdp NOCREATEROLE")
                try:
                    assert open_logins(database).gaps == dict.fromkeys(DatabaseRole, LoginGap.ROLE_MISSING)
                    with open_pools(database, PoolSizes(api=2, ingest=2, worker=2, health=2)) as pools:
                        for pool in (pools.ingest, *pools.parts.values()):
                            with pool.transaction() as tx:
                                assert tx.execute("SELECT session_user::text") == [("poor_owner",)]
                    found = judge_logins(database)
                    assert found.state is CheckState.DEGRADED
                    statements = [line for line in found.detail.splitlines() if line.endswith(";")]
                    assert len(statements) == 3 * len(DatabaseRole)
                    assert "poor" not in " ".join(statements).replace("poor_owner", "")
                    with psycopg.connect(admin, autocommit=True) as connection:
                        for statement in statements:
                            connection.execute(statement)
                    assert open_logins(database).gaps == {}
                    assert judge_logins(database).state is CheckState.OK
                finally:
                    with psycopg.connect(admin, autocommit=True) as connection:
                        connection.execute("ALTER ROLE cdp CREATEROLE")
    finally:
        administer(server, "DROP ROLE {}", "poor_owner")


def as_user(url: str, user: str, password: str) -> str:
    return make_url(url).set(username=user, password=password).render_as_string(hide_password=False)


def test_without_a_password_of_the_owner_there_is_none_for_a_part(owner: Database) -> None:
    url = re.sub(r"//cdp:[^@]*@", "//cdp@", owner.url)
    with closing(Database(url)) as database:
        assert open_logins(database).gaps == dict.fromkeys(DatabaseRole, LoginGap.NO_PASSWORD)
        assert judge_logins(database).state is CheckState.DEGRADED


def test_a_part_whose_password_was_changed_gets_the_derived_one_back(owner: Database) -> None:
    opened = open_logins(owner)
    with owner.transaction() as tx:
        tx.execute(sql.SQL("ALTER ROLE {} PASSWORD 'other'").format(sql.Identifier(role_of(owner))))
    assert open_logins(owner) == opened
    with psycopg.connect(plain_url(opened.urls[DatabaseRole.INGEST])) as login:
        assert login.info.user == role_of(owner)


def test_a_role_that_a_restore_made_becomes_a_part(owner: Database) -> None:
    with owner.transaction() as tx:
        create_missing_roles(tx, [role_of(owner)])
    assert open_logins(owner).gaps == {}


def test_a_withdrawal_does_not_end_the_sessions_of_a_part(owner: Database, tmp_path: Path) -> None:
    people_for_readers(owner, tmp_path)
    with psycopg.connect(plain_url(open_logins(owner).urls[DatabaseRole.INGEST]), autocommit=True) as login:
        login.execute("SELECT 1 FROM consent.record")
        limits = SessionLimits(
            transaction_seconds=0, idle_in_transaction_seconds=0, session_seconds=0, sessions_per_login=0
        )
        with owner.transaction() as tx:
            assert end_sessions(tx, limits, all_of_them=True) == []
        assert login.execute("SELECT 1").fetchone() == (1,)


def test_names_too_long_for_a_role_are_shortened() -> None:
    assert role_name("cdp", DatabaseRole.INGEST) == "cdp_ingest"
    shortened = {role_name(letter * 63, DatabaseRole.INGEST) for letter in "ab"}
    assert len(shortened) == 2
    assert all(len(name) <= 63 for name in shortened)
