"""The embedded database cluster: created atomically, with its roles, and the settings it always runs with."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from cdp.kit.canonical import sha256
from cdp.kit.errors import Fault
from cdp.kit.ids import new_secret
from cdp.postgres.login_rights import restrict_server_statements, restrict_statements
from cdp.postgres.place import ServerPlace, write_passwords, write_readable
from cdp.postgres.programs import Version, require_name, run

ADMIN: Final = "cdp_admin"
OWNER: Final = "cdp"
DATABASE: Final = "cdp"

# Statements and their values never reach the server's log; DETAIL lines, which quote rows, neither.
_SETTINGS: Final = """\
# Written by cdp at every start; changes made here are lost.
listen_addresses = ''
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 100
reserved_connections = 40
shared_buffers = '256MB'
effective_cache_size = '1GB'
work_mem = '16MB'
maintenance_work_mem = '128MB'
dynamic_shared_memory_type = '{shared_memory}'
random_page_cost = 1.1
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
datestyle = 'ISO, YMD'
lc_messages = 'C'
# What a deleted row leaves in the write-ahead log goes with the next switch and checkpoint.
wal_level = minimal
max_wal_senders = 0
wal_recycle = off
wal_init_zero = on
max_wal_size = '1GB'
min_wal_size = '80MB'
fsync = {durable}
synchronous_commit = {durable}
full_page_writes = {durable}
log_min_messages = log
log_min_error_statement = panic
log_error_verbosity = terse
log_statement = none
log_duration = off
log_min_duration_statement = -1
log_min_duration_sample = -1
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_autovacuum_min_duration = -1
log_checkpoints = off
log_connections = off
log_disconnections = off
log_lock_waits = off
log_line_prefix = '%m [%p] '
cluster_name = 'cdp'
{notifications}"""

# PostgreSQL lets every login connect to these, and keep temporary tables there.
_RESTRICT_DATABASES: Final = (
    "REVOKE ALL ON DATABASE postgres FROM PUBLIC",
    "REVOKE ALL ON DATABASE template1 FROM PUBLIC",
    f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC",
    # So that logins that use up their connections leave some to the service, which passes the right on to its parts.
    f"GRANT pg_use_reserved_connections TO {OWNER} WITH ADMIN OPTION",
)

_ACCESS = "local all all scram-sha-256\n"


def write_settings(place: ServerPlace, version: Version, *, durable: bool) -> None:
    """Write the server's settings and access rules beside the data."""
    text = _SETTINGS.format(
        durable="on" if durable else "off",
        shared_memory=_shared_memory(),
        # Every login can notify, and what it sends stays in files until each listener has it: the least that there can be.
        notifications="" if version == "16" else "max_notify_queue_pages = 64\n",
    )
    write_readable(place.base / "postgresql.conf", text)
    write_readable(place.base / "pg_hba.conf", _ACCESS)


def settings_arguments(place: ServerPlace) -> list[str]:
    """The arguments that make `postgres` use our settings and nothing else."""
    return [
        "-c",
        f"config_file={place.base / 'postgresql.conf'}",
        "-c",
        f"hba_file={place.base / 'pg_hba.conf'}",
    ]


def ensure_cluster(place: ServerPlace, programs: Path, version: Version, *, durable: bool) -> None:
    """Create the cluster if there is none; refuse one of another major version.

    It is created in another folder and renamed when complete, so that a partial cluster is never used.
    """
    if place.data.exists():
        _check_version(place, version)
        if {ADMIN, OWNER} - place.read_passwords().keys():
            passwords = {ADMIN: new_secret("pg"), OWNER: new_secret("pg")}
            _single_user(place, place.data, programs, database="postgres", statements=_password_statements(passwords))
            write_passwords(place, passwords)
        _restrict_logins(place, place.data, programs)
        return
    require_name(place.account)
    part = place.base / "data.part"
    _clear(part)
    part.mkdir(mode=0o700)
    place.account.give(part)
    try:
        _initdb(place, part, programs, version=version, durable=durable)
        passwords = {ADMIN: new_secret("pg"), OWNER: new_secret("pg")}
        _single_user(place, part, programs, database="postgres", statements=_role_statements(passwords))
        _single_user(place, part, programs, database=DATABASE, statements=_database_statements())
        write_passwords(place, passwords)
        _restrict_logins(place, part, programs)
        part.rename(place.data)
    except BaseException:
        _clear(part)
        raise


