"""A topic of a Kafka-compatible broker, read with confluent-kafka.

Where to go on is in our database, not at the broker: each partition begins at the offset that is stored there. Without a group, a process
reads all partitions; the members of a group share them, and also give their offsets to the broker, for tools that show lag.
"""

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from cdp.brokers.address import BrokerAddress
from cdp.brokers.faults import load_client, refused, topic_replaced, unavailable, unknown_queue
from cdp.brokers.model import (
    FETCH_BYTES_MAX,
    FETCH_MESSAGES_MAX,
    HELD_BYTES_MAX,
    BrokerMessage,
    StartOffsets,
    TopicIdentity,
)
from cdp.kit.canonical import sha256
from cdp.kit.errors import Fault

if TYPE_CHECKING:
    from confluent_kafka import Consumer as Client
    from confluent_kafka import KafkaError, Message, TopicPartition

_ANSWER_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 900
"""How long a batch may take before the group gives its partitions to others: longer than a failing store is waited for."""
_ABSENT_SECONDS: Final = 10
"""How long a process may be silent before its partitions are given to others: what follows a kill waits for that."""
_LOOK_SECONDS: Final = 60.0
_OLDEST: Final = -2
_NO_TOPIC_ID: Final = "AAAAAAAAAAAAAAAAAAAAAA"
"""The id that is all zeros, in base64."""
_REFUSED: Final = frozenset(
    {
        "_AUTHENTICATION",
        "_SSL",
        "TOPIC_AUTHORIZATION_FAILED",
        "GROUP_AUTHORIZATION_FAILED",
        "SASL_AUTHENTICATION_FAILED",
    }
)
_UNKNOWN: Final = frozenset({"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"})
_OUT_OF_RANGE: Final = frozenset({"OFFSET_OUT_OF_RANGE", "_AUTO_OFFSET_RESET"})


_Marks = tuple[int, int] | None
"""The oldest offset of a partition, and the one after the newest; None where the client does not know them."""


