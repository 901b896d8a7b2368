"""Backups as an operator makes them with the programs of PostgreSQL."""

import subprocess
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from cdp.postgres.programs import find_programs, own_account
from cdp.postgres.server import EmbeddedPostgres
from cdp.schema.dictionary import SCHEMAS
from tests.support.databases import EMPTY, administer, create_database


def dump(url: str, file: Path) -> None:
    """Write a dump of the schemas of cdp."""
    schemas = [f"--schema={schema}" for schema in (*SCHEMAS, "public")]
    subprocess.run([_programs() / "pg_dump", "--format=custom", f"--file={file}", *schemas, url], check=True)


def restore(server: EmbeddedPostgres, url: str, file: Path) -> None:
    """Replace the database by a dump; its URL stays the same."""
    name = str(conninfo_to_dict(url)["dbname"])
    administer(server, "DROP DATABASE {} WITH (FORCE)", name)
    create_database(server, name, EMPTY)
    listed = subprocess.run([_programs() / "pg_restore", "--list", file], check=True, capture_output=True, text=True)
    entries = file.with_suffix(".list")
    entries.write_text(
        "".join(f"{line}\n" for line in listed.stdout.splitlines() if "SCHEMA" not in line or "public" not in line)
    )
    command: list[str | Path] = [
        _programs() / "pg_restore",
        "--exit-on-error",
        f"--use-list={entries}",
        f"--dbname={url}",
        file,
    ]
    subprocess.run(command, check=True)


def _programs() -> Path:
    return find_programs("18", own_account())
