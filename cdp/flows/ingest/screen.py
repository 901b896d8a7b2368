"""Screening the messages of a batch: pseudonyms, suppressions and duplicates, in a constant number of statements."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from cdp.accounting.model import Outcome, State
from cdp.behavior.store import batch as behavior_store
from cdp.flows.ingest.plan import IngestPlan
from cdp.flows.ingest.stages import CachedProfile, HashedIdentifier, ReadMessage, ScreenedMessage
from cdp.identity.model import Identifier, Ignored
from cdp.kit.db import Transaction
from cdp.policy.identifiers import NormalizerKind
from cdp.rights import pending_suppression
from cdp.rights.pending_suppression import Suppressed
from cdp.rights.store import suppressions as suppression_store
from cdp.rights.store.suppressions import SuppressionState
from cdp.vault.pseudonym import GRAPH, SUPPRESSION
from cdp.vault.vault import Vault


def screen(
    tx: Transaction,
    vault: Vault,
    messages: Sequence[ReadMessage],
    *,
    plan: IngestPlan,
    cached: Mapping[int, CachedProfile],
) -> list[ScreenedMessage]:
    """Screen messages in their order; `cached` gives the profiles that are known from the cache, by position."""
    hashed = hash_identifiers(tx, vault, [message for message in messages if message.position not in cached], plan=plan)
    screened = [
        hashed[message.position] if profile is None else ScreenedMessage(message, (), False, profile, message.outcome)
        for message in messages
        for profile in (cached.get(message.position),)
    ]
    return find_duplicates(tx, screened)


def hash_identifiers(
    tx: Transaction, vault: Vault, messages: Sequence[ReadMessage], *, plan: IngestPlan
) -> dict[int, ScreenedMessage]:
    """Compute the pseudonyms of every identifier and apply suppressions; gives the screened messages by position.

    Suppressions refuse a message, or drop identifiers from it.
    """
    if not messages:
        return {}
    identifiers = list(dict.fromkeys([identifier for message in messages for identifier in message.identifiers]))
    graph = dict(zip(identifiers, vault.hashes.pseudonyms(GRAPH, identifiers), strict=True))
    other_names = {message.position: names for message in messages if (names := _other_names(plan, message))}
    screened_names = list(dict.fromkeys([*identifiers, *(name for names in other_names.values() for name in names)]))
    pseudonyms = dict(zip(screened_names, vault.hashes.pseudonyms(SUPPRESSION, screened_names), strict=True))
    personal = {key for key, type_ in plan.policy.identifiers.types.items() if type_.person_level or type_.unique}
    states = suppression_store.suppression_states(tx, list(pseudonyms.values()), messages[0].message.received_at)
    suppressed = {digest for digest, state in states.items() if suppression_store.EVERYTHING in state.purposes}
    lifted = {digest: state.lifted_at for digest, state in states.items() if state.lifted_at is not None}
    known, not_suppressed = plan.policy.purposes.keys(), SuppressionState(frozenset(), None)
    hashed = {
        identifier: HashedIdentifier(
            identifier,
            graph[identifier],
            pseudonyms[identifier],
            identifier.type in personal,
            (state.purposes - state.restricted) & known,
            state.restricted & known,
            state.released & known,
            state.lifted_at is not None,
        )
        for identifier in identifiers
        for state in (states.get(pseudonyms[identifier], not_suppressed),)
    }
    screened: dict[int, ScreenedMessage] = {}
    for message in messages:
        position = message.position
        own = tuple([hashed[identifier] for identifier in message.identifiers])
        outcome = message.outcome
        if suppressed or lifted:
            refused = _refused_at(message, suppressed, lifted)
            is_named = any(pseudonyms[name] in refused for name in other_names.get(position, ()))
            kept = Suppressed.PERSON if is_named else pending_suppression.filter_suppressed(own, refused)
            own, outcome = (
                ((), Outcome(State.SUPPRESSED, kept.value)) if isinstance(kept, Suppressed) else (kept, outcome)
            )
        screened[position] = ScreenedMessage(message, own, position in other_names, None, outcome)
    return screened


def _refused_at(
    message: ReadMessage, suppressed: AbstractSet[bytes], lifted: Mapping[bytes, datetime]
) -> AbstractSet[bytes]:
    """The pseudonyms that are suppressed for a message: also those whose suppression was lifted after it occurred."""
    if not lifted:
        return suppressed
    occurred_at = message.message.occurred_at
    return suppressed | {pseudonym for pseudonym, lifted_at in lifted.items() if occurred_at < lifted_at}


def _other_names(plan: IngestPlan, message: ReadMessage) -> list[Identifier]:
    """Persons whom a message may name under another type than the one it is read as.

    An alias may give a customer number as the previous id, and many senders use an e-mail address as an id.
    """
    types = plan.policy.identifiers.types
    read = plan.reader.read
    names: list[Identifier | Ignored] = []
    if message.message.kind == "alias":
        previous_id = message.message.body.get("previousId")
        names.extend(read(type_, previous_id) for type_ in plan.policy.identifiers.unique_types)
    for identifier in message.identifiers:
        if "@" in identifier.value and types[identifier.type].normalizer is not NormalizerKind.EMAIL:
            names.extend(
                read(key, identifier.value) for key, type_ in types.items() if type_.normalizer is NormalizerKind.EMAIL
            )
    return [name for name in names if isinstance(name, Identifier)]


def find_duplicates(tx: Transaction, messages: Sequence[ScreenedMessage]) -> list[ScreenedMessage]:
    """The same messages, those without an outcome as duplicates where their message id is stored already."""
    stored = behavior_store.known_messages(
        tx, list(dict.fromkeys([message.read.event_id for message in messages if message.outcome is None]))
    )
    if not stored:
        return list(messages)
    return [
        message._replace(
            outcome=Outcome(State.DUPLICATE),
            is_other_body=stored[message.read.event_id] != message.read.message.body_digest,
        )
        if message.outcome is None and message.read.event_id in stored
        else message
        for message in messages
    ]
