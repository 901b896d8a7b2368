"""Values of brokers: a message as it arrives, where a topic was read to, and what every consumer can do."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

FETCH_MESSAGES_MAX: Final = 500
"""Messages of a broker in one transaction."""
FETCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of messages in one transaction, but for the first message."""
HELD_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of messages that a consumer reads ahead."""


@dataclass(frozen=True, slots=True)
class BrokerMessage:
    """One message of a broker.

    `message_id` is the same whenever the broker delivers it again. `position` is its delivery tag or, in a `partition` of a
    topic, its offset.
    """

    body: bytes
    message_id: str
    position: int
    put_at: datetime | None = None
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """What tells a topic from another one of the same name, as far as the cluster states it."""

    cluster_id: str
    topic_id: str | None


StartOffsets = Callable[[TopicIdentity, Sequence[int]], Mapping[int, int]]
"""The next offset of each of these partitions, for those that were read before. Raises a fault for another topic."""


class Consumer(Protocol):
    """A connection to one queue or topic. What fails raises the fault `broker_unavailable`, after which it must be closed."""

    def fetch(self, wait_seconds: float) -> list[BrokerMessage]:
        """The next messages, in their order; waits for the first of them only, and not longer than this."""

    def acknowledge(self, messages: Sequence[BrokerMessage], unread: Collection[int]) -> None:
        """The store has what these messages state; `unread` are the positions of those of which nothing could be read."""

    def waiting(self) -> int | None:
        """How many messages the broker has that were not fetched, None where that is not known."""

    def is_drained(self) -> bool:
        """Whether everything that the broker has was fetched."""

    def require_connection(self) -> None:
        """Raise the fault `broker_unavailable` if the connection was lost."""

    def close(self) -> None:
        """End the connection; what was not acknowledged stays with the broker. Never raises."""
