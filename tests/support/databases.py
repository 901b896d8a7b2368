"""Databases of the test server: created from a template, and dropped when the test that used them ends."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from cdp.kit.db import Database, Transaction
from cdp.postgres.server import EmbeddedPostgres

EMPTY: Final = "cdp"
"""The template of a database without any schema."""

_numbers = itertools.count(1)


def administer(server: EmbeddedPostgres, statement: LiteralString, *names: str) -> None:
    """Run one statement as the administrator, outside a transaction; `{}` stands for the names."""
    with psycopg.connect(plain_url(server.url_for("cdp_admin", "postgres")), autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def create_database(server: EmbeddedPostgres, name: str, template: str) -> str:
    """The URL, for the owner, of a new database that starts as a copy of the template."""
    administer(server, "CREATE DATABASE {} TEMPLATE {} OWNER cdp STRATEGY file_copy", name, template)
    return server.url_for("cdp", name)


@contextmanager
def temporary_database(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    """The URL of a copy of the template that exists until the block ends."""
    name = f"test_{next(_numbers)}"
    try:
        yield create_database(server, name, template)
    finally:
        administer(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


class _Undone(Exception):
    """Ends a transaction without a commit."""


@contextmanager
def undone(database: Database) -> Iterator[Transaction]:
    """A transaction of which nothing stays."""
    with suppress(_Undone), database.transaction() as tx:
        yield tx
        raise _Undone


def plain_url(url: str) -> str:
    """The URL as psycopg reads it, without SQLAlchemy's name of the driver."""
    return url.replace("+psycopg", "")
