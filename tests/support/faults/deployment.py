"""What is put under load and broken: two services on one database and one state store, each a process of its own."""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from cdp.kit.config import Config, read_config
from cdp.postgres.cluster import DATABASE, OWNER
from cdp.postgres.place import SOCKET_NAME, find_place
from cdp.postgres.server import EmbeddedPostgres
from tests.support.commands import Service, Shell
from tests.support.databases import plain_url
from tests.support.faults.disk import SmallDisk
from tests.support.faults.proxy import Proxy
from tests.support.policies import permit_all, written
from tests.support.waits import PATIENCE_SECONDS, until

SERVICES: Final = ("a", "b")
SOURCES: Final = ("shop", "till", "old")
"""The sources that clients send as: of people who only send, who consent and refuse, who are erased."""
SEGMENT: Final = {
    "key": "buyers",
    "name": "Buyers",
    "purpose": "email_marketing",
    "where": 'count("Order Completed") >= 1',
}
_MASTER_KEY: Final = "0123456789abcdef" * 4


@dataclass(slots=True)
class Node:
    """One service: its process, and the settings that it was last started with."""

    name: str
    shell: Shell
    service: Service | None = None
    _running: ExitStack = field(default_factory=ExitStack)

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        """Start it, as its supervisor does again while the database recovers, and wait until it prints its address."""
        shell = Shell(self.shell.home, {**self.shell.settings, **(settings or {})})
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.service = self._running.enter_context(shell.serving())
                return
            except AssertionError as ended:
                if "the database system is starting up" not in str(ended) or time.monotonic() > deadline:
                    raise

    def send(self, number: int) -> None:
        """Send a signal to its process."""
        assert self.service is not None
        self.service.process.send_signal(number)

    def end(self, number: int = signal.SIGKILL) -> None:
        """End its process, by `kill -9` unless another signal is given, and wait for its end."""
        if self.service is not None:
            service, self.service = self.service, None
            service.process.send_signal(number)
            service.process.wait(PATIENCE_SECONDS)
        self._running.close()

    @property
    def url(self) -> str | None:
        """Where it answers; None while it does not run."""
        return self.service.url if self.service is not None else None

    def is_ready(self) -> bool:
        """Whether it says that it is ready."""
        try:
            return self.service is not None and self.service.request("GET", "/readyz").status_code == 200
        except httpx.HTTPError:
            return False


@dataclass(slots=True)
class Deployment:
    """Two services, their database behind a proxy, their state store, and the secrets of their clients."""

    folder: Path
    server: EmbeddedPostgres
    proxy: Proxy
    nodes: dict[str, Node]
    database_disk: SmallDisk
    state_disk: SmallDisk
    keys: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """The state store."""
        return self.state_disk.folder / "store"

    @property
    def shell(self) -> Shell:
        """Commands that go to the database directly, past the proxy."""
        return Shell(self.folder / "operator", _settings(self.folder, self.server.url, self.state))

    @property
    def importer(self) -> Shell:
        """Commands that go to the database through the proxy, as services do."""
        return Shell(self.folder / "importer", self.nodes[SERVICES[0]].shell.settings)

    @property
    def config(self) -> Config:
        """The settings of `shell`."""
        return read_config(self.shell.environment())

    @property
    def degraded(self) -> list[str]:
        """Which faults are injected in a weaker way on this machine, and how."""
        if self.database_disk.is_mounted:
            return []
        return ["full disks, for no file system may be mounted; instead, no file may grow beyond a size"]

    def postmaster(self) -> int:
        """The process of the database server; raises OSError while there is none."""
        place = find_place(self.database_disk.folder / "home")
        assert place is not None
        return int((place.data / "postmaster.pid").read_text().split()[0])

    def await_ready(self) -> None:
        """Wait until every service says that it is ready."""
        for node in self.nodes.values():
            until(node.is_ready, f"the readiness of service {node.name}")


@contextmanager
def deployed() -> Iterator[Deployment]:
    """A deployment with sources, tokens and a segment, both services ready, until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="cdp-faults-"))
    folder.chmod(0o711)
    with ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        disks = [SmallDisk(folder / name) for name in ("database", "state")]
        for disk in disks:
            disk.mount()
            cleanup.callback(disk.unmount)
            disk.folder.chmod(0o711)
        server = EmbeddedPostgres(disks[0].folder / "home")
        cleanup.callback(server.stop)
        server.start()
        proxy = Proxy(_socket_of(server))
        cleanup.callback(proxy.close)
        written(permit_all(), folder / "policies")
        (disks[1].folder / "store").mkdir(mode=0o700)
        url = f"postgresql://{OWNER}:{_password_of(server)}@127.0.0.1:{proxy.port}/{DATABASE}"
        settings = _settings(folder, url, disks[1].folder / "store")
        nodes = {name: Node(name, Shell(folder / name, settings)) for name in SERVICES}
        deployment = Deployment(folder, server, proxy, nodes, disks[0], disks[1])
        for node in nodes.values():
            cleanup.callback(node.end)
            node.start()
        _prepare(deployment)
        yield deployment


def _settings(folder: Path, url: str, state: Path) -> dict[str, str]:
    return {
        "CDP_DATABASE_URL": plain_url(url),
        "CDP_STATE_URL": f"file://{state}",
        "CDP_MASTER_KEY": _MASTER_KEY,
        "CDP_POLICIES": str(folder / "policies"),
        "CDP_ALLOW_TEST_CLOCK": "1",
    }


def _socket_of(server: EmbeddedPostgres) -> Path:
    return Path(httpx.URL(plain_url(server.url)).params["host"]) / SOCKET_NAME


def _password_of(server: EmbeddedPostgres) -> str:
    return httpx.URL(plain_url(server.url)).password


def _prepare(deployment: Deployment) -> None:
    """Create what clients use: sources with their write keys, tokens, the segment."""
    node = deployment.nodes["a"]
    deployment.tokens["admin"] = (node.shell.home / "admin.token").read_text().strip()

    def created(role: str, path: str, body: Mapping[str, Any]) -> Any:
        assert node.service is not None
        headers = {"Authorization": f"Bearer {deployment.tokens[role]}"}
        answer = node.service.request("POST", path, headers=headers, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    for source in SOURCES:
        body = {"name": source, "kind": "server", "jurisdiction": "eu", "scopes": ["ingest", "consent"]}
        deployment.keys[source] = created("admin", "/api/v1/sources", body)["write_key"]
    for role in ("privacy", "marketer"):
        deployment.tokens[role] = created("admin", "/api/v1/tokens", {"name": role, "role": role})["token"]
    created("marketer", "/api/v1/segments", SEGMENT)
    deployment.await_ready()


def await_instant(instant_seconds: float) -> None:
    """Wait until the machine's clock has passed an instant, in seconds since 1970."""
    until(lambda: time.time() > instant_seconds, "an instant")
