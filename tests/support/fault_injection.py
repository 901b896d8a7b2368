"""Failures at the n-th call of a path: of its files, its connection, its statements, its commit."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout

Raise = Callable[[tuple[Any, ...]], None]
"""Raises a failure for the arguments of a call, the first of which is a cursor or a connection where there is one."""


def disk_full(_arguments: tuple[Any, ...]) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_memory(_arguments: tuple[Any, ...]) -> None:
    raise MemoryError


def time_limit(_arguments: tuple[Any, ...]) -> None:
    raise psycopg.errors.QueryCanceled("canceling statement due to statement timeout")


def pool_exhausted(_arguments: tuple[Any, ...]) -> None:
    raise PoolTimeout("QueuePool limit reached")


def no_thread(_arguments: tuple[Any, ...]) -> None:
    raise RuntimeError("can't start new thread")


def odd_value(_arguments: tuple[Any, ...]) -> None:
    raise ValueError("of no message")


def cut(arguments: tuple[Any, ...]) -> None:
    """Cut the connection under a call, as a network or a server that ends does."""
    owner = arguments[0] if arguments else None
    connection = owner.connection if isinstance(owner, psycopg.Cursor) else owner
    if isinstance(connection, psycopg.Connection):
        connection.close()
    raise psycopg.OperationalError("server closed the connection unexpectedly")


FAILURES: dict[str, Raise] = {
    "disk full": disk_full,
    "no memory": no_memory,
    "time limit": time_limit,
    "pool exhausted": pool_exhausted,
    "no thread": no_thread,
    "odd value": odd_value,
    "connection cut": cut,
}

# What a path calls of the world outside: (owner, name, whether the failure comes after the call took effect).
_POINTS: tuple[tuple[Any, str, bool], ...] = (
    (Engine, "connect", False),
    (psycopg.Cursor, "execute", False),
    (psycopg.Cursor, "execute", True),
    (psycopg.Copy, "write", False),
    (psycopg.Copy, "write_row", False),
    (psycopg.Connection, "commit", False),
    (psycopg.Connection, "commit", True),
    (os, "open", False),
    (os, "fsync", False),
    (os, "fsync", True),
    (Path, "open", False),
)


@dataclass(slots=True)
class Injection:
    """Fails the `at`-th call, and with `keeps_failing` all after it; counts the calls. `at` 0 fails none."""

    at: int = 0
    failure: Raise = disk_full
    keeps_failing: bool = False
    calls: int = 0
    names: list[str] = field(default_factory=list)

    def note(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Count one call; raises if it is to fail."""
        self.calls += 1
        self.names.append(name)
        if self.at and (self.calls == self.at or (self.keeps_failing and self.calls > self.at)):
            self.failure(arguments)


@contextmanager
def injected(injection: Injection) -> Iterator[Injection]:
    """Pass every call to the world outside by the injection, until the block ends."""
    originals = [(owner, name, owner.__dict__[name]) for owner, name, _ in _POINTS]
    try:
        for owner, name, is_after in _POINTS:
            setattr(owner, name, _wrapped(injection, getattr(owner, name), name, is_after=is_after))
        yield injection
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _wrapped(injection: Injection, call: Any, name: str, *, is_after: bool) -> Any:
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if is_after:
            result = call(*arguments, **named)
            injection.note(f"after {name}", arguments)
            return result
        injection.note(name, arguments)
        return call(*arguments, **named)

    return wrapped
