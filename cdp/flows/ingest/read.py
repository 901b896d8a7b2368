"""The first stage of a message: everything that can be known of it without the database. Pure."""

from dataclasses import replace
from datetime import datetime

from cdp.accounting.model import Outcome, State
from cdp.behavior.classify import classify
from cdp.behavior.model import Classified, EventId
from cdp.behavior.retention import is_expired
from cdp.flows.ingest.plan import IngestPlan
from cdp.flows.ingest.stages import ReadMessage
from cdp.identity.model import Ignored, Promoted
from cdp.sources.model import SourceKind
from cdp.wire.message import Message
from cdp.wire.reused_context import without_left_over_traits


def read_message(plan: IngestPlan, message: Message, position: int, *, event_id: EventId, now: datetime) -> ReadMessage:
    """Normalize, classify and read the signals of one message; with its outcome where these determine it."""
    body = without_left_over_traits(message.kind, message.body)
    promoted = plan.reader.promote(body)
    classified = classify(message.kind, body, plan.events)
    if promoted.ignored:
        classified.sealed["as_sent"] = {
            name: message.body[name] for name in ("userId", "anonymousId", "previousId") if message.body.get(name)
        }
    signals = plan.signal_reader.read(
        message.body,
        has_gpc=message.has_gpc,
        is_server=message.source.kind is SourceKind.SERVER,
        jurisdiction=message.source.jurisdiction,
        request=message.signals,
    )
    if message.acts:
        signals = replace(signals, acts=(*signals.acts, *message.acts))
    if signals.acts and message.source.kind is SourceKind.BROWSER:
        types = {identifier.type for identifier in promoted.identifiers}
        if types <= plan.rules.guarded and any(act.act.is_refusal for act in signals.acts):
            signals = replace(signals, unrecorded=tuple(sorted(types)))
    outcome = _early_outcome(plan, message, promoted, classified=classified, now=now)
    return ReadMessage(
        message, position, classified, signals, promoted.identifiers, promoted.ignored, event_id, outcome
    )


def _early_outcome(
    plan: IngestPlan, message: Message, promoted: Promoted, *, classified: Classified, now: datetime
) -> Outcome | None:
    if not promoted.identifiers:
        is_blocked = any(reason is Ignored.BLOCKED for reason, _ in promoted.ignored)
        return Outcome(State.BLOCKED, "blocked_value") if is_blocked else Outcome(State.INVALID, "no_identifier")
    if classified.is_dropped:
        return Outcome(State.INVALID, "event_not_planned")
    if is_expired(message.occurred_at, plan.keep_for_days[classified.retention_class], now) and not _grants(message):
        return Outcome(State.INVALID, "expired")
    return None


def has_expired_event(plan: IngestPlan, message: ReadMessage, now: datetime) -> bool:
    """Whether only the consents and traits of a message are stored, because its event is older than its class keeps it."""
    return _grants(message.message) and is_expired(
        message.message.occurred_at, plan.keep_for_days[message.classified.retention_class], now
    )


def _grants(message: Message) -> bool:
    """Whether an import grants consent with the message: a consent has a time and a validity of its own."""
    return any(not act.act.is_refusal for act in message.acts) if message.acts else False
