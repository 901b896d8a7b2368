"""Which messages of a batch cannot be processed, whatever else is well.

A message ends as invalid only on proof: alone it fails twice, in a way that content can cause, and between the two an
ordinary message of the same source passes. Whatever else fails is a failure of the store, and says nothing about a message.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

from cdp.kit.db_faults import is_of_database, is_of_values
from cdp.kit.ids import encode_id, new_id
from cdp.wire.consents import may_state_consent, without_content
from cdp.wire.limits import InvalidReason
from cdp.wire.message import Invalid, Message

# What wrong content raises in Python. `TimeoutError`, `PermissionError`, `MemoryError` and the like are none of these.
_OF_CONTENT: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
_CONTROL_EVENT: Final = "Control"


class Check(Protocol):
    """Processes a batch and rolls it back; raises what processing it would raise."""

    def __call__(self, messages: Sequence[Message | Invalid]) -> None: ...


def may_be_of_content(error: BaseException) -> bool:
    """Whether content of a message may have caused an error; never for files, connections, locks, time limits or memory."""
    if is_of_database(error):
        return is_of_values(error)
    return isinstance(error, _OF_CONTENT)


def isolate(check: Check, messages: Sequence[Message | Invalid]) -> list[Message | Invalid]:
    """The batch, with each message that cannot be processed as an `Invalid` that keeps its refusals; nothing is stored.

    It equals `messages` if none fails alone: then they fail only together, or what failed has passed. Raises what is
    no failure of one message.
    """
    if not _failure(check, messages):
        return list(messages)
    if len(messages) == 1:
        return [_rejected(check, messages[0])]
    half = len(messages) // 2
    return isolate(check, messages[:half]) + isolate(check, messages[half:])


def _rejected(check: Check, message: Message | Invalid) -> Message | Invalid:
    """A message that has failed alone: as an `Invalid`, unless it passes the second time. Raises if the store is not well."""
    content = message.consents if isinstance(message, Invalid) else message
    if content is None:  # only counted: its failure is that of the store
        check([message])
        return message
    check([_control(content)])
    if not _failure(check, [message]):
        return message
    rejected = Invalid(message.source, InvalidReason.UNPROCESSABLE.value, delivery=message.delivery)
    if not may_state_consent(content):
        return rejected
    reduced = replace(rejected, consents=without_content(content))
    if _failure(check, [reduced]):
        return replace(rejected, reason=InvalidReason.CONSENT_UNPROCESSABLE.value)
    return reduced


def _failure(check: Check, messages: Sequence[Message | Invalid]) -> bool:
    """Whether a check fails in a way that content can cause; raises any other failure."""
    try:
        check(messages)
    except Exception as error:
        if not may_be_of_content(error):
            raise
        return True
    return False


def _control(message: Message) -> Message:
    """An ordinary message of the same source and instant, about nobody."""
    name = encode_id("msg", new_id())
    body = {"type": "track", "event": _CONTROL_EVENT, "anonymousId": name, "messageId": name}
    return Message(message.source, "track", name, message.received_at, message.received_at, body, b"")
