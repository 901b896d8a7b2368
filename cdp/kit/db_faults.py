"""Faults of the database: what PostgreSQL or its driver reports, as a code, a sentence and a remedy."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from cdp.kit.errors import BUSY, UNAVAILABLE, Fault

_RETRY_AFTER_SECONDS: Final = 2
_LOCK_TIMEOUT: Final = "55P03"
_CONFLICT_STATES: Final = ("40001", "40P01", _LOCK_TIMEOUT)
_UNAVAILABLE_STATES: Final = ("08", "53", "57", "58", "25P03", "25P04")
_REFUSED_STATES: Final = ("28", "3D000")
_RIGHTS_MISSING: Final = "42501"
_READ_ONLY: Final = "25006"
_SCHEMA_STATES: Final = ("42P01", "42703", "42883", "3F000")
_DAMAGED_STATES: Final = ("XX001", "XX002")
# What PostgreSQL answers for a file error that it has no state for, such as a limit on the size of files; only the place in its
# source tells such an error from one of its own.
_WITHOUT_STATE: Final = "XX000"
_SOURCES_OF_FILES: Final = frozenset({"md.c", "fd.c", "buffile.c", "slru.c", "xlog.c"})
_STATES_OF_VALUES: Final = ("21", "22", "23", "42", "54", "P0")
# What an unavailable server reports, and what helps; the first match counts.
_REASONS: Final = (
    ("53100", "the disk of the server is full. Free some space on it"),
    ("53300", "the server has no connection left. Raise max_connections, or run fewer processes"),
    ("53", "the server lacks memory or another resource. Its log says which"),
    ("57014", "a statement took longer than the server's statement_timeout. Raise it for the role of cdp"),
    ("57P03", "the server is starting, stopping or recovering. Try again shortly"),
    ("58", "the server cannot read or write its files. Check its disk and its log"),
    ("", "the connection was ended by the server. Try again shortly"),
)
# libpq reports why a server refuses a connection as text only.
_REFUSALS: Final = (
    "authentication failed",
    "no pg_hba.conf entry",
    "does not exist",
    "permission denied for database",
    "not permitted to log in",
    "no password supplied",
    "authentication method requirement",
)
# What the client says of a URL, and of no connection that is open.
_WRONG_OPTIONS: Final = ("URI", "connection option", "connection info string")
_TRANSIENT_REFUSALS: Final = ("too many", "remaining connection slots", "starting up", "shutting down")


@contextmanager
def as_faults() -> Iterator[None]:
    """Raise errors of the database as faults where there is one for them; others pass unchanged."""
    try:
        yield
    except (DBAPIError, psycopg.Error, PoolTimeout) as error:
        fault = _fault_of(error)
        if fault is None:
            raise
        raise fault from error


def unexpected_fault(error: BaseException) -> Fault | None:
    """A fault for an error of the database that has none of its own; None if the error is not of the database."""
    if not is_of_database(error):
        return None
    return _fault_of(error) or Fault(
        "database_error",
        "PostgreSQL refused a statement",
        f"It answered with SQLSTATE {sqlstate(error) or 'unknown'}, which cdp does not expect, and rolled the transaction back. If "
        "nobody changed the database by other means, please report it.",
        status=500,
    )


def is_of_database(error: BaseException) -> bool:
    """True for an error of PostgreSQL, of its driver or of the pool of connections."""
    return isinstance(error, SQLAlchemyError | psycopg.Error)


def is_of_values(error: BaseException) -> bool:
    """True for an error of the database that values in a statement may have caused: not a lost connection, lock or time limit."""
    state = sqlstate(error)
    if state is not None:
        return state.startswith(_STATES_OF_VALUES)
    original = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(original, psycopg.DataError | psycopg.ProgrammingError)  # of the driver, before anything was sent


def database_message(fault: Fault) -> str | None:
    """The message of PostgreSQL or its driver behind a fault of `as_faults`, None if there is none.

    For operators only: it names hosts, roles and tables. The faults of `as_faults` do not depend on data, so it contains no
    values.
    """
    error = fault.__cause__
    original = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(original, psycopg.Error) or not isinstance(error, DBAPIError | psycopg.Error):
        return None
    if _fault_of(error) is None:
        return None
    if original.diag.message_primary is not None:
        return original.diag.message_primary
    return " ".join(str(original).split()) if isinstance(original, psycopg.OperationalError) else None


def is_conflict(error: BaseException) -> bool:
    """True for a lost race (serialization, deadlock, lock timeout) that a retry may resolve."""
    return sqlstate(error) in _CONFLICT_STATES


def has_waited(error: BaseException) -> bool:
    """True for a lock timeout: the conflict that has already waited as long as any statement may."""
    return sqlstate(error) == _LOCK_TIMEOUT


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE of an error, or of the error behind a fault; None if there is none."""
    if isinstance(error, Fault):
        return None if error.__cause__ is None else sqlstate(error.__cause__)
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlstate", None)


