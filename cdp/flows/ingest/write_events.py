"""Writing the events of a batch: message ids, terms, sealed content and traits."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from cdp.accounting.model import OTHER, PropertyNotice, PropertyNoticeKind
from cdp.accounting.store.messages import hour_of
from cdp.accounting.store.notices import add_property_notices
from cdp.behavior.classify import json_bytes, payload, reference_texts, seal_refused_terms, takes_all, terms_of
from cdp.behavior.model import EventEntry, PlainField, Terms
from cdp.behavior.rules import PlanRules
from cdp.behavior.store import batch as behavior_store
from cdp.behavior.store.ages import PlacedAge, merge_ages
from cdp.behavior.store.terms import intern_terms
from cdp.flows.ingest.batch_result import BatchResult
from cdp.flows.ingest.read import has_expired_event
from cdp.flows.ingest.stages import DecidedMessage
from cdp.policy.events import DIGEST, IN_FULL
from cdp.schema.ids import SourceId
from cdp.vault.vault import Item

_SEALED_AT_ONCE: Final = 200
_NO_TRAITS: Final[Mapping[str, bytes]] = {}


def write_events(
    result: BatchResult, stored: Sequence[DecidedMessage], keys: Mapping[int, bytes]
) -> Sequence[DecidedMessage]:
    """Write these messages, and give them as written: terms that a full vocabulary refused are sealed.

    A message whose id another transaction stored meanwhile is left out.
    """
    if not stored:
        return stored
    fresh_ids = behavior_store.remember_messages(result.tx, _message_ids(result, stored))
    fresh = [message for message in stored if message.read.event_id in fresh_ids]
    terms = intern_terms(result.tx, terms_of(message.read.classified for message in fresh), result.plan.events)
    if not fresh:
        return stored
    if terms.refused:
        _account_refused(result, fresh, terms)
        fresh = [_without_refused_terms(message, terms, result.plan.events) for message in fresh]
        written = {message.read.position: message for message in fresh}
        stored = [written.get(message.read.position, message) for message in stored]
    fresh = _with_references(result, fresh)
    traits = _sealed_traits(result, fresh, keys)
    expired = [message for message in fresh if has_expired_event(result.plan, message.read, result.now)]
    if expired:
        positions = {message.read.position for message in expired}
        fresh = [message for message in fresh if message.read.position not in positions]
        behavior_store.append_traits(result.tx, list(_entries(result, expired, keys, traits=traits)), terms)
    entries = _entries(result, fresh, keys, traits=traits)
    behavior_store.append(result.tx, entries, terms, plan=result.cache.traits, now=result.now)
    merge_ages(result.tx, _ages((*fresh, *expired)))
    return stored


def _with_references(result: BatchResult, messages: list[DecidedMessage]) -> list[DecidedMessage]:
    """The messages with keyed digests of the properties by which a refund names its order.

    Eight bytes of a digest under a key outside the database: equal for equal texts, so that they can be joined in SQL.
    """
    named = [
        (position, name, text)
        for position, message in enumerate(messages)
        for name, text in reference_texts(
            message.read.message.body, message.read.classified, result.plan.events
        ).items()
    ]
    if not named:
        return messages
    digests = result.vault.hashes.reference_digests((name, text) for _, name, text in named)
    added: dict[int, dict[str, PlainField]] = {}
    for (position, name, _), digest in zip(named, digests, strict=True):
        added.setdefault(position, {})[f"{DIGEST}{name}"] = digest
    found = list(messages)
    for position, plain in added.items():
        message = found[position]
        classified = message.read.classified
        if takes_all(message.read.message.body, classified, result.plan.events):
            plain[IN_FULL] = True
        classified = classified._replace(plain=classified.plain | plain)
        found[position] = message._replace(read=message.read._replace(classified=classified))
    return found


def _ages(messages: Sequence[DecidedMessage]) -> list[PlacedAge]:
    """The ages that these messages state."""
    stating = [message for message in messages if message.read.states_age]
    return [
        (message.identified.anchor_id, message.bits, age)
        for message in stating
        if (age := message.read.age()) is not None
    ]


def _without_refused_terms(message: DecidedMessage, terms: Terms, rules: PlanRules) -> DecidedMessage:
    read = message.read._replace(classified=seal_refused_terms(message.read.classified, terms, rules))
    return message._replace(read=read)


def _account_refused(result: BatchResult, messages: Sequence[DecidedMessage], terms: Terms) -> None:
    """Count the terms that a full vocabulary refused, like every value that is not what the plan expects."""
    counts: Counter[tuple[SourceId, PropertyNotice]] = Counter()
    for message in messages:
        read = message.read
        before = len(read.classified.mistyped)
        for entry in seal_refused_terms(read.classified, terms, result.plan.events).mistyped[before:]:
            event = read.classified.name or OTHER
            counts[read.message.source.source_id, PropertyNotice(PropertyNoticeKind.MISTYPED, event, *entry)] += 1
    add_property_notices(result.tx, hour_of(result.now), counts)


def _message_ids(result: BatchResult, stored: Sequence[DecidedMessage]) -> list[behavior_store.Remembered]:
    """A message id is kept as long as its event would be, counted from the later of its two times."""
    classes = result.plan.policy.retention.classes
    until: dict[tuple[str, datetime], date] = {}
    rows = []
    for message in stored:
        read = message.read
        kept = (read.classified.retention_class, read.message.received_at)
        day = until.get(kept)
        if day is None:
            day = until[kept] = (kept[1] + timedelta(days=classes[kept[0]].keep_for_days + 1)).date()
        rows.append(behavior_store.Remembered(read.event_id, read.message.body_digest, day))
    return rows


def _sealed_traits(
    result: BatchResult, messages: Sequence[DecidedMessage], keys: Mapping[int, bytes]
) -> dict[int, dict[str, bytes]]:
    """The sealed traits of each message, by position and name."""
    values = [
        (message, name, value) for message in messages for name, value in message.read.classified.sealed_traits.items()
    ]
    envelopes = result.vault.seal_many(
        keys,
        behavior_store.TRAIT,
        (
            Item(
                message.identified.anchor_id,
                behavior_store.trait_row(message.identified.anchor_id, name),
                json_bytes(value),
            )
            for message, name, value in values
        ),
    )
    traits: dict[int, dict[str, bytes]] = {}
    for (message, name, _), envelope in zip(values, envelopes, strict=True):
        traits.setdefault(message.read.position, {})[name] = envelope
    return traits


def _entries(
    result: BatchResult,
    messages: Sequence[DecidedMessage],
    keys: Mapping[int, bytes],
    *,
    traits: Mapping[int, Mapping[str, bytes]],
) -> Iterator[EventEntry]:
    """The messages as they are stored, sealed some at a time."""
    for start in range(0, len(messages), _SEALED_AT_ONCE):
        some = messages[start : start + _SEALED_AT_ONCE]
        sealed = result.vault.seal_many(
            keys,
            behavior_store.EVENT,
            (
                Item(message.identified.anchor_id, message.read.event_id, payload(message.read.classified))
                for message in some
            ),
        )
        for message, envelope in zip(some, sealed, strict=True):
            read, identified, _, bits, _ = message
            sent, position, classified, _, _, _, event_id, _ = read
            yield EventEntry(
                identified.anchor_id,
                event_id,
                sent.occurred_at,
                sent.received_at,
                int(sent.source.source_id),
                bits,
                classified,
                envelope,
                traits.get(position, _NO_TRAITS),
            )
