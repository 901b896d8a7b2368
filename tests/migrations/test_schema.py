"""One schema, three ways to it: the tables the code declares, a fresh migration, and the upgrade of a filled database."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from psycopg import errors
from sqlalchemy import NullPool, create_engine

from cdp.flows.operations.startup import open_context
from cdp.kit.clock import SystemClock
from cdp.kit.db import Database
from cdp.kit.shipped import shipped_folder
from cdp.postgres.server import EmbeddedPostgres
from cdp.schema import ddl
from cdp.schema.migrate import migrate, needs_migration
from tests.support.databases import EMPTY, plain_url, temporary_database
from tests.support.policies import shipped
from tests.support.schema_description import describe_schema

_MOVED = {
    "source": "sources",
    "accounting": "accounting",
    "notice": "accounting",
    "import_job": "operations",
    "applied_policy": "operations",
    "instant_override": "operations",
}
"""Tables that the second migration moved out of the schema `access`, with their new schemas."""


_RENEWED = {"reader_pseudonym"}
"""Columns that migration 0005 fills with new random values."""


def counted(url: str) -> dict[str, int]:
    """Rows of every table, partitions included."""
    with psycopg.connect(plain_url(url)) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
        ).fetchall()
        found = {}
        for (table,) in tables:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert row is not None
            found[table.removeprefix("public.")] = int(row[0])
        return found


def moved(table: str) -> str:
    """The name of a table after the upgrade."""
    schema, _, name = table.rpartition(".")
    return f"{_MOVED[name]}.{name}" if schema == "access" and name in _MOVED else table


def migrate_until(url: str, revision: str) -> None:
    """Migrate an empty database to the schema of an earlier version."""
    config = Config()
    config.set_main_option("script_location", str(shipped_folder("migrations")))
    with create_engine(url, poolclass=NullPool).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def lines(differing: set[str]) -> str:
    return "\n".join(sorted(differing))


def test_the_dump_is_what_its_description_claims(restored_url: str, known: dict[str, Any]) -> None:
    assert counted(restored_url) == known["rows"]
    assert all(known["rows"].values()), "every table of the dump holds rows"
    assert needs_migration(restored_url)


def test_an_upgrade_loses_no_row_and_moves_the_tables(upgraded_url: str, known: dict[str, Any]) -> None:
    expected = {moved(table): rows for table, rows in known["rows"].items()}
    after = counted(upgraded_url)
    assert {table: after.get(table) for table in expected} == expected
    assert not needs_migration(upgraded_url)


def test_an_upgrade_changes_no_value(restored_url: str, upgraded_url: str, known: dict[str, Any]) -> None:
    renamed = {"born_sequence": "origin_sequence"}
    with psycopg.connect(plain_url(restored_url)) as old, psycopg.connect(plain_url(upgraded_url)) as new:
        for table in known["rows"]:
            if table == "schema_version":
                continue
            query = "SELECT to_jsonb(t) FROM {} AS t"
            before = old.execute(query.format(table)).fetchall()
            after = new.execute(query.format(moved(table))).fetchall()
            expected = [
                {renamed.get(key, key): value for key, value in row.items() if key not in _RENEWED} for (row,) in before
            ]
            kept = [{key: row[key] for key in expected[0]} for (row,) in after]
            assert sorted(map(repr, kept)) == sorted(map(repr, expected)), table


def test_an_upgrade_gives_every_permission_its_own_pseudonym(restored_url: str, upgraded_url: str) -> None:
    """They were keyed hashes that the projections of a profile had in common."""
    query = "SELECT reader_pseudonym FROM consent.permitted"
    with psycopg.connect(plain_url(restored_url)) as old, psycopg.connect(plain_url(upgraded_url)) as new:
        before = [pseudonym for (pseudonym,) in old.execute(query)]
        after = [pseudonym for (pseudonym,) in new.execute(query)]
        salts = new.execute("SELECT count(*), count(DISTINCT salt) FROM identity.profile").fetchone()
    assert len(set(before)) < len(before) == len(after) == len(set(after))
    assert not set(before) & set(after)
    assert salts is not None
    assert salts[0] == salts[1] > 0


def test_an_upgrade_takes_the_scope_to_record_consent_from_browsers(restored_url: str) -> None:
    add = "INSERT INTO {}.source (name, kind, write_key_hash, scopes, jurisdiction, request_bytes_max, created_at) "
    values = "VALUES (%s, %s, %s, %s, 'eu', 512000, now())"
    with psycopg.connect(plain_url(restored_url)) as connection:
        for name, kind, scopes in (
            ("page", "browser", ["ingest", "consent"]),
            ("form", "browser", ["consent"]),
            ("backend", "server", ["ingest", "consent"]),
        ):
            connection.execute(add.format("access") + values, (name, kind, name.encode(), scopes))
    migrate(restored_url)
    with psycopg.connect(plain_url(restored_url)) as connection:
        after: dict[str, list[str]] = dict(connection.execute("SELECT name, scopes FROM sources.source").fetchall())
        assert (after["page"], after["form"], after["backend"]) == (["ingest"], [], ["ingest", "consent"])
        with pytest.raises(errors.CheckViolation):
            connection.execute(add.format("sources") + values, ("other", "browser", b"other", ["ingest", "consent"]))


def test_an_upgrade_counts_what_waits_by_source(server: EmbeddedPostgres) -> None:
    query = "SELECT source_id, messages, bytes FROM consent.deferred_total ORDER BY source_id"
    with temporary_database(server, EMPTY) as url:
        migrate_until(url, "0032")
        with psycopg.connect(plain_url(url)) as connection:
            connection.execute(
                """
                INSERT INTO consent.deferred_device (subject_id, pseudonym, source_id)
                SELECT n, sha256(n::text::bytea), least(n, 2) FROM generate_series(1, 3) AS n;
                INSERT INTO consent.deferred_message (subject_id, event_id, occurred_at, counted_at, ends_at, sealed)
                SELECT n, gen_random_uuid(), now(), now(), now(), decode(repeat('00', 29 + n), 'hex')
                FROM generate_series(1, 3) AS n
                """
            )
        assert migrate(url)[0] == "0033"
        with psycopg.connect(plain_url(url)) as connection:
            assert connection.execute(query).fetchall() == [(1, 1, 1), (2, 2, 5)]
            connection.execute("DELETE FROM consent.deferred_message WHERE subject_id = 3")
            assert connection.execute(query).fetchall() == [(1, 1, 1), (2, 1, 2)]
            connection.execute("TRUNCATE consent.deferred_message")
            assert connection.execute(query).fetchall() == []


def test_an_upgrade_lets_stored_events_have_lists_and_no_text(upgraded_url: str) -> None:
    update = "UPDATE behavior.event SET plain = plain || %s::jsonb WHERE plain ? 'revenue'"
    with psycopg.connect(plain_url(upgraded_url)) as connection:
        assert connection.execute(update, ('{"products": [{"sku": 7, "price": 1.5}, {}]}',)).rowcount > 0
        with pytest.raises(errors.CheckViolation):
            connection.execute(update, ('{"products": [{"sku": "MUG-1"}]}',))


def test_migrating_again_applies_nothing(upgraded_url: str) -> None:
    before = describe_schema(upgraded_url)
    assert migrate(upgraded_url) == []
    assert describe_schema(upgraded_url) == before


def test_a_fresh_migration_creates_what_the_code_declares(server: EmbeddedPostgres, database_url: str) -> None:
    with temporary_database(server, EMPTY) as declared_url:
        with psycopg.connect(plain_url(declared_url)) as connection:
            connection.execute(ddl.render())
        declared = describe_schema(declared_url)
    migrated = {line for line in describe_schema(database_url) if "schema_version" not in line}
    assert lines(migrated - declared) == "", "only in a migrated database"
    assert lines(declared - migrated) == "", "only in the declared schema"


def test_an_upgraded_database_has_the_schema_of_a_fresh_one(
    upgraded_url: str, upgraded_home: Path, database_url: str, tmp_path: Path
) -> None:
    # The projections of the purposes, and the privileges to read them, come with the policy.
    for url, home in ((database_url, tmp_path / "fresh"), (upgraded_url, upgraded_home)):
        database = Database(url)
        try:
            open_context(database, shipped(), SystemClock(), home=home)
        finally:
            database.close()
    fresh, upgraded = describe_schema(database_url), describe_schema(upgraded_url)
    assert lines(upgraded - fresh) == "", "only in the upgraded database"
    assert lines(fresh - upgraded) == "", "only in the fresh database"


def test_a_difference_is_found(database_url: str) -> None:
    before = describe_schema(database_url)
    changes = (
        "COMMENT ON COLUMN identity.profile.origin_sequence IS 'other'",
        "GRANT SELECT ON identity.profile TO cdp_marketer",
        "ALTER TABLE identity.profile ALTER COLUMN origin_sequence DROP NOT NULL",
        "CREATE INDEX extra ON identity.profile (origin_sequence)",
    )
    for change in changes:
        with psycopg.connect(plain_url(database_url)) as connection:
            connection.execute(change)
        after = describe_schema(database_url)
        assert after != before, change
        before = after