def _source_file(error: BaseException) -> str | None:
    """The file of PostgreSQL's source that raised an error."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return original.diag.source_file if isinstance(original, psycopg.Error) else None


def _fault_of(error: BaseException) -> Fault | None:
    state = sqlstate(error)
    if isinstance(error, PoolTimeout):
        return _busy(
            "all connections of this process for this use are taken. If that goes on, raise CDP_POOL_API, CDP_POOL_INGEST or "
            "CDP_POOL_WORKER, or see in pg_stat_activity what they wait for"
        )
    if state in _CONFLICT_STATES:
        return _busy(
            f"PostgreSQL answered {state}: another transaction, such as a long import, holds a lock that this one needs"
        )
    if state is None:
        return _fault_of_connection(error)
    if state.startswith(_REFUSED_STATES):
        return _refused()
    if state.startswith(_UNAVAILABLE_STATES):
        reason = next(reason for prefix, reason in _REASONS if state.startswith(prefix))
        return _unavailable(f"PostgreSQL answered {state}: {reason}. Nothing of this transaction was stored.")
    if state == _WITHOUT_STATE and _source_file(error) in _SOURCES_OF_FILES:
        return _unavailable(
            f"PostgreSQL answered {state}: the server cannot write a file. Check its disk, the limits on the size of its files, and its "
            "log. Nothing of this transaction was stored."
        )
    if state == _RIGHTS_MISSING:
        return Fault(
            "database_rights_missing",
            "The database role lacks a right",
            f"PostgreSQL answered {state}. The role in CDP_DATABASE_URL must own its database and everything that cdp created in it: "
            "ALTER DATABASE … OWNER TO …, and REASSIGN OWNED for what another role created.",
            status=500,
        )
    if state == _READ_ONLY:
        return Fault(
            "database_read_only",
            "The database accepts no changes",
            f"PostgreSQL answered {state}. CDP_DATABASE_URL must name the primary server, not a standby, and "
            "default_transaction_read_only must be off.",
            status=503,
            retry_after_seconds=_RETRY_AFTER_SECONDS,
            caller_detail=UNAVAILABLE,
        )
    if state.startswith(_SCHEMA_STATES):
        return Fault(
            "database_schema_differs",
            "The database lacks a table, a column or a function",
            f"PostgreSQL answered {state}. Something was dropped or renamed by other means than migrations, or a newer version of cdp "
            "migrated the database while this one was running. Run the newest version, or restore a backup.",
            status=500,
        )
    if state in _DAMAGED_STATES:
        return Fault(
            "database_damaged",
            "The database is damaged",
            f"PostgreSQL answered {state}: stored data cannot be read. Stop all services, check the server's disk, and restore a backup.",
            status=500,
        )
    return None


def _fault_of_connection(error: BaseException) -> Fault | None:
    """The fault of an error without a SQLSTATE: that of a connection that could not be opened, or was lost."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, psycopg.ProgrammingError) and any(text in str(original) for text in _WRONG_OPTIONS):
        return Fault(
            "wrong_setting",
            "A setting is invalid",
            "CDP_DATABASE_URL contains an option that PostgreSQL's client does not know. Expected: a URL such as "
            "postgresql://user:password@host:5432/database.",
            status=500,
        )
    if not isinstance(error, OperationalError | InterfaceError | psycopg.OperationalError | psycopg.InterfaceError):
        return None
    message = str(original)
    has_answered = any(refusal in message for refusal in _REFUSALS)
    if has_answered and not any(refusal in message for refusal in _TRANSIENT_REFUSALS):
        return _refused()
    return _unavailable(
        "PostgreSQL answered nothing: it is not running, cannot be reached at the address in CDP_DATABASE_URL, or ended the connection. "
        "Nothing of this transaction was stored."
    )


def _busy(reason: str) -> Fault:
    return Fault(
        "database_busy",
        "The database is busy",
        f"{reason[0].upper()}{reason[1:]}. Nothing of this transaction was stored. Try again shortly.",
        status=503,
        retry_after_seconds=_RETRY_AFTER_SECONDS,
        caller_detail=BUSY,
    )


def _unavailable(detail: str) -> Fault:
    return Fault(
        "database_unavailable",
        "The database is unavailable",
        detail,
        status=503,
        retry_after_seconds=_RETRY_AFTER_SECONDS,
        caller_detail=UNAVAILABLE,
    )


def _refused() -> Fault:
    return Fault(
        "database_refused",
        "The database refuses the connection",
        "Check the user, the password and the name of the database in CDP_DATABASE_URL, that the role may log in and connect, and the "
        "server's pg_hba.conf.",
        status=503,
        retry_after_seconds=_RETRY_AFTER_SECONDS,
        caller_detail=UNAVAILABLE,
    )
