"""Landing a batch: one transaction when all is well, fewer messages a transaction when one of them is poison."""

import logging
from collections.abc import Sequence
from typing import Final, Protocol

from cdp.accounting.model import Outcome
from cdp.kit.db import has_waited, is_conflict
from cdp.kit.errors import Fault
from cdp.wire.limits import InvalidReason
from cdp.wire.message import Invalid, Message

_TRIES: Final = 3
_log = logging.getLogger(__name__)


class BatchProcessor(Protocol):
    """The ingest flow: every message of a call lands in one transaction, outcomes in the order given."""

    def process(self, messages: Sequence[Message | Invalid]) -> list[Outcome]: ...


def process_with_retry(ingest: BatchProcessor, messages: Sequence[Message | Invalid]) -> list[Outcome | Fault]:
    """What became of each message, in the order given.

    A message that the flow cannot process is accounted as invalid and the others land. Where a fault stands, nothing
    of that message was stored; a fault ends the work, so that a broken database is not asked for every message. A lost
    race is run again at once; whoever waited for a lock in vain is sent away, for others wait behind it.
    """
    try:
        return _taken(ingest, messages)
    except Fault as fault:
        return [fault] * len(messages)
    except Exception:  # noqa: BLE001 - whatever one message causes must not fail the others
        _log.exception("batch_failed", extra={"messages": len(messages)})
    if len(messages) == 1:
        return [_given_up(ingest, messages[0])]
    half = len(messages) // 2
    first = process_with_retry(ingest, messages[:half])
    stop = next((each for each in first if isinstance(each, Fault)), None)
    rest: list[Outcome | Fault] = (
        [stop] * (len(messages) - half) if stop else process_with_retry(ingest, messages[half:])
    )
    return first + rest


def _taken(ingest: BatchProcessor, messages: Sequence[Message | Invalid]) -> list[Outcome | Fault]:
    for left in reversed(range(_TRIES)):
        try:
            outcomes = ingest.process(messages)
        except Exception as error:
            if not left or not is_conflict(error) or has_waited(error):
                raise
        else:
            if len(outcomes) != len(messages):
                raise ValueError("the flow must give one outcome a message")
            return [*outcomes]
    raise AssertionError("the last try returns or raises")


def _given_up(ingest: BatchProcessor, message: Message | Invalid) -> Outcome | Fault:
    """Account for a message that cannot be processed; a fault when not even that works."""
    try:
        return ingest.process([Invalid(message.source, InvalidReason.UNPROCESSABLE.value)])[0]
    except Fault as fault:
        return fault
    except Exception:  # noqa: BLE001 - this is no longer about the message
        _log.exception("invalid_message_failed")
        return _fault("ingest_failed", "Messages cannot be taken right now", 10)


def _fault(code: str, title: str, retry_after_seconds: int) -> Fault:
    return Fault(
        code,
        title,
        "Nothing of this message was stored; send it again shortly.",
        status=503,
        retry_after_seconds=retry_after_seconds,
    )
