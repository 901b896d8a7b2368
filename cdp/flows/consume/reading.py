"""From the messages of a broker to the messages of ingest in them. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cdp.brokers.model import BrokerMessage
from cdp.sources.model import Source
from cdp.wire.frame import Frame, Queued
from cdp.wire.message import Invalid, Message
from cdp.wire.queued import read_queued

Content = tuple[Message | Invalid, ...]
ReadContent = Callable[[BrokerMessage, datetime], list[Message | Invalid]]


@dataclass(frozen=True, slots=True)
class QueuedBatch:
    """Messages of a broker, and beside each what is in it."""

    fetched: tuple[BrokerMessage, ...]
    contents: tuple[Content, ...]

    @property
    def messages(self) -> list[Message | Invalid]:
        """All that is in them, in order."""
        return [message for content in self.contents for message in content]

    @property
    def unread(self) -> frozenset[int]:
        """The positions of those that may contain a refusal which cannot be read, or of which nothing can be read."""
        return frozenset(
            message.position
            for message, content in zip(self.fetched, self.contents, strict=True)
            if any(isinstance(part, Invalid) and part.is_unread for part in content)
            or (content and all(isinstance(part, Invalid) and part.consents is None for part in content))
        )

    def with_messages(self, messages: Sequence[Message | Invalid]) -> "QueuedBatch":
        """The same with other messages in the place of its own."""
        rest = iter(messages)
        return QueuedBatch(self.fetched, tuple(tuple(next(rest) for _ in content) for content in self.contents))

    def halves(self) -> Iterator["QueuedBatch"]:
        """The first and the second half of the messages of the broker."""
        half = len(self.fetched) // 2
        yield QueuedBatch(self.fetched[:half], self.contents[:half])
        yield QueuedBatch(self.fetched[half:], self.contents[half:])


def read_batch_of(fetched: Sequence[BrokerMessage], read: ReadContent, now: datetime) -> QueuedBatch:
    """What is in messages of a broker, received now."""
    return QueuedBatch(tuple(fetched), tuple(tuple(read(message, now)) for message in fetched))


def segment_reader(source: Source) -> ReadContent:
    """Reads messages of a broker that are messages of the Segment spec, or batches of them."""

    def read(message: BrokerMessage, now: datetime) -> list[Message | Invalid]:
        return read_queued(message.body, Frame(source, now), Queued(message.message_id, message.put_at))

    return read
