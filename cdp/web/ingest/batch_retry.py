"""Storing a batch in one transaction, also when a message in it cannot be processed.

Failures of the store are never counted as invalid messages: they are a fault with Retry-After for all that was to be stored.
"""

import logging
from collections.abc import Sequence
from typing import Final, Protocol

from cdp.accounting.model import Outcome
from cdp.flows.ingest.isolate import isolate, may_be_of_content
from cdp.kit.db_faults import has_waited, is_conflict
from cdp.kit.errors import Fault
from cdp.wire.message import Invalid, Message

_TRIES: Final = 3
_RETRY_STATUSES: Final = (429, 503)
_log = logging.getLogger(__name__)


class BatchProcessor(Protocol):
    """The ingest use case: all messages of a call in one transaction, outcomes in the order of the messages."""

    def process(self, messages: Sequence[Message | Invalid]) -> list[Outcome]: ...

    def check(self, messages: Sequence[Message | Invalid]) -> None:
        """Process a batch and roll it back; raises what processing it would raise."""


def process_with_retry(ingest: BatchProcessor, messages: Sequence[Message | Invalid]) -> list[Outcome | Fault]:
    """The outcome of each message, in the order of the messages.

    Messages that cannot be processed (`cdp.flows.ingest.isolate`) are counted as invalid with the others, in one
    transaction. Where the result is a fault, it has Retry-After, and nothing of that message was stored as far as this
    process can know. A serialization conflict is retried at once; after a lock timeout there is no retry, for others wait.
    """
    try:
        return [*_store(ingest, messages)]
    except Exception as error:  # noqa: BLE001 - whatever fails, the client sends again
        return [_fault_of(error)] * len(messages)


def _store(ingest: BatchProcessor, messages: Sequence[Message | Invalid]) -> list[Outcome]:
    try:
        return _process(ingest, messages)
    except Exception as error:
        if not may_be_of_content(error):
            raise
        _log.exception("batch_failed", extra={"messages": len(messages)})
    isolated = isolate(ingest.check, messages)
    try:
        return _process(ingest, isolated)
    except Exception as error:
        if len(messages) == 1 or not may_be_of_content(error):
            raise
    half = len(messages) // 2  # they fail only together
    return _store(ingest, isolated[:half]) + _store(ingest, isolated[half:])


def _process(ingest: BatchProcessor, messages: Sequence[Message | Invalid]) -> list[Outcome]:
    for left in reversed(range(_TRIES)):
        try:
            outcomes = ingest.process(messages)
        except Exception as error:
            if not left or not is_conflict(error) or has_waited(error):
                raise
        else:
            if len(outcomes) != len(messages):
                raise ValueError("ingest must return one outcome per message")
            return outcomes
    raise AssertionError("the last try returns or raises")


def _fault_of(error: Exception) -> Fault:
    """The fault that is sent. Others than those that ask to come again are for operators: they go to the log."""
    if isinstance(error, Fault):
        if error.status in _RETRY_STATUSES and error.retry_after_seconds is not None:
            return error
        _log.error("ingest_failed", exc_info=error, extra={"code": error.code})
    else:
        _log.error("ingest_failed", exc_info=error)
    return Fault(
        "ingest_failed",
        "Messages cannot be stored right now",
        "Send the request again after the given time. What is stored of it counts once, by the ids of its messages.",
        status=503,
        retry_after_seconds=10,
    )
