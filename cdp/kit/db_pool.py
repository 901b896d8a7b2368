"""Connections to one database under one bound, shared by pools that open them with different logins.

SQLAlchemy bounds each pool by itself. Here pools share a bound: one that needs a connection while all are open closes the
one of another pool that has been idle longest, so that together they never have more open than the bound.
"""

import threading
from typing import Any, Final

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, Pool

_WAITING_PER_CONNECTION: Final = 4


class ConnectionBound:
    """At most `connections` that are open at once, in all pools that have this bound. Safe between threads.

    `callers` is how many have or wait for one.
    """

    def __init__(self, connections: int) -> None:
        self.connections = connections
        self.callers = 0
        self._open = 0
        self._idle: list[tuple[Pool, ConnectionPoolEntry]] = []  # the one that has been idle longest is first
        self._changed = threading.Condition()

    @property
    def callers_max(self) -> int:
        """How many may have or wait for a connection."""
        return self.connections * (1 + _WAITING_PER_CONNECTION)

    def enter(self) -> None:
        """Count a caller. Raises PoolTimeout at once where too many wait: each of them holds a thread."""
        with self._changed:
            if self.callers >= self.callers_max:
                raise PoolTimeout("too many wait for a connection")
            self.callers += 1

    def leave(self) -> None:
        """Count a caller no longer."""
        with self._changed:
            self.callers -= 1

    def take(self, pool: Pool, seconds: float) -> ConnectionPoolEntry | None:
        """An idle connection of a pool, or None: then the pool may open one, and must `end` it if that fails.

        Raises PoolTimeout if all are in use for so many seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._idle or self._open < self.connections, seconds):
                raise PoolTimeout("all connections are in use")
            for at in reversed(range(len(self._idle))):
                if self._idle[at][0] is pool:
                    return self._idle.pop(at)[1]
            if self._open < self.connections:
                self._open += 1
                return None
            _, longest_idle = self._idle.pop(0)
        longest_idle.close()
        return None

    def give_back(self, pool: Pool, connection: ConnectionPoolEntry) -> None:
        """Keep a connection for the next caller."""
        with self._changed:
            self._idle.append((pool, connection))
            self._changed.notify()

    def end(self) -> None:
        """Count a connection no longer that could not be opened, or was closed."""
        with self._changed:
            self._open -= 1
            self._changed.notify()

    def close_idle(self, pool: Pool) -> None:
        """Close the connections of a pool that nobody uses."""
        with self._changed:
            closed = [connection for owner, connection in self._idle if owner is pool]
            self._idle = [(owner, connection) for owner, connection in self._idle if owner is not pool]
            self._open -= len(closed)
            self._changed.notify(len(closed))
        for connection in closed:
            connection.close()


class BoundedPool(Pool):
    """A pool of SQLAlchemy whose connections count under a `ConnectionBound`; they are opened when they are needed."""

    def __init__(self, creator: Any, bound: ConnectionBound, timeout: float = 30.0, **options: Any) -> None:
        super().__init__(creator, **options)
        self._options = options
        self._bound = bound
        self._timeout = timeout

    def _do_get(self) -> ConnectionPoolEntry:
        idle = self._bound.take(self, self._timeout)
        if idle is not None:
            return idle
        try:
            return self._create_connection()
        except BaseException:
            self._bound.end()
            raise

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        self._bound.give_back(self, record)

    def recreate(self) -> "BoundedPool":
        """A new pool under the same bound, in place of this one."""
        options = {**self._options, "_dispatch": self.dispatch, "dialect": self._dialect}
        return self.__class__(self._creator, bound=self._bound, timeout=self._timeout, **options)

    def dispose(self) -> None:
        """Close what nobody uses."""
        self._bound.close_idle(self)

    def status(self) -> str:
        """How many use the bound."""
        return f"{self._bound.callers} of {self._bound.callers_max}"
