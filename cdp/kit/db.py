"""The database: the only place that opens transactions and the only place that commits.

Stores receive a `Transaction`. Fixed statements are text SQL with array parameters (`execute`); statements that are
computed are SQLAlchemy Core (`execute_core`, `all`, `one_or_none`, `scalar`); mass writes are binary COPY (`copy`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.pq import Format
from sqlalchemy import Connection, Engine, Executable, RootTransaction, create_engine, event

from cdp.kit.clock import Clock
from cdp.kit.db_faults import as_faults
from cdp.kit.db_pool import BoundedPool, ConnectionBound
from cdp.kit.pg_binary.arrays import ARRAY_TYPES, Packed
from cdp.kit.pg_binary.packing import packed

Row = tuple[Any, ...]

APPLICATION: Final = "cdp"
"""What connections call themselves in pg_stat_activity, followed by `-` and their use where there are several."""

_LOCK_SECONDS = 30.0
_WAIT_SECONDS = 5.0
# A connection to a server that disappeared without a word ends within about a minute, instead of after hours.
_SILENCE: dict[str, int] = {
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


class _PackedDumper(Dumper):
    """Sends a packed array to the server unchanged."""

    format = Format.BINARY

    def dump(self, obj: Packed) -> bytes:
        return bytes(obj)


def _register_packed() -> None:
    for kind, array_oid in ARRAY_TYPES.items():
        psycopg.adapters.register_dumper(kind, type(kind.__name__, (_PackedDumper,), {"oid": array_oid}))


_register_packed()


class Transaction:
    """One open transaction; it ends with the block that opened it.

    `statements` is the number of statements sent, so that tests can hold a batch to a constant number. With
    `one_instant` all statements see the snapshot of the first, which may be out of date by now. `clock` is that of the
    service.
    """

    def __init__(self, connection: Connection, *, one_instant: bool = False, clock: Clock | None = None) -> None:
        self.connection = connection
        self.clock = clock
        self.one_instant = one_instant
        self.statements = 0
        self._commit_calls: list[Callable[[], None]] = []
        self._rollback_calls: list[Callable[[], None]] = []
        self._cursor: psycopg.Cursor[Row] | None = None

    @property
    def raw(self) -> "psycopg.Connection[Row]":
        """The psycopg connection under this transaction."""
        driver = self.connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        return driver

    def execute_core(self, statement: Executable, params: Mapping[str, Any] | None = None) -> int:
        """Run a Core statement; returns the number of rows affected."""
        self.statements += 1
        return self.connection.execute(statement, params or {}).rowcount

    def all(self, statement: Executable, params: Mapping[str, Any] | None = None) -> list[Row]:
        """All rows of a Core statement, as plain tuples."""
        self.statements += 1
        return [tuple(row) for row in self.connection.execute(statement, params or {})]

    def one_or_none(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Row | None:
        """The only row of a Core statement, or None; raises MultipleResultsFound when there are several."""
        self.statements += 1
        row = self.connection.execute(statement, params or {}).one_or_none()
        return None if row is None else tuple(row)

    def scalar(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row of a Core statement, or None."""
        self.statements += 1
        return self.connection.execute(statement, params or {}).scalar()

    def execute(
        self,
        query: LiteralString | sql.SQL | sql.Composed,
        params: Mapping[str, Any] | None = None,
        *,
        has_custom_plan: bool = False,
    ) -> list[Row]:
        """Run text SQL with `%(name)s` parameters; lists are sent packed (`cdp.kit.pg_binary.packing`).

        A statement with a custom plan is planned for these values and today's tables, each time that it runs.
        Returns the rows, an empty list for a statement that returns none.
        """
        self.statements += 1
        cursor = self._cursor
        if cursor is None:  # one for all statements, because it caches how types are dumped
            cursor = self._cursor = self.raw.cursor(binary=True)
        cursor.execute(query, None if params is None else packed(params), prepare=False if has_custom_plan else None)
        return cursor.fetchall() if cursor.description is not None else []

    def copy(self, table: str, columns: Sequence[str], types: Sequence[str], *, rows: Iterable[Sequence[Any]]) -> None:
        """Append rows with binary COPY; `table` is `schema.name`, `types` are PostgreSQL type names."""
        self.statements += 1
        with self.raw.cursor() as cursor, cursor.copy(_copying(table, columns)) as stream:
            stream.set_types(list(types))
            for row in rows:
                stream.write_row(row)

    def copy_bytes(self, table: str, columns: Sequence[str], pieces: Iterable[bytes]) -> None:
        """Append rows that are packed for binary COPY, header and trailer included (`cdp.kit.pg_binary.copying`)."""
        self.statements += 1
        with self.raw.cursor() as cursor, cursor.copy(_copying(table, columns)) as stream:
            for piece in pieces:
                stream.write(piece)

    def on_commit(self, call: Callable[[], None]) -> None:
        """Call a function once the transaction is committed, such as one that caches what it wrote; never before."""
        self._commit_calls.append(call)

    def on_rollback(self, call: Callable[[], None]) -> None:
        """Call a function if the transaction is not committed, such as one that evicts what it would have written."""
        self._rollback_calls.append(call)

    def committed(self) -> None:
        """Make the calls of `on_commit`. For `Database`, once the transaction is committed."""
        self._end(self._commit_calls)

    def rolled_back(self) -> None:
        """Make the calls of `on_rollback`. For `Database`, once the transaction will never be committed."""
        self._end(self._rollback_calls)

    def _end(self, calls: list[Callable[[], None]]) -> None:
        # The calls refer to this transaction: kept here, they would form a cycle that only the garbage collector frees.
        self._commit_calls, self._rollback_calls = [], []
        for call in calls:
            call()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part that may fail and be rolled back without losing the transaction."""
        with self.connection.begin_nested():
            yield

    @contextmanager
    def dry_run(self) -> Iterator[None]:
        """A part whose effects are read and then rolled back: for dry runs that must report exactly what would happen."""
        nested = self.connection.begin_nested()
        try:
            yield
        finally:
            nested.rollback()


class Database:
    """A pool of at most `pool_size` connections to one PostgreSQL database, opened when they are needed.

    With a `bound`, several databases share its connections. A caller that finds none waits up to `wait_seconds` for one, unless
    four times as many as there are connections wait already: then, as after the wait, the fault is `database_busy`. `statements`
    is the number of statements of all finished transactions. `clock` is the clock of the service, once its context is open.
    `owner` is the same database for what only the owner of the store may do: this one, unless it is that of a part.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 12,
        application_name: str = APPLICATION,
        lock_seconds: float = _LOCK_SECONDS,
        wait_seconds: float = _WAIT_SECONDS,
        owner: "Database | None" = None,
        bound: ConnectionBound | None = None,
    ) -> None:
        self.url = url
        self._owner = owner
        self.name = application_name
        self.statements = 0
        self.clock: Clock | None = None
        self._bound = ConnectionBound(pool_size) if bound is None else bound
        self.engine: Engine = create_engine(
            url,
            poolclass=BoundedPool,
            bound=self._bound,
            pool_pre_ping=True,
            pool_timeout=wait_seconds,
            connect_args={"application_name": application_name, "connect_timeout": 5, **_SILENCE},
        )
        event.listen(self.engine, "connect", lambda connection, _: _prepare_session(connection, lock_seconds))

    @property
    def owner(self) -> "Database":
        """The same database with the rights of the owner of the store."""
        return self if self._owner is None else self._owner

    @property
    def pool_size(self) -> int:
        """How many connections there may be, together with those that share them."""
        return self._bound.connections

    @property
    def callers(self) -> int:
        """How many have or wait for a connection, together with those that share them."""
        return self._bound.callers

    @property
    def callers_max(self) -> int:
        """How many may have or wait for a connection."""
        return self._bound.callers_max

    @contextmanager
    def transaction(self, *, read_only: bool = False, one_instant: bool = False) -> Iterator[Transaction]:
        """Open a transaction; commit when the block completes, roll back when it raises.

        All statements of a read-only transaction see one snapshot; with `one_instant` so do those of a transaction
        that also writes. An unreachable, restarting or full database becomes the fault `database_unavailable`; a
        serialization failure, a deadlock and a lock timeout become `database_busy` (both 503, with Retry-After);
        `cdp.kit.db_faults` has the others.
        """
        with as_faults(), self._connected() as connection:
            if read_only:
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            elif one_instant:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            outer = connection.begin()
            tx = Transaction(connection, one_instant=read_only or one_instant, clock=self.clock)
            try:
                try:
                    yield tx
                except BaseException:
                    outer.rollback()
                    raise
                finally:
                    self.statements += tx.statements
                _commit(outer, connection)
            except BaseException:
                tx.rolled_back()
                raise
            tx.committed()

    @contextmanager
    def outside(self) -> "Iterator[psycopg.Connection[Row]]":
        """A connection outside any transaction, for commands that PostgreSQL runs only there; same faults as `transaction`."""
        with as_faults(), self._connected() as connection:
            raw = connection.execution_options(isolation_level="AUTOCOMMIT").connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            yield raw

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """A connection of the pool. Raises PoolTimeout."""
        self._bound.enter()
        try:
            with self.engine.connect() as connection:
                yield connection
        finally:
            self._bound.leave()


def _commit(transaction: RootTransaction, connection: Connection) -> None:
    try:
        transaction.commit()
    except BaseException:
        connection.invalidate()  # whether the server committed is unknown, and so is the state of the connection
        raise


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
