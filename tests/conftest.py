"""What every test may ask for: a home folder, and a fresh, migrated database on a real PostgreSQL.

Each pytest worker has a server of its own, made from the programs in the wheel; `CDP_TEST_POSTGRES=16` chooses the other
version. The migrations run once per worker, into a template; each test that asks for a database gets a clone of it.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from cdp.schema.migrate import migrate
from tests.support.databases import EMPTY, create_database, temporary_database
from tests.support.folders import FOLDERS, PREFIX
from tests.support.rabbitmq import RabbitMq, rabbitmq

# Folders whose tests say something about PostgreSQL itself: CI runs them on both versions.
_ON_BOTH_VERSIONS = ("store", "flows", "migrations")
_HAS_NODE = all(shutil.which(program) is not None for program in ("node", "npm"))

# The same examples in every run, so that a red run means a change; `make test-long` looks further and elsewhere.
# How long an example takes says something about the machine only.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", _PATIENT, max_examples=60, derandomize=True)
settings.register_profile("long", _PATIENT, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# All that the tests and the clients they start talk to is on this machine, whatever proxy leads out of it.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what runs on both versions of PostgreSQL by the folder it stands in; leave out what Node would have to run."""
    root = Path(__file__).parent
    for item in items:
        if item.path.relative_to(root).parts[0] in _ON_BOTH_VERSIONS:
            item.add_marker(pytest.mark.postgres)
    if not _HAS_NODE:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("node") is not None])
        items[:] = [item for item in items if item.get_closest_marker("node") is None]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it where a machine does not run everything."""
    if not _HAS_NODE:
        terminalreporter.write_line("Tests with Node clients did not run: they need node and npm.")


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty CDP_HOME with a short path.

    Root's is passable, so that the account of an embedded server reaches its data in it and nothing stays elsewhere.
    """
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=FOLDERS, ignore_cleanup_errors=True) as folder:
        if os.geteuid() == 0:
            Path(folder).chmod(0o711)
        home = Path(folder) / "home"
        home.mkdir()
        home.chmod(0o711 if os.geteuid() == 0 else 0o700)  # whatever the umask takes away
        yield home


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL of the version under test; it does not wait for the disk."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=FOLDERS))
    if os.geteuid() == 0:
        folder.chmod(0o711)
    version = os.environ.get("CDP_TEST_POSTGRES", "18")
    if version not in ("18", "16"):
        raise pytest.UsageError(f"CDP_TEST_POSTGRES is {version!r}; it must be 18 or 16")
    server = EmbeddedPostgres(folder / "home", version="16" if version == "16" else "18", durable=False)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template(server: EmbeddedPostgres) -> str:
    """The name of a database with every migration applied."""
    migrate(create_database(server, "migrated", EMPTY))
    return "migrated"


@pytest.fixture
def database_url(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    """The URL of a migrated database that only this test uses."""
    with temporary_database(server, template) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database that only this test uses."""
    database = Database(database_url)
    try:
        yield database
    finally:
        database.close()


@pytest.fixture(scope="session")
def rabbit() -> Iterator[RabbitMq]:
    """A running RabbitMQ, for tests that give their queues names of their own and do not stop it."""
    with rabbitmq() as broker:
        yield broker
