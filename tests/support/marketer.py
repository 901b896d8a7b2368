"""A marketer's database login, made as docs/reference/consent.md tells an administrator to."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
from psycopg import errors, sql

from cdp.consent.store import projection as projection_store
from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from tests.support.databases import plain_url
from tests.support.messages import consent_context
from tests.support.people import ADA, BOB
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline
from tests.support.source_tree import ROOT

LOGIN: Final = "marla"
PASSWORD: Final = "only-for-this-test"
Login = psycopg.Connection[tuple[Any, ...]]


def statements_of_the_page(database: str) -> list[str]:
    """What the reference tells an administrator to run for a marketer's login."""
    page = (ROOT / "docs/reference/consent.md").read_text()
    (block,) = re.findall(r"```sql\n(-- for a marketer.*?)```", page, re.DOTALL)
    text = re.sub(r"--.*", "", block).replace("your_login", LOGIN).replace("your_database", database)
    text = text.replace("owner_of_cdp", "cdp")
    return [statement.strip() for statement in text.split(";") if statement.strip()]


@contextmanager
def marketer_login(server: EmbeddedPostgres, database: str) -> Iterator[str]:
    """The connection string of a login that may read the projections of a database, until the block ends."""
    admin = plain_url(server.url_for("cdp_admin", database))
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {LOGIN}")
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(LOGIN), PASSWORD))
        for statement in statements_of_the_page(database):
            connection.execute(statement)
    parts = psycopg.conninfo.conninfo_to_dict(admin) | {"user": LOGIN, "password": PASSWORD}
    try:
        yield psycopg.conninfo.make_conninfo(**parts)  # type: ignore[arg-type]
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [LOGIN])
            connection.execute(f"DROP OWNED BY {LOGIN}")
            connection.execute(f"DROP ROLE {LOGIN}")


def attempt(login: Login, query: LiteralString) -> str:
    """What kind of error a statement meets, or that it met none."""
    try:
        with login.transaction():
            login.execute(query)
    except errors.ActiveSqlTransaction:  # it runs outside of transactions only
        try:
            login.execute(query)
        except errors.Error as error:
            return type(error).__name__
    except errors.Error as error:
        return type(error).__name__
    return "done"


def people_for_readers(database: Database, folder: Path) -> RequestPipeline:
    """A store with Ada and Bob, who permit everything, and that the role of marketers may read."""
    rights = open_request_pipeline(database, permit_all(), folder)
    everything = consent_context(personalization=True, email_marketing=True, advertising=True)
    rights.pipeline.send(*({**body, "context": everything} for body in (ADA, BOB)))
    with database.transaction() as tx:
        assert projection_store.grant_reading(tx, permit_all().purposes_read_by("marketer"))
    return rights
