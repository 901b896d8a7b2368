"""A real RabbitMQ: a node of its own, with its own folder, cookie, ports and name server, as an ordinary process."""

import logging
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pika
import pytest

from tests.support.folders import FOLDERS, PREFIX
from tests.support.ports import unused_ports
from tests.support.tls import make_authority
from tests.support.waits import PATIENCE_SECONDS, until

logging.getLogger("pika").setLevel(logging.CRITICAL)  # a broker that does not answer yet is no news here
_SERVER: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_NAME: Final = "cdp"
PASSWORD: Final = "hunter2"
_CONFIGURATION: Final = """\
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.cacertfile = {folder}/ca.pem
ssl_options.certfile = {folder}/server.pem
ssl_options.keyfile = {folder}/server.key
default_user = ada
default_pass = hunter2
loopback_users = none
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
log.console = false
log.file.level = warning
"""


@dataclass(slots=True)
class RabbitMq:
    """A broker in a folder; it can be killed and started again, and keeps its queues."""

    folder: Path
    port: int
    name_port: int
    distribution_port: int
    tls_port: int
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def tls_url(self) -> str:
        """The URL with TLS; `authorities` signs for its name."""
        return f"amqps://ada:{PASSWORD}@localhost:{self.tls_port}"

    @property
    def authorities(self) -> Path:
        """Who signs for the broker."""
        return self.folder / "ca.pem"

    @property
    def url(self) -> str:
        """The URL with the login of the broker."""
        return f"amqp://ada:{PASSWORD}@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it accepts connections."""
        settings = {
            "HOME": str(self.folder),
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self.name_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"{_NAME}@localhost",
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_BASE": str(self.folder),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": str(self.folder / "log" / "node.log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
        }
        (self.folder / "plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text(
            _CONFIGURATION.format(port=self.port, tls_port=self.tls_port, folder=self.folder)
        )
        if not self.authorities.exists():
            make_authority(self.folder)
        names = ["epmd", "-address", "127.0.0.1", "-port", str(self.name_port)]
        log = (self.folder / "output").open("ab")
        for command in (names, [str(_SERVER)]):
            self.processes.append(
                subprocess.Popen(command, env=settings, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)
            )
        until(lambda: self.processes[-1].poll() is not None or self._answers(), "the start of RabbitMQ")
        assert self.processes[-1].poll() is None, (self.folder / "output").read_text()

    def kill(self) -> None:
        """End it with `kill -9`, as a machine that fails would."""
        for process in reversed(self.processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_SECONDS)
        self.processes.clear()

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """A channel that confirms what is published."""
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
        finally:
            with suppress(Exception):
                connection.close()

    def declare(self, queue: str, **arguments: Any) -> str:
        """Create a durable queue with these arguments; returns its name."""
        with self.channel() as channel:
            channel.queue_declare(queue, durable=True, arguments=arguments or None)
        return queue

    def publish(self, queue: str, bodies: Sequence[bytes | tuple[bytes, Mapping[str, Any]]]) -> None:
        """Publish persistent messages, with properties where they are given."""
        with self.channel() as channel:
            for entry in bodies:
                body, given = entry if isinstance(entry, tuple) else (entry, {})
                channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2, **given))

    def depth(self, queue: str) -> int:
        """How many messages no consumer holds."""
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    def _answers(self) -> bool:
        with suppress(Exception):
            pika.BlockingConnection(pika.URLParameters(self.url + "?socket_timeout=2&stack_timeout=5")).close()
            return True
        return False


@contextmanager
def rabbitmq() -> Iterator[RabbitMq]:
    """Run a broker. Skips the test where RabbitMQ is not installed, but fails it where `.ci/run` has installed it."""
    if not _SERVER.exists() or shutil.which("epmd") is None:
        missing = "RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)"
        assert not os.environ.get("RABBITMQ_INSTALLED"), missing
        pytest.skip(missing)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=FOLDERS))
    port, name_port, distribution_port, tls_port = unused_ports(4)
    broker = RabbitMq(folder, port, name_port, distribution_port, tls_port)
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()
        shutil.rmtree(folder, ignore_errors=True)