class KafkaConsumer:
    """Reads one topic, as a member of a group if one is named; see `cdp.brokers.model.Consumer`."""

    def __init__(self, address: BrokerAddress, topic: str, *, group: str, start: StartOffsets) -> None:
        self._kafka = load_client("confluent_kafka", "kafka")
        self._address = address
        self._topic = topic
        self._start = start
        self._failure: Fault | None = None
        self._drained: set[int] = set()
        self._kept: Message | None = None
        self._is_assigned = False
        self._partitions: list[int] = []
        self._group = group
        self._looked_at = time.monotonic()
        of_group = {"group.id": group or "cdp-consume", "enable.auto.commit": bool(group)}
        self._client: Client = self._open(_settings(address) | of_group | {"error_cb": self._note})
        try:
            self._identity = self._identify()
            self._prefix = (
                f"kafka-{sha256(f'{self._identity.cluster_id} {self._identity.topic_id} {topic}'.encode()).hex()[:16]}"
            )
            self._check_offsets()
            if group:
                self._client.subscribe([topic], on_assign=self._assign, on_revoke=self._revoke)
            else:
                places = [self._kafka.TopicPartition(topic, partition) for partition in self._partitions]
                self._assign(self._client, places)
        except BaseException:
            self.close()
            raise

    def fetch(self, wait_seconds: float) -> list[BrokerMessage]:
        """The next messages: at once where some have arrived."""
        found: list[BrokerMessage] = []
        size = 0
        message = self._poll(wait_seconds)
        while message is not None:
            error = message.error()
            if error is not None:
                self._note_partition(error, message)
            else:
                size += len(message.value() or b"")
                if found and size > FETCH_BYTES_MAX:
                    self._kept = message
                    break
                found.append(self._message_of(message))
                self._drained.discard(found[-1].partition or 0)
            if len(found) >= FETCH_MESSAGES_MAX:
                break
            message = self._poll(0)
        if not found:
            self.require_connection()
        self._look_for_partitions()
        return found

    def acknowledge(self, messages: Sequence[BrokerMessage], unread: Collection[int]) -> None:  # noqa: ARG002 - a topic keeps all
        """Show the group how far this is; whether that arrives matters to nobody but people who look at the lag."""
        if not self._group:
            return
        after = {int(message.partition or 0): message.position + 1 for message in messages}
        places = [self._kafka.TopicPartition(self._topic, partition, offset) for partition, offset in after.items()]
        with suppress(self._kafka.KafkaException):  # a partition that another process has now
            self._client.store_offsets(offsets=places)

    def waiting(self) -> int | None:
        """The messages after those that were fetched, of the partitions of this process."""
        total = 0
        with suppress(self._kafka.KafkaException):
            for place in self._client.position(self._client.assignment()):
                marks = cast("_Marks", self._client.get_watermark_offsets(place, cached=True))
                if marks is None or marks[1] < 0 or place.offset < 0:
                    return None
                total += max(0, marks[1] - place.offset)
            return total
        return None

    def is_drained(self) -> bool:
        """Whether every partition of this process was read to its end; without any, there is nothing to read."""
        return self._is_assigned and {place.partition for place in self._client.assignment()} <= self._drained

    def require_connection(self) -> None:
        """Raise the fault with which reading ended, if it did."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Leave the group."""
        with suppress(Exception):
            self._client.close()

    def _open(self, settings: dict[str, Any]) -> "Client":
        try:
            client: Client = self._kafka.Consumer(settings)
        except self._kafka.KafkaException as error:
            raise refused(self._address, _text(error.args[0])) from None
        return client

    def _identify(self) -> TopicIdentity:
        """Find the topic. Faults: `broker_unavailable`, `broker_refused`, `unknown_queue`."""
        try:
            metadata = self._client.list_topics(self._topic, timeout=_ANSWER_SECONDS)
            found = metadata.topics.get(self._topic)
            if found is None or found.error is not None or not found.partitions:
                if found is not None and found.error is not None and found.error.name() not in _UNKNOWN:
                    raise self._kafka.KafkaException(found.error)
                raise unknown_queue(self._topic)
            self._partitions = sorted(found.partitions)
            return TopicIdentity(str(metadata.cluster_id), _topic_id(self._kafka, self._address, self._topic))
        except self._kafka.KafkaException as error:
            self.require_connection()
            raise self._fault_of(error.args[0]) from None

    def _check_offsets(self) -> None:
        """Raise `topic_replaced` and `offsets_expired` before anything is read."""
        for partition, offset in self._start(self._identity, self._partitions).items():
            try:
                place = self._kafka.TopicPartition(self._topic, partition)
                marks = cast("_Marks", self._client.get_watermark_offsets(place, timeout=_ANSWER_SECONDS))
            except self._kafka.KafkaException as error:
                raise self._fault_of(error.args[0]) from None
            if marks is not None and offset > marks[1]:
                raise topic_replaced(self._topic)
            if marks is not None and offset < marks[0]:
                raise _offsets_expired(self._topic)

    def _look_for_partitions(self) -> None:
        """Without a group, nobody says that a topic has more partitions than before: then it is connected to again."""
        if self._group or time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        with suppress(self._kafka.KafkaException):
            found = self._client.list_topics(self._topic, timeout=_ANSWER_SECONDS).topics.get(self._topic)
            if found is not None and len(found.partitions) > len(self._partitions):
                raise unavailable(
                    self._address, "the topic has more partitions than before, which are read from now on"
                )

    def _assign(self, client: "Client", places: "list[TopicPartition]") -> None:
        """Begin in each partition where the store says."""
        try:
            offsets = self._start(self._identity, [place.partition for place in places])
        except Fault as fault:
            self._failure = fault
            offsets = {}
        except Exception:  # noqa: BLE001 - a library calls this: what fails is raised where messages are fetched
            self._failure = unavailable(self._address, "the stored offsets could not be read")
            offsets = {}
        for place in places:
            place.offset = offsets.get(place.partition, _OLDEST)
        self._drained.clear()
        self._is_assigned = True
        client.assign(places)

    def _revoke(self, _client: "Client", _places: "list[TopicPartition]") -> None:
        self._drained.clear()
        self._kept = None

    def _poll(self, seconds: float) -> "Message | None":
        kept, self._kept = self._kept, None
        if kept is not None:
            return kept
        try:
            return self._client.poll(seconds)
        except self._kafka.KafkaException as error:
            raise self._fault_of(error.args[0]) from None

    def _message_of(self, message: "Message") -> BrokerMessage:
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        kind, milliseconds = message.timestamp()
        put_at = None
        if kind != self._kafka.TIMESTAMP_NOT_AVAILABLE:
            with suppress(ValueError, OverflowError, OSError):
                put_at = datetime.fromtimestamp(milliseconds / 1000, UTC)
        return BrokerMessage(message.value() or b"", f"{self._prefix}-{partition}-{offset}", offset, put_at, partition)

    def _note(self, error: "KafkaError") -> None:
        """Called by the client for what it cannot mend by itself."""
        if error.name() in _REFUSED or error.name() == "_ALL_BROKERS_DOWN" or error.fatal():
            self._failure = self._failure or self._fault_of(error)

    def _note_partition(self, error: "KafkaError", message: "Message") -> None:
        if error.name() == "_PARTITION_EOF":
            self._drained.add(message.partition() or 0)
            return
        raise self._fault_of(error)

    def _fault_of(self, error: "KafkaError") -> Fault:
        name = error.name()
        if name in _REFUSED:
            return refused(self._address, _text(error))
        if name in _UNKNOWN:
            return unknown_queue(self._topic)
        if name in _OUT_OF_RANGE:
            return _offsets_expired(self._topic)
        return unavailable(self._address, _text(error))


