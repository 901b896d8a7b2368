"""Connecting to a broker by its address."""

from cdp.brokers.address import BrokerAddress
from cdp.brokers.amqp import AmqpConsumer
from cdp.brokers.kafka import KafkaConsumer
from cdp.brokers.model import Consumer, StartOffsets


def connect(address: BrokerAddress, queue: str, *, group: str, start: StartOffsets) -> Consumer:
    """A connection to a queue, or to a topic, as a member of a group if one is named, from the offsets of `start`.

    Faults: `broker_unavailable`, `broker_refused`, `unknown_queue`, `client_missing`, those of `start`.
    """
    if address.protocol == "amqp":
        return AmqpConsumer(address, queue)
    return KafkaConsumer(address, queue, group=group, start=start)
