"""Storing a batch in one transaction, or in smaller ones when a message in it cannot be processed."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

from cdp.accounting.model import Outcome
from cdp.kit.db_faults import has_waited, is_conflict
from cdp.kit.errors import Fault
from cdp.wire.consents import may_state_consent, without_content
from cdp.wire.limits import InvalidReason
from cdp.wire.message import Invalid, Message

_TRIES: Final = 3
_log = logging.getLogger(__name__)


class BatchProcessor(Protocol):
    """The ingest use case: all messages of a call in one transaction, outcomes in the order of the messages."""

    def process(self, messages: Sequence[Message | Invalid]) -> list[Outcome]: ...


def process_with_retry(ingest: BatchProcessor, messages: Sequence[Message | Invalid]) -> list[Outcome | Fault]:
    """The outcome of each message, in the order of the messages.

    A message that cannot be processed is counted as invalid and the others are stored. Where the result is a fault,
    nothing of that message was stored; a fault ends the processing, so that a broken database is not tried for every
    message. A serialization conflict is retried at once; after a lock timeout there is no retry, for others wait.
    """
    try:
        return _process(ingest, messages)
    except Fault as fault:
        return [fault] * len(messages)
    except Exception:  # noqa: BLE001 - one message must not fail the others
        _log.exception("batch_failed", extra={"messages": len(messages)})
    if len(messages) == 1:
        return [_reject(ingest, messages[0])]
    half = len(messages) // 2
    first = process_with_retry(ingest, messages[:half])
    stop = next((outcome for outcome in first if isinstance(outcome, Fault)), None)
    rest: list[Outcome | Fault] = (
        [stop] * (len(messages) - half) if stop else process_with_retry(ingest, messages[half:])
    )
    return first + rest


def _process(ingest: BatchProcessor, messages: Sequence[Message | Invalid]) -> list[Outcome | Fault]:
    for left in reversed(range(_TRIES)):
        try:
            outcomes = ingest.process(messages)
        except Exception as error:
            if not left or not is_conflict(error) or has_waited(error):
                raise
        else:
            if len(outcomes) != len(messages):
                raise ValueError("ingest must return one outcome per message")
            return [*outcomes]
    raise AssertionError("the last try returns or raises")


def _reject(ingest: BatchProcessor, message: Message | Invalid) -> Outcome | Fault:
    """Count a message that cannot be processed as invalid, and keep its refusals; a fault when even that fails."""
    consents = message.consents if isinstance(message, Invalid) else message
    rejected = Invalid(message.source, InvalidReason.UNPROCESSABLE.value)
    if consents is not None and may_state_consent(consents):
        try:
            return ingest.process([replace(rejected, consents=without_content(consents))])[0]
        except Fault as fault:
            return fault
        except Exception:  # noqa: BLE001 - the message is counted without them
            _log.exception("consents_of_invalid_message_failed")
    try:
        return ingest.process([rejected])[0]
    except Fault as fault:
        return fault
    except Exception:  # noqa: BLE001 - this is no longer about the message
        _log.exception("invalid_message_failed")
        return _fault("ingest_failed", "Messages cannot be stored right now", 10)


def _fault(code: str, title: str, retry_after_seconds: int) -> Fault:
    return Fault(
        code,
        title,
        "Nothing of this message was stored; send it again shortly.",
        status=503,
        retry_after_seconds=retry_after_seconds,
    )
