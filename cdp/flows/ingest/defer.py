"""Messages that wait for an answer, within the batch in which they arrive, are opened or end."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from cdp.accounting.model import Outcome, State
from cdp.accounting.store.messages import hour_of
from cdp.behavior.classify import json_bytes
from cdp.consent.deferral import Deferrals, Waiting, WaitingMessage, is_unanswered
from cdp.consent.model import Act, Record, Verdict
from cdp.consent.store import deferred as deferred_store
from cdp.flows.consent.deferred import REFUSED, end_refused, reaching_back
from cdp.flows.ingest.batch_result import BatchResult
from cdp.flows.ingest.plan import IngestPlan
from cdp.flows.ingest.stages import DecidedMessage, IdentifiedMessage
from cdp.kit.canonical import instant_text
from cdp.kit.clock import parse_instant
from cdp.kit.db import Transaction
from cdp.kit.ids import new_id
from cdp.sources.model import Source, SourceKind
from cdp.vault.vault import Item
from cdp.wire.message import Message

_DEFERRED: Final = Outcome(State.DEFERRED)
_OUTCOMES: Final[Mapping[Waiting, Outcome]] = {
    Waiting.DEFERRED: _DEFERRED,
    Waiting.DUPLICATE: Outcome(State.DUPLICATE),
    Waiting.FULL: Outcome(State.NOT_PERMITTED, "too_many_deferred"),
    Waiting.SOURCE_FULL: Outcome(State.NOT_PERMITTED, "too_many_deferred_of_source"),
}


def load_deferrals(
    tx: Transaction,
    plan: IngestPlan,
    messages: Sequence[IdentifiedMessage],
    *,
    now: datetime,
    is_reopened: bool,
) -> Deferrals | None:
    """What waits for the devices of a batch; None if no message can defer, open or end anything.

    No statement for messages that neither come from a source that defers nor carry a consent, three at most for others.
    """
    deferring = [message for message in messages if _may_wait(message)]
    acting = [message for message in messages if message.read.signals.acts]
    pseudonyms = {pseudonym for message in (*deferring, *acting) for pseudonym in _devices(plan, message).values()}
    if not pseudonyms:
        return None
    stored = deferred_store.devices(tx, pseudonyms, now)
    if not deferring and not stored:
        return None
    arrived: dict[tuple[bytes, datetime], datetime] = {}
    for message in deferring:
        sent = message.read.message
        for pseudonym in _devices(plan, message).values():
            key = pseudonym, sent.received_at
            arrived[key] = min(arrived.get(key, sent.occurred_at), sent.occurred_at)
    return Deferrals(
        plan.policy.deferral,
        stored,
        {} if is_reopened else deferred_store.subjects_of(tx, [message.read.event_id for message in deferring]),
        totals={} if is_reopened else deferred_store.totals(tx, {_source_of(message) for message in deferring}),
        arrived=arrived,
        is_reopened=is_reopened,
    )


def reaching_records(
    plan: IngestPlan, deferrals: Deferrals, message: IdentifiedMessage, *, records: Sequence[Record]
) -> list[Record]:
    """The records that a message would add; the grants of its device permit from the first message that waits for them."""
    received_at = message.read.message.received_at
    devices = _devices(plan, message)
    return [
        reaching_back(record, deferrals.first_at(devices[record.identifier_id], received_at))
        if record.identifier_id in devices
        else record
        for record in records
    ]


def note_acts(
    plan: IngestPlan, deferrals: Deferrals, message: IdentifiedMessage, *, records: Sequence[Record], is_stored: bool
) -> None:
    """Let the acts of a message open or end what waits for its device; its grants count only if it is stored."""
    devices = _devices(plan, message)
    own = [(record.act, devices[record.identifier_id]) for record in records if record.identifier_id in devices]
    for act, pseudonym in own:
        if act is Act.GRANT and is_stored:
            deferrals.grant(pseudonym)
    for act, pseudonym in own:
        if act.is_refusal:
            deferrals.refuse(pseudonym)


def deferred_outcome(
    plan: IngestPlan, deferrals: Deferrals, message: IdentifiedMessage, *, verdicts: Mapping[str, Verdict]
) -> Outcome | None:
    """The outcome of a message for which nothing is permitted, if it waits for an answer or would; otherwise None."""
    sent = message.read.message
    if not _may_wait(message) or not _devices(plan, message):
        return None
    purposes = plan.purposes_for(message.read.classified, is_server=sent.source.kind is SourceKind.SERVER)
    if not is_unanswered(purposes, verdicts):
        return None
    return _OUTCOMES[deferrals.defer(_waiting(plan, message))]


def defer_again(plan: IngestPlan, deferrals: Deferrals, message: IdentifiedMessage) -> None:
    """Repeat for a message what was decided about it before the decisions of the batch started again."""
    deferrals.defer(_waiting(plan, message))


def settled(decided: Sequence[DecidedMessage], deferrals: Deferrals) -> list[DecidedMessage]:
    """The messages as decided; deferred ones that a refusal in the same batch ended are refused."""
    return [
        message._replace(outcome=REFUSED) if message.read.position in deferrals.dropped else message
        for message in decided
    ]


def write_deferred(result: BatchResult, deferrals: Deferrals, counted_at: datetime) -> None:
    """Write what a batch made of what waits: refusals first, so that what is deferred after one has another key."""
    tx = result.tx
    end_refused(tx, result.vault, ended=deferrals.ended_subjects, closed=deferrals.closed_subjects)
    if deferrals.added:
        _write_added(result, deferrals, counted_at)
    if deferrals.granted:
        deferred_store.mark_granted(tx, deferrals.granted, result.now)


def _write_added(result: BatchResult, deferrals: Deferrals, counted_at: datetime) -> None:
    tx, subject_keys = result.tx, result.vault.subject_keys
    added = list(deferrals.added.values())
    known = {message.device: deferrals.subject_of(message.device) for message in added}
    new = {device: new_id() for device, subject_id in known.items() if subject_id is None}
    subjects = {device: subject_id for device, subject_id in known.items() if subject_id is not None} | new
    keys = subject_keys.create(tx, list(new.values()), is_cached=False)
    keys |= subject_keys.keys_once(tx, set(subjects.values()) - keys.keys())
    deferred_store.add_devices(tx, new)
    items = [Item(subjects[message.device], message.event_id, message.text) for message in added]
    sealed = result.vault.seal_many(keys, deferred_store.MESSAGE, items)
    received = {message.read.position: message.read.message.received_at for message in result.decided}
    term = timedelta(hours=result.plan.policy.deferral.hours)
    deferred_store.add_messages(
        tx,
        [
            deferred_store.DeferredMessage(
                subjects[message.device],
                message.event_id,
                message.occurred_at,
                hour_of(counted_at),
                received[message.position] + term,
                message.position in deferrals.closed,
                envelope,
            )
            for message, envelope in zip(added, sealed, strict=True)
        ],
    )


def opened_message(text: bytes, source: Source) -> Message:
    """A deferred message as it was received."""
    document: dict[str, Any] = json.loads(text)
    return Message(
        source=source,
        kind=document["kind"],
        message_id=document["message_id"],
        occurred_at=parse_instant(document["occurred_at"]),
        received_at=parse_instant(document["received_at"]),
        body=document["body"],
        body_digest=bytes.fromhex(document["body_digest"]),
        has_gpc=document["has_gpc"],
    )


def _waiting(plan: IngestPlan, message: IdentifiedMessage) -> WaitingMessage:
    read, sent = message.read, message.read.message
    document = {
        "kind": sent.kind,
        "message_id": sent.message_id,
        "occurred_at": instant_text(sent.occurred_at),
        "received_at": instant_text(sent.received_at),
        "body_digest": sent.body_digest.hex(),
        "has_gpc": sent.has_gpc,
        "body": sent.body,
    }
    return WaitingMessage(
        read.position,
        (next(iter(_devices(plan, message).values())), _source_of(message)),
        read.event_id,
        sent.occurred_at,
        json_bytes(document),
    )


def _may_wait(message: IdentifiedMessage) -> bool:
    """Whether a message would wait if nobody had answered: a live one of a source that defers, which refuses nothing itself."""
    read = message.read
    if not read.message.source.defer or read.message.is_imported or message.screened.outcome is not None:
        return False
    return not any(act.act.is_refusal for act in read.signals.acts)


def _source_of(message: IdentifiedMessage) -> int:
    return int(message.read.message.source.source_id)


def _devices(plan: IngestPlan, message: IdentifiedMessage) -> dict[int, bytes]:
    """The devices that a message names, strongest first: the pseudonym of the suppression domain by identifier."""
    types = plan.signals.device_types
    return {
        member: hashed.suppression_pseudonym
        for member, hashed in zip(message.members, message.screened.hashed, strict=False)
        if hashed.identifier.type in types
    }
