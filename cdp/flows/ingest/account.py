"""Counting what became of every message of a batch, and the notices about them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from cdp.accounting.model import OTHER, NoticeKind, Outcome, PropertyNotice, PropertyNoticeKind, State
from cdp.accounting.store import messages as accounting_store
from cdp.accounting.store import notices as notice_store
from cdp.behavior.model import Classified
from cdp.behavior.nearest import NearestEvents
from cdp.flows.ingest.stages import DecidedMessage, ReadMessage, ScreenedMessage
from cdp.identity.model import Ignored
from cdp.kit.db import Transaction
from cdp.schema.ids import SourceId
from cdp.wire.timestamps import is_from_the_future

_IGNORED: Final[Mapping[Ignored, NoticeKind]] = {
    Ignored.UNKNOWN_TYPE: NoticeKind.UNKNOWN_IDENTIFIER_TYPE,
    Ignored.BLOCKED: NoticeKind.BLOCKED_IDENTIFIER,
    Ignored.MALFORMED: NoticeKind.MALFORMED_IDENTIFIER,
    Ignored.TOO_LONG: NoticeKind.MALFORMED_IDENTIFIER,
    Ignored.TOO_MANY: NoticeKind.BLOCKED_IDENTIFIER,
}


@dataclass(frozen=True, slots=True)
class BatchOutcomes:
    """The outcome of each message by its position, and the positions of duplicates with another body than the stored.

    `left_out` counts by source and type the identifiers that messages named and that a higher word has. The messages are counted
    in the hour of `counted_at`; those that `is_reopened` waited for an answer were counted before.
    """

    counted_at: datetime
    is_reopened: bool = False

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    other_bodies: set[int] = field(default_factory=set)
    left_out: Counter[tuple[SourceId, str]] = field(default_factory=Counter)

    def add(self, messages: Iterable[ScreenedMessage | DecidedMessage]) -> None:
        """Set the outcomes of these messages; those without one are left as they are."""
        outcomes = self.outcomes
        for message in messages:
            if message.outcome is not None:
                outcomes[message.read.position] = message.outcome
                if message.is_other_body:
                    outcomes[message.read.position] = replace(message.outcome, is_other_body=True)
                    self.other_bodies.add(message.read.position)


def account(
    tx: Transaction,
    messages: Sequence[ReadMessage],
    ended: BatchOutcomes,
    *,
    invalid: Mapping[tuple[SourceId, str], int],
    nearest: NearestEvents,
    now: datetime,
) -> Counter[str]:
    """Count every message and every notice; gives the number of messages by state.

    `invalid` counts the messages that could not be read, by source and reason. `nearest` finds what an unknown event
    probably means.
    """
    counts: Counter[tuple[SourceId, State, str]] = Counter()
    for (source_id, reason), number in invalid.items():
        counts[source_id, State.INVALID, reason] += number
    for message in messages:
        outcome = ended.outcomes[message.position]
        counts[message.message.source.source_id, outcome.state, outcome.reason] += 1
    hour = accounting_store.hour_of(now)
    accounting_store.add_accounting(tx, hour, counts)
    notices = _notices(messages, ended)
    notices.update(_unknown_events(messages, nearest))
    notice_store.add_notices(tx, hour, notices)
    notice_store.add_property_notices(tx, hour, _property_notices(messages, ended))
    states: Counter[str] = Counter()
    for (_, state, _), number in counts.items():
        states[state.value] += number
    return states


def _notices(messages: Sequence[ReadMessage], ended: BatchOutcomes) -> Counter[tuple[SourceId, NoticeKind, str]]:
    notices = Counter(
        {
            (source_id, NoticeKind.LEFT_OUT_IDENTIFIER, type_): count
            for (source_id, type_), count in ended.left_out.items()
        }
    )
    for read in messages:
        message, classified, signals = read.message, read.classified, read.signals
        source_id = message.source.source_id
        if message.occurred_at >= message.received_at and is_from_the_future(message.body, message.received_at):
            notices[source_id, NoticeKind.FUTURE_TIME, OTHER] += 1
        if read.position in ended.other_bodies:
            notices[source_id, NoticeKind.DUPLICATE_OTHER_BODY, OTHER] += 1
        for reason, type_ in read.ignored:
            notices[source_id, _IGNORED[reason], type_] += 1
        for signal in signals.malformed:
            notices[source_id, NoticeKind.MALFORMED_SIGNAL, signal] += 1
        for signal in signals.unknown:
            notices[source_id, NoticeKind.UNKNOWN_PURPOSE, signal] += 1
        for type_ in signals.unrecorded:
            notices[source_id, NoticeKind.UNRECORDED_REFUSAL, type_] += 1
        if classified.unknown:
            notices[source_id, NoticeKind.UNKNOWN_PROPERTY, OTHER] += classified.unknown
    return notices


def _unknown_events(
    messages: Sequence[ReadMessage], nearest: NearestEvents
) -> Counter[tuple[SourceId, NoticeKind, str]]:
    """The unknown events by the nearest planned name; the name that was sent is not kept, it may be personal data."""
    unknown = [read.message for read in messages if read.classified.name is None]
    planned = nearest.of(message.body.get("event") for message in unknown) if unknown else {}
    return Counter(
        (
            message.source.source_id,
            NoticeKind.UNKNOWN_EVENT,
            planned.get(name, OTHER) if isinstance(name := message.body.get("event"), str) else OTHER,
        )
        for message in unknown
    )


def _property_notices(
    messages: Sequence[ReadMessage], ended: BatchOutcomes
) -> Counter[tuple[SourceId, PropertyNotice]]:
    """The planned properties that were sent with another type, or not at all; each message counts once."""
    notices: Counter[tuple[SourceId, PropertyNotice]] = Counter()
    for read in messages:
        classified = read.classified
        if not classified.mistyped and not classified.missing:
            continue
        if ended.outcomes[read.position].state is not State.DUPLICATE:
            source_id = read.message.source.source_id
            for notice in property_notices_of(classified):
                notices[source_id, notice] += 1
    return notices


def property_notices_of(classified: Classified) -> Iterator[PropertyNotice]:
    """What is wrong with the planned properties of one message."""
    event = classified.name or OTHER
    for entry in dict.fromkeys(classified.mistyped):
        yield PropertyNotice(PropertyNoticeKind.MISTYPED, event, *entry)
    for entry in classified.missing:
        yield PropertyNotice(PropertyNoticeKind.MISSING, event, *entry)
