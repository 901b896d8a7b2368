"""Migrates a database to the newest schema: forward only, one process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from cdp.kit.db_faults import as_faults
from cdp.kit.errors import Fault
from cdp.kit.shipped import shipped_folder

_MIGRATION_LOCK = 7_142_316_001
_OLDEST_SERVER = 150_000


def migrate(url: str) -> list[str]:
    """Apply the pending migrations in one transaction; returns the revisions applied, oldest first.

    Raises the faults `server_too_old` (before PostgreSQL 15) and `schema_too_new` (migrated by a newer version of cdp), and
    those of the database.
    """
    with _connected(url) as connection:
        _become_the_only_migrator(connection)
        _require_server(connection)
        before = current_revision(connection)
        folder = str(shipped_folder("migrations"))
        script = ScriptDirectory(folder)
        if before is not None and before not in revisions():
            raise Fault(
                "schema_too_new",
                "The database is newer than this program",
                f"Its schema is at revision {before}, which is unknown to this version of cdp. Run a newer version.",
            )
        pending = _pending(script, before)
        if pending:
            config = Config()
            config.set_main_option("script_location", folder)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return pending


def _become_the_only_migrator(connection: Connection) -> None:
    """Lock out other migrating processes: by the version table, which only its owner can lock, as soon as it exists.

    Any login can take an advisory lock and block the migration, so that is used only for an empty database."""
    if connection.execute(text("SELECT to_regclass('public.schema_version') IS NULL")).scalar_one():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    else:
        connection.execute(text("LOCK TABLE public.schema_version IN EXCLUSIVE MODE"))


def needs_migration(url: str) -> bool:
    """True when `migrate` would change this database, or refuse it."""
    with _connected(url) as connection:
        return not is_current(connection)


def is_current(connection: Connection) -> bool:
    """True when no migration is pending."""
    return current_revision(connection) == newest_revision()


def newest_revision() -> str:
    """The revision that this program needs."""
    return revisions()[0]


@cache
def revisions() -> tuple[str, ...]:
    """Every revision that this program knows, newest first; the files are read once."""
    script = ScriptDirectory(str(shipped_folder("migrations")))
    return tuple(revision.revision for revision in script.walk_revisions())


def current_revision(connection: Connection) -> str | None:
    """The revision of the database, None when it is empty."""
    context = MigrationContext.configure(
        connection, opts={"version_table": "schema_version", "version_table_schema": "public"}
    )
    return context.get_current_revision()


def _pending(script: ScriptDirectory, before: str | None) -> list[str]:
    newest_first = [revision.revision for revision in script.iterate_revisions("head", before or "base")]
    return newest_first[::-1]


def _require_server(connection: Connection) -> None:
    version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    if version < _OLDEST_SERVER:
        raise Fault(
            "server_too_old",
            "PostgreSQL is too old",
            f"The server reports version {version // 10_000}; cdp needs PostgreSQL 15 or newer.",
        )


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(url, poolclass=NullPool)
    try:
        with as_faults(), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
