"""Recognizing the messages of a batch by the profile cache: those that change nothing about whose they are and what is permitted.

A message whose consent signals only repeat grants that are in effect changes nothing, and is recognized like one without
signals. Refusals are always decided from the records: each repetition is recorded.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from cdp.consent.ledger import stated_at, statement_by
from cdp.consent.model import Act
from cdp.consent.store import records as record_store
from cdp.flows.ingest.plan import IngestPlan
from cdp.flows.ingest.profile_cache import ProfileCache
from cdp.flows.ingest.purposes import permitted_bits
from cdp.flows.ingest.signals import stating
from cdp.flows.ingest.stages import CachedProfile, ReadMessage
from cdp.kit.db import Transaction

_NOTHING: Final[frozenset[int]] = frozenset()


def recognize(
    tx: Transaction,
    plan: IngestPlan,
    messages: Sequence[ReadMessage],
    *,
    cache: ProfileCache,
    masks: Mapping[str, int],
    now: datetime,
) -> dict[int, CachedProfile]:
    """The cached profiles of messages, by position; one statement if any of them has signals, else none."""
    found: dict[int, CachedProfile] = {}
    repeating: dict[int, frozenset[int]] = {}
    acting = []
    for message in messages:
        cached = cache.find(message)
        repeated = _NOTHING if cached is None else _repeated(plan, message, cached, now=now)
        if cached is not None and repeated is not None and not _may_wait(plan, message, cached, masks=masks):
            found[message.position] = cached
            if repeated:
                repeating[message.position] = repeated
        elif message.signals.acts:
            acting.append(message)
    if repeating:
        for position in _outdated(tx, found, repeating).union(_concerned(messages, acting, repeating)):
            del found[position]
    cache.recognized += len(found)
    return found


def _repeated(plan: IngestPlan, message: ReadMessage, cached: CachedProfile, *, now: datetime) -> frozenset[int] | None:
    """The identifiers of which a message repeats grants in effect; None if it states anything else about them."""
    acts = message.signals.acts
    if not acts:
        return _NOTHING
    if any(act.act is not Act.GRANT or act.ends_at is not None for act in acts):
        return None
    source, occurred_at = message.message.source, message.message.occurred_at
    types = [identifier.type for identifier in message.identifiers]
    members = stating(plan, source, zip(cached.members, types, strict=True))
    repeated = set()
    for act in acts:
        statement = statement_by(act, source.jurisdiction)
        at = min(stated_at(act, occurred_at), now)
        for member in act.among(members):
            if not cached.grants[member].repeats(act.purpose, statement, at):
                return None
            repeated.add(member)
    return frozenset(repeated)


def _may_wait(plan: IngestPlan, message: ReadMessage, cached: CachedProfile, *, masks: Mapping[str, int]) -> bool:
    """Whether a message may wait for an answer, for which its device must be known."""
    if not message.message.source.defer:
        return False
    bits, _ = permitted_bits(plan, message, cached.verdicts, bits=masks)
    return not bits


def _outdated(tx: Transaction, found: Mapping[int, CachedProfile], repeating: Mapping[int, frozenset[int]]) -> set[int]:
    """The positions of messages about identifiers of which acts were recorded, by whichever process, since they were cached."""
    digests = record_store.digests_of(tx, {member for members in repeating.values() for member in members})
    return {
        position
        for position, members in repeating.items()
        if any(digests.get(member) != found[position].grants[member].digest for member in members)
    }


def _concerned(
    messages: Sequence[ReadMessage], acting: Sequence[ReadMessage], repeating: Mapping[int, frozenset[int]]
) -> set[int]:
    """The positions of repeating messages that name somebody about whom another message of the batch may state something new."""
    named = {identifier for message in acting for identifier in message.identifiers}
    if not named:
        return set()
    return {
        message.position
        for message in messages
        if message.position in repeating and not named.isdisjoint(message.identifiers)
    }