def _restrict_logins(place: ServerPlace, folder: Path, programs: Path) -> None:
    """Take from logins what they must not do, unless this cluster has it done by this version already."""
    server = [*restrict_server_statements(OWNER), *_RESTRICT_DATABASES]
    marker = place.base / "login_rights"
    stated = sha256("\n".join([*server, *restrict_statements(OWNER)]).encode()).hex()
    if folder == place.data and marker.exists() and marker.read_text() == stated:
        return
    _single_user(place, folder, programs, database="postgres", statements=server)
    _single_user(place, folder, programs, database=DATABASE, statements=restrict_statements(OWNER))
    write_readable(marker, stated)


def _initdb(place: ServerPlace, folder: Path, programs: Path, *, version: Version, durable: bool) -> None:
    # Sorted by code point on every machine and version: an order that no library update changes.
    locale = (
        ["--locale=C"] if version == "16" else ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    )
    command: list[str | Path] = [
        programs / "initdb",
        "--pgdata",
        folder,
        "--username",
        ADMIN,
        "--encoding=UTF8",
        "--data-checksums",
        "--auth=reject",
        "--no-instructions",
        *locale,
        *([] if durable else ["--no-sync"]),
    ]
    with place.open_log() as log:
        code = run(place.account, command, cwd=folder, output=log)
    if code != 0:
        raise _failed(place, f"initdb ended with code {code}")


def _single_user(place: ServerPlace, folder: Path, programs: Path, *, database: str, statements: list[str]) -> None:
    """Run statements without a server that accepts connections; passwords are passed by standard input."""
    command: list[str | Path] = [
        programs / "postgres",
        "--single",
        "-j",
        "-D",
        folder,
        *settings_arguments(place),
        database,
    ]
    given = "".join(f"{statement};\n\n" for statement in statements).encode()
    with tempfile.TemporaryFile() as output:
        code = run(place.account, command, cwd=folder, output=output, given=given)
        output.seek(0)
        printed = output.read()
    if code != 0 or b"ERROR:" in printed or b"FATAL:" in printed:
        raise _failed(place, "the roles and the database could not be created")


def _password_statements(passwords: dict[str, str]) -> list[str]:
    return [f"ALTER ROLE {role} PASSWORD '{password}'" for role, password in passwords.items()]


def _role_statements(passwords: dict[str, str]) -> list[str]:
    return [
        f"CREATE ROLE {OWNER} LOGIN NOSUPERUSER NOCREATEDB CREATEROLE",
        *_password_statements(passwords),
        f"GRANT pg_checkpoint, pg_signal_backend, pg_read_all_stats TO {OWNER}",
        f"CREATE DATABASE {DATABASE} OWNER {OWNER} TEMPLATE template0",
    ]


def _database_statements() -> list[str]:
    return [
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION pg_switch_wal() TO {OWNER}",
        f"GRANT EXECUTE ON FUNCTION pg_stat_force_next_flush() TO {OWNER}",
    ]


def _check_version(place: ServerPlace, version: Version) -> None:
    owned = place.data / "PG_VERSION"
    found = owned.read_text().strip() if owned.exists() else "unknown"
    if found != version:
        raise Fault(
            "database_version",
            "The embedded database was created by another version",
            f"{place.data} holds a database of PostgreSQL {found}; this cdp includes {version}. Export it with the "
            f"programs of PostgreSQL {found} and import it into a new CDP_HOME, or set CDP_DATABASE_URL to a server "
            "that runs it.",
            status=500,
        )


def _clear(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _shared_memory() -> str:
    """POSIX shared memory if it is large enough for parallel queries, files otherwise (containers give 64 MB)."""
    try:
        status = os.statvfs("/dev/shm")  # noqa: S108 - only its size is read
    except OSError:
        return "posix" if not Path("/proc").exists() else "mmap"
    return "posix" if status.f_bavail * status.f_frsize >= 256 * 1024 * 1024 else "mmap"


def _failed(place: ServerPlace, what: str) -> Fault:
    return Fault(
        "database_not_made",
        "The embedded database could not be created",
        f"{what}{last_error(place.log)}. The log is {place.log}; no partial database was kept. "
        "The usual cause is a full or read-only disk.",
        status=500,
    )


def last_error(log: Path) -> str:
    """The last error in the server's log, as ` (reason)`; empty when there is none."""
    try:
        lines = log.read_bytes()[-8192:].decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    reasons = [
        line for line in lines if any(level in line for level in ("FATAL:", "PANIC:", "error:", "LOG:  could not"))
    ]
    return f" ({reasons[-1].strip()})" if reasons else ""
