"""Every file that a service leaves outside the database is declared in the dictionary, and so is every column of a state database."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from cdp.flows.operations.startup import open_service
from cdp.kit.config import read_config
from cdp.kit.db import Database
from cdp.kit.state_database import open_state_database
from cdp.postgres.server import EmbeddedPostgres
from cdp.schema.dictionary import FILES, undeclared
from cdp.schema.state import state_file, state_metadata
from tests.support.commands import Shell
from tests.support.databases import EMPTY, plain_url, temporary_database

pytestmark = pytest.mark.postgres

OPT_OUT = ("consent", "record", "user_id:ada", "--purpose", "analytics", "--act", "refuse")
NOT_WRITTEN_HERE = {"postgres.location"}
"""Only where the account of the embedded server cannot reach the home."""


def undeclared_files(paths: Iterable[str]) -> list[str]:
    return sorted(path for path in paths if not any(file.covers(path) for file in FILES))


def written(folder: Path) -> set[str]:
    """Every file in a folder, but not those of PostgreSQL."""
    found = set()
    for base, folders, files in os.walk(folder):
        if Path(base).name == "data":
            folders.clear()
            files = ["PG_VERSION"]
        found |= {(Path(base) / file).relative_to(folder).as_posix() for file in files}
    return found


def test_every_file_of_an_embedded_service_and_of_a_state_folder_is_declared(home: Path) -> None:
    shell = Shell(home / "home")
    with shell.serving():
        pass
    shell.run(*OPT_OUT)
    copied = Shell(home / "home", {"CDP_STATE_URL": (home / "state").as_uri()})
    shell.run("state", "move", "--to", copied.settings["CDP_STATE_URL"], "--yes")
    found = written(home / "home") | written(home / "state")
    copied.run("state", "move", "--to", (home / "home").as_uri(), "--yes")
    (home / "home" / "moved.json").unlink(missing_ok=True)
    (home / "home" / "binding.json").write_bytes((home / "state" / "binding.json").read_bytes())
    assert shell.run("source", "list", code=1).stderr.startswith("state_outdated")
    found |= written(home / "home") | {"moving.json"}  # only while it moves
    assert undeclared_files(found) == []
    names = {file.name for file in FILES}
    assert {
        name for name in names if not any(file.covers(path) for file in FILES if file.name == name for path in found)
    } <= (NOT_WRITTEN_HERE)


def test_drafts_are_declared_with_their_files() -> None:
    digits = "0123456789abcdef"
    assert undeclared_files([f".replay.jsonl.{digits}", f"keys/.epoch.1.wrapped.{digits}"]) == []
    assert undeclared_files(["notes.txt", f".notes.txt.{digits}", "keys/x", "audit/1/2/entries"]) == [
        f".notes.txt.{digits}",
        "audit/1/2/entries",
        "keys/x",
        "notes.txt",
    ]


def test_every_table_and_column_of_a_state_database_is_declared(server: EmbeddedPostgres, home: Path) -> None:
    with temporary_database(server, EMPTY) as url, temporary_database(server, EMPTY) as state_url:
        shell = Shell(home / "home", {"CDP_DATABASE_URL": plain_url(url), "CDP_STATE_URL": plain_url(state_url)})
        with open_service(read_config(shell.environment())):
            pass
        shell.run(*OPT_OUT)
        store = open_state_database(state_url)
        names = store.names()
        store.close()
        database = Database(state_url)
        with database.transaction(read_only=True) as tx:
            columns = tx.execute(
                """
                SELECT c.oid::regclass::text, a.attname::text, format_type(a.atttypid, NULL), a.attnotnull
                FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                """
            )
        database.close()
    assert undeclared_files(names) == []
    assert {"replay.jsonl", "binding.json"} <= names
    types = {"TEXT": "text", "BIGINT": "bigint", "BYTEA": "bytea", "BLOB": "bytea"}
    declared = {
        (table.name, column.name, types[str(column.type)], not column.nullable)
        for table in state_metadata.tables.values()
        for column in table.columns
    }
    assert set(columns) == declared
    assert undeclared([state_file]) == []
