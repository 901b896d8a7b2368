"""A running service for the tests of one file: a database of its own, a real port, and a token for every role."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdp.access.model import Role
from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from tests.support.browser import Browser
from tests.support.databases import temporary_database
from tests.support.policies import shipped
from tests.support.service import RunningService, serve_application


@pytest.fixture(scope="module")
def service(server: EmbeddedPostgres, template: str) -> Iterator[RunningService]:
    """A service under the shipped policy, shared by the tests of a file: each finds what the earlier ones stored."""
    with temporary_database(server, template) as url, tempfile.TemporaryDirectory(prefix="cdp-service-") as home:
        database = Database(url)
        try:
            with serve_application(database, Path(home), shipped()) as service:
                yield service
        finally:
            database.close()


@pytest.fixture
def browsers(service: RunningService) -> Iterator[dict[Role, Browser]]:
    """A browser for each role, signed in."""
    found = {}
    for role in Role:
        browser = found[role] = Browser(service)
        browser.open("/console", 401)
        browser.send("/console/enter", token=service.tokens[role.value])
    yield found
    for browser in found.values():
        browser.client.close()
