"""The database: one place that opens transactions, one place that commits.

Stores receive a `Transaction`. Small statements are SQLAlchemy Core; set-based work is static SQL
with array parameters (`bulk`); mass writes are binary COPY (`copy`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.pq import Format
from sqlalchemy import Connection, Engine, Executable, create_engine, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from cdp.kit.errors import Fault
from cdp.kit.pg_binary.arrays import ARRAY_TYPES, Packed
from cdp.kit.pg_binary.packing import packed

Row = tuple[Any, ...]

_RETRY_AFTER_SECONDS = 2
_UNAVAILABLE_STATES = ("08", "53", "57", "58", "25P03", "25P04")
_LOCK_TIMEOUT = "55P03"
_CONFLICT_STATES = ("40001", "40P01", _LOCK_TIMEOUT)
_LOCK_SECONDS = 30.0


class _PackedDumper(Dumper):
    """Hands a packed array to the server as it is."""

    format = Format.BINARY

    def dump(self, obj: Packed) -> bytes:
        return bytes(obj)


def _register_packed() -> None:
    for kind, array_oid in ARRAY_TYPES.items():
        psycopg.adapters.register_dumper(kind, type(kind.__name__, (_PackedDumper,), {"oid": array_oid}))


_register_packed()


class Transaction:
    """One open transaction; it ends with the block that opened it.

    `statements` counts what was sent to the server, so that a test can hold a batch to a constant. With
    `one_instant` all of them see what was there at the first, which may be gone by now.
    """

    def __init__(self, connection: Connection, *, one_instant: bool = False) -> None:
        self.connection = connection
        self.one_instant = one_instant
        self.statements = 0
        self._afterwards: list[Callable[[], None]] = []
        self._undoing: list[Callable[[], None]] = []
        self._cursor: psycopg.Cursor[Row] | None = None

    @property
    def raw(self) -> "psycopg.Connection[Row]":
        """The psycopg connection under this transaction, for bulk work."""
        driver = self.connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        return driver

    def execute_core(self, statement: Executable, params: Mapping[str, Any] | None = None) -> int:
        """Execute and return the number of rows touched."""
        self.statements += 1
        return self.connection.execute(statement, params or {}).rowcount

    def all(self, statement: Executable, params: Mapping[str, Any] | None = None) -> list[Row]:
        """Every row, as plain tuples."""
        self.statements += 1
        return [tuple(row) for row in self.connection.execute(statement, params or {})]

    def one_or_none(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Row | None:
        """The only row, or None; more than one is an error."""
        self.statements += 1
        row = self.connection.execute(statement, params or {}).one_or_none()
        return None if row is None else tuple(row)

    def scalar(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row, or None."""
        self.statements += 1
        return self.connection.execute(statement, params or {}).scalar()

    def execute(
        self, query: LiteralString | sql.SQL | sql.Composed, params: Mapping[str, Any] | None = None
    ) -> list[Row]:
        """Run static set-based SQL with `%(name)s` parameters; lists travel packed (`cdp.kit.pg_binary.packing`).

        Returns the rows when the statement gives any, otherwise an empty list.
        """
        self.statements += 1
        cursor = self._cursor
        if cursor is None:  # one for all, because it remembers how types are packed
            cursor = self._cursor = self.raw.cursor(binary=True)
        cursor.execute(query, None if params is None else packed(params))
        return cursor.fetchall() if cursor.description is not None else []

    def copy(self, table: str, columns: Sequence[str], types: Sequence[str], *, rows: Iterable[Sequence[Any]]) -> None:
        """Append rows with binary COPY; `table` is `schema.name`, `types` are PostgreSQL type names."""
        self.statements += 1
        with self.raw.cursor() as cursor, cursor.copy(_copying(table, columns)) as stream:
            stream.set_types(list(types))
            for row in rows:
                stream.write_row(row)

    def copy_bytes(self, table: str, columns: Sequence[str], pieces: Iterable[bytes]) -> None:
        """Append what is packed already in the form of binary COPY, head and end included (`cdp.kit.pg_binary.copying`)."""
        self.statements += 1
        with self.raw.cursor() as cursor, cursor.copy(_copying(table, columns)) as stream:
            for piece in pieces:
                stream.write(piece)

    def on_commit(self, call: Callable[[], None]) -> None:
        """Have something done once the transaction is on disk, such as remembering what it wrote; never before."""
        self._afterwards.append(call)

    def on_rollback(self, call: Callable[[], None]) -> None:
        """Have something done if the transaction does not get to disk, such as forgetting what it would have written."""
        self._undoing.append(call)

    def committed(self) -> None:
        """To be called once the transaction is on disk."""
        self._end(self._afterwards)

    def rolled_back(self) -> None:
        """To be called once the transaction will never be on disk."""
        self._end(self._undoing)

    def _end(self, calls: list[Callable[[], None]]) -> None:
        # What is to be done holds this transaction: left in place, only a collection of garbage would end both.
        self._afterwards, self._undoing = [], []
        for call in calls:
            call()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part that may fail and be taken back without losing the transaction."""
        with self.connection.begin_nested():
            yield

    @contextmanager
    def dry_run(self) -> Iterator[None]:
        """A part that is looked at and then taken back: for dry runs that must tell the exact truth."""
        nested = self.connection.begin_nested()
        try:
            yield
        finally:
            nested.rollback()


class Database:
    """A pool of connections to one PostgreSQL database.

    `statements` is the number of statements of all finished transactions.
    """

    def __init__(
        self, url: str, *, pool_size: int = 8, application_name: str = "cdp", lock_seconds: float = _LOCK_SECONDS
    ) -> None:
        self.url = url
        self.statements = 0
        self.engine: Engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=4,
            pool_pre_ping=True,
            pool_timeout=10,
            connect_args={"application_name": application_name, "connect_timeout": 5},
        )
        event.listen(self.engine, "connect", lambda connection, _: _prepare_session(connection, lock_seconds))

    @contextmanager
    def transaction(self, *, read_only: bool = False, one_instant: bool = False) -> Iterator[Transaction]:
        """Open a transaction; commit when the block ends well, roll back otherwise.

        A reading transaction sees one instant throughout; so does one that writes, such as the log of its reading, if
        asked to. An unreachable, restarting or full database becomes the fault `database_unavailable`, a lost race and
        a lock that stays taken `database_busy` (both 503, with Retry-After).
        """
        with _told(), self.engine.connect() as connection:
            if read_only:
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            elif one_instant:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            outer = connection.begin()
            tx = Transaction(connection, one_instant=read_only or one_instant)
            try:
                try:
                    yield tx
                except BaseException:
                    outer.rollback()
                    raise
                finally:
                    self.statements += tx.statements
                outer.commit()
            except BaseException:
                tx.rolled_back()
                raise
            tx.committed()

    @contextmanager
    def outside(self) -> "Iterator[psycopg.Connection[Row]]":
        """A connection outside any transaction, for what PostgreSQL does nowhere else; the same faults as in one."""
        with _told(), self.engine.connect() as connection:
            raw = connection.execution_options(isolation_level="AUTOCOMMIT").connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            yield raw

    def is_ready(self) -> bool:
        """True when the database answers."""
        try:
            with self.transaction(read_only=True) as tx:
                return bool(tx.scalar(text("SELECT 1")) == 1)
        except Fault:
            return False

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


@contextmanager
def _told() -> Iterator[None]:
    """Tell what became of the database as the fault that it is."""
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        fault = _fault_of(error)
        if fault is None:
            raise
        raise fault from error


def is_conflict(error: BaseException) -> bool:
    """True for a lost race (serialization, deadlock, lock timeout) that a retry settles."""
    return _sqlstate(error) in _CONFLICT_STATES


def has_waited(error: BaseException) -> bool:
    """True for the conflict that took its time: a lock that stayed taken for as long as anybody waits for one."""
    return _sqlstate(error) == _LOCK_TIMEOUT


def _copying(table: str, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(*table.split(".")), sql.SQL(", ").join(map(sql.Identifier, columns))
    )


def _prepare_session(connection: "psycopg.Connection[Row]", lock_seconds: float) -> None:
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", (f"{lock_seconds * 1000:.0f}ms",))
        cursor.execute("SET idle_in_transaction_session_timeout = '60s'")
    connection.autocommit = False


def _sqlstate(error: BaseException) -> str | None:
    if isinstance(error, Fault):
        return None if error.__cause__ is None else _sqlstate(error.__cause__)
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlstate", None)


def _fault_of(error: DBAPIError | psycopg.Error) -> Fault | None:
    state = _sqlstate(error)
    is_lost = isinstance(error, OperationalError | InterfaceError | psycopg.OperationalError | psycopg.InterfaceError)
    if state in _CONFLICT_STATES:
        return Fault(
            "database_busy",
            "The database is busy",
            f"PostgreSQL answered {state}: somebody else holds what this needs, such as a long import. Nothing of this "
            "request was stored. Try again shortly.",
            status=503,
            retry_after_seconds=_RETRY_AFTER_SECONDS,
        )
    if (state is None and is_lost) or (state is not None and state.startswith(_UNAVAILABLE_STATES)):
        return Fault(
            "database_unavailable",
            "The database cannot take work right now",
            f"PostgreSQL answered {state or 'nothing'}; nothing of this request was stored. Try again shortly.",
            status=503,
            retry_after_seconds=_RETRY_AFTER_SECONDS,
        )
    return None
