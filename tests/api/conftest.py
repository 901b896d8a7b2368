"""A running service for the tests of one file: a database of its own, a real port, and a token for every role."""

from collections.abc import Iterator

import pytest

from cdp.access.model import Role
from cdp.postgres.server import EmbeddedPostgres
from cdp.web.connections.limits import ConnectionLimits
from cdp.web.connections.protocol import protocol_with
from cdp.web.connections.table import ConnectionTable
from tests.support.browser import Browser
from tests.support.service import RunningService, served


@pytest.fixture(scope="module")
def service(server: EmbeddedPostgres, template: str) -> Iterator[RunningService]:
    """A service under the shipped policy, shared by the tests of a file: each finds what the earlier ones stored."""
    with served(server, template) as service:
        yield service


@pytest.fixture(scope="module")
def bounded_service(server: EmbeddedPostgres, template: str) -> Iterator[RunningService]:
    """The same behind the bounds of connections, as `cdp serve` runs it; what is half-sent ends soon."""
    limits = ConnectionLimits(head_seconds=0.5, grace_seconds=0.3, body_seconds=0.6, sweep_seconds=0.05)
    with served(server, template, http=protocol_with(ConnectionTable(limits))) as service:
        yield service


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
