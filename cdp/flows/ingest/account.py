"""Counting what became of every message of a batch, and the notices about them."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple

from cdp.accounting.model import OTHER, NoticeKind, Outcome, PropertyNotice, PropertyNoticeKind, RecentMessage, State
from cdp.accounting.store import messages as accounting_store
from cdp.accounting.store import notices as notice_store
from cdp.accounting.store import recent as recent_store
from cdp.behavior.model import Classified
from cdp.behavior.nearest import NearestEvents
from cdp.flows.ingest.stages import DecidedMessage, ReadMessage, ScreenedMessage
from cdp.identity.model import Ignored
from cdp.kit.db import Transaction
from cdp.schema.ids import SourceId
from cdp.wire.reused_context import has_left_over_traits
from cdp.wire.segment_spec import KINDS
from cdp.wire.timestamps import is_from_the_future

_RECENT_MAX: Final = 20
"""So many of the messages of each source in one transaction are kept for people who look for faults of a sender."""
_IGNORED: Final[Mapping[Ignored, NoticeKind]] = {
    Ignored.UNKNOWN_TYPE: NoticeKind.UNKNOWN_IDENTIFIER_TYPE,
    Ignored.BLOCKED: NoticeKind.BLOCKED_IDENTIFIER,
    Ignored.MALFORMED: NoticeKind.MALFORMED_IDENTIFIER,
    Ignored.TOO_LONG: NoticeKind.MALFORMED_IDENTIFIER,
    Ignored.TOO_MANY: NoticeKind.BLOCKED_IDENTIFIER,
}


class UnreadMessage(NamedTuple):
    """A message that could not be read: its source, why, and the name of the webhook delivery that brought it, if one did."""

    source_id: SourceId
    reason: str
    delivery: str


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
    invalid: Mapping[UnreadMessage, int],
    nearest: NearestEvents,
    now: datetime,
) -> Counter[str]:
    """Count every message and every notice; gives the number of messages by state.

    `invalid` counts the messages that could not be read. `nearest` finds what an unknown event
    probably means.
    """
    counts: Counter[tuple[SourceId, State, str]] = Counter()
    for (source_id, reason, _delivery), number in invalid.items():
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
    recent_store.add_recent(tx, _recent(messages, ended, invalid=invalid, now=now))
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
        is_other_body = read.position in ended.other_bodies
        if is_other_body or _may_be_odd(read):
            source_id = read.message.source.source_id
            for kind, subject, count in _notices_of(read, is_other_body=is_other_body):
                notices[source_id, kind, subject] += count
    return notices


def _may_be_odd(read: ReadMessage) -> bool:
    """Whether there can be a notice about a message: of most there is none, and this is cheaper than to look for them."""
    message, signals = read.message, read.signals
    return bool(
        message.occurred_at >= message.received_at
        or read.ignored
        or read.classified.unknown
        or signals.malformed
        or signals.unknown
        or signals.unrecorded
        or has_left_over_traits(message.kind, message.body)
    )


def _notices_of(read: ReadMessage, *, is_other_body: bool) -> Iterator[tuple[NoticeKind, str, int]]:
    """The notices about one message but that its event is unknown: the kind, a name from the policy or `other`, the number."""
    message, signals = read.message, read.signals
    if message.occurred_at >= message.received_at and is_from_the_future(message.body, message.received_at):
        yield NoticeKind.FUTURE_TIME, OTHER, 1
    if is_other_body:
        yield NoticeKind.DUPLICATE_OTHER_BODY, OTHER, 1
    for reason, type_ in read.ignored:
        yield _IGNORED[reason], type_, 1
    for signal in signals.malformed:
        yield NoticeKind.MALFORMED_SIGNAL, signal, 1
    for signal in signals.unknown:
        yield NoticeKind.UNKNOWN_PURPOSE, signal, 1
    for type_ in signals.unrecorded:
        yield NoticeKind.UNRECORDED_REFUSAL, type_, 1
    if has_left_over_traits(message.kind, message.body):
        yield NoticeKind.LEFT_OVER_TRAITS, OTHER, 1
    if read.classified.unknown:
        yield NoticeKind.UNKNOWN_PROPERTY, OTHER, read.classified.unknown


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


def _recent(
    messages: Sequence[ReadMessage],
    ended: BatchOutcomes,
    *,
    invalid: Mapping[UnreadMessage, int],
    now: datetime,
) -> list[RecentMessage]:
    """The latest messages of each source; of those that could not be read, all that is known is why."""
    by_source: dict[SourceId, deque[RecentMessage]] = defaultdict(lambda: deque(maxlen=_RECENT_MAX))
    for (source_id, reason, delivery), number in invalid.items():
        unread = RecentMessage(source_id, now, OTHER, OTHER, State.INVALID, reason, (), delivery)
        by_source[source_id].extend([unread] * min(number, _RECENT_MAX))
    latest: dict[SourceId, deque[ReadMessage]] = defaultdict(lambda: deque(maxlen=_RECENT_MAX))
    for read in messages:
        latest[read.message.source.source_id].append(read)
    for source_id, last in latest.items():
        by_source[source_id].extend(_recent_message(read, ended) for read in last)
    return [message for messages in by_source.values() for message in messages]


def _recent_message(read: ReadMessage, ended: BatchOutcomes) -> RecentMessage:
    message, outcome = read.message, ended.outcomes[read.position]
    notices = [
        kind.value if subject == OTHER else f"{kind.value} {subject}"
        for kind, subject, _ in _notices_of(read, is_other_body=read.position in ended.other_bodies)
    ]
    notices += [
        f"{notice.kind.value} {notice.property} ({notice.expected})" for notice in property_notices_of(read.classified)
    ]
    if read.classified.name is None:
        notices.append(NoticeKind.UNKNOWN_EVENT.value)
    return RecentMessage(
        source_id=message.source.source_id,
        received_at=message.received_at,
        type=message.kind if message.kind in KINDS else OTHER,
        event=read.classified.name or OTHER,
        state=outcome.state,
        reason=outcome.reason,
        notices=tuple(dict.fromkeys(notices)),
        delivery=message.delivery,
    )