def _offsets_expired(topic: str) -> Fault:
    return Fault(
        "offsets_expired",
        "The topic does not have the messages that come next",
        f"{topic!r}: the broker deleted messages before they were read, or lost some that were. Go on with the oldest message that there "
        "is: --reset. Messages that are stored count once.",
        status=409,
    )


def _topic_id(kafka: Any, address: BrokerAddress, topic: str) -> str | None:
    """The id of a topic, which differs when it is created again; None from a broker that has none."""
    try:
        client = load_client("confluent_kafka.admin", "kafka").AdminClient(_settings(address))
        described = client.describe_topics(kafka.TopicCollection([topic]), request_timeout=_ANSWER_SECONDS)
        topic_id = str(described[topic].result(_ANSWER_SECONDS).topic_id)
    except Exception:  # noqa: BLE001 - brokers before 2.8, and others that speak the protocol, cannot say
        return None
    return topic_id if topic_id != _NO_TOPIC_ID else None


def _text(error: "KafkaError") -> str:
    """The name of an error; its text may contain what was sent."""
    return f"the client reports {error.name()}"


def _settings(address: BrokerAddress) -> dict[str, Any]:
    """The settings of the client: bounds on memory, TLS that checks the name of the host, and no offsets but ours."""
    tls = address.tls
    found: dict[str, Any] = {
        "bootstrap.servers": str(address),
        "client.id": "cdp-consume",
        "security.protocol": _protocol(address),
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "allow.auto.create.topics": False,
        "session.timeout.ms": _ABSENT_SECONDS * 1000,
        "max.poll.interval.ms": _IDLE_SECONDS * 1000,
        "queued.max.messages.kbytes": HELD_BYTES_MAX // 1024,
        "fetch.max.bytes": HELD_BYTES_MAX,
        "log_level": 0,
    }
    if address.is_encrypted:
        found["ssl.endpoint.identification.algorithm"] = "https"
        files = {"ssl.ca.location": tls.authorities, "ssl.certificate.location": tls.chain, "ssl.key.location": tls.key}
        found |= {name: str(file) for name, file in files.items() if file is not None}
    if address.name is not None:
        found |= {
            "sasl.mechanisms": address.mechanism,
            "sasl.username": address.name,
            "sasl.password": address.password or "",
        }
    return found


def _protocol(address: BrokerAddress) -> str:
    if address.name is not None:
        return "SASL_SSL" if address.is_encrypted else "SASL_PLAINTEXT"
    return "SSL" if address.is_encrypted else "PLAINTEXT"
