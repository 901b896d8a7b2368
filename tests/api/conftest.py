"""A whole service for the tests of a file: a database of its own, the doors on a real port, a token for every role."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from tests.support.policies import shipped
from tests.support.service import RunningService, serve_application


@pytest.fixture(scope="module")
def service(server: EmbeddedPostgres, template: str, request: pytest.FixtureRequest) -> Iterator[RunningService]:
    """The doors under the shipped policy; what one test leaves behind, the next one of the file finds."""
    name = f"doors_{request.module.__name__.rpartition('.')[2]}"
    administrator = server.url_for("cdp_admin", "postgres").replace("+psycopg", "")
    home = Path(tempfile.mkdtemp(prefix="cdp-doors-"))
    with psycopg.connect(administrator, autocommit=True) as connection:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER cdp")
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        database = Database(server.url_for("cdp", name))
        try:
            with serve_application(database, home, shipped()) as service:
                yield service
        finally:
            database.close()
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            shutil.rmtree(home)
