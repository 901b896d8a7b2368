"""A filled database of an earlier revision: restored, and upgraded, once per worker; each test works on a copy."""

import gzip
import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from cdp.flows.context import Context
from cdp.flows.operations.startup import open_context
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from cdp.schema.migrate import migrate
from tests.support.databases import EMPTY, create_database, plain_url, temporary_database
from tests.support.policies import shipped
from tests.support.source_tree import ROOT

UPGRADE: Final = ROOT / "tests" / "data" / "upgrade"


@pytest.fixture(scope="session")
def known() -> dict[str, Any]:
    """What was true of the filled database before the upgrade."""
    document: dict[str, Any] = json.loads((UPGRADE / "known.json").read_text())
    return document


@pytest.fixture(scope="session")
def erasure_receipt() -> dict[str, Any]:
    """The receipt that Bob got for his erasure before the upgrade."""
    document: dict[str, Any] = json.loads((UPGRADE / "receipt.json").read_text())
    return document


@pytest.fixture(scope="session")
def restored_template(server: EmbeddedPostgres) -> str:
    """The name of a database that holds the dump as it was written."""
    url = create_database(server, "restored", EMPTY)
    script = gzip.decompress((UPGRADE / "cdp-0001.sql.gz").read_bytes()).decode()
    with psycopg.connect(plain_url(url)) as connection:
        connection.execute(script)
    return "restored"


@pytest.fixture(scope="session")
def upgraded_template(server: EmbeddedPostgres, restored_template: str) -> str:
    """The name of the restored database after every later migration."""
    migrate(create_database(server, "upgraded", restored_template))
    return "upgraded"


@pytest.fixture
def restored_url(server: EmbeddedPostgres, restored_template: str) -> Iterator[str]:
    """The URL of a copy of the database before the upgrade."""
    with temporary_database(server, restored_template) as url:
        yield url


@pytest.fixture
def upgraded_url(server: EmbeddedPostgres, upgraded_template: str) -> Iterator[str]:
    """The URL of a copy of the database after the upgrade."""
    with temporary_database(server, upgraded_template) as url:
        yield url


@pytest.fixture
def upgraded_home(tmp_path: Path) -> Path:
    """A copy of the CDP_HOME of the database, with the modes that the vault requires and git does not keep."""
    home = tmp_path / "home"
    shutil.copytree(UPGRADE / "home", home)
    (home / "keys").chmod(0o700)
    for file in (home / "keys").iterdir():
        file.chmod(0o600)
    return home


@pytest.fixture
def context(upgraded_url: str, upgraded_home: Path, known: dict[str, Any]) -> Iterator[Context]:
    """The upgraded store, opened at the instant at which it was filled last."""
    clock = TestClock(datetime.fromisoformat(known["instants"]["end"]))
    database = Database(upgraded_url)
    try:
        yield open_context(database, shipped(), clock, home=upgraded_home)
    finally:
        database.close()
