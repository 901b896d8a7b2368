"""Loading what a batch needs to know, set by set: a constant number of statements whatever its size."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cdp.flows.ingest.plan import IngestPlan
from cdp.flows.ingest.stages import CachedProfile, HashedIdentifier, IdentifiedMessage, ScreenedMessage
from cdp.identity.store import anchors as anchor_store
from cdp.identity.store import closure as closure_store
from cdp.identity.store import identifiers as identifier_store
from cdp.identity.store import profiles as profile_store
from cdp.identity.store import separations as separation_store
from cdp.kit.canonical import sha256
from cdp.kit.db import Transaction
from cdp.kit.ids import new_id
from cdp.sources.model import SourceKind
from cdp.vault.pseudonym import GRAPH
from cdp.vault.vault import Vault

_CLAIM: Final = b"claim"


@dataclass(slots=True)
class BatchState:
    """What the store holds about the identifiers, anchors and profiles of a batch.

    `ids` gives the identifier id of each graph pseudonym, `new_identifiers` those that the store does not have.
    `origins` and `profile_of` translate between profile ids and the origin sequences of their groups. `links` are those
    of the profiles that the batch could change. `cached` are the profiles known from the cache, by anchor.
    `with_records` are the identifiers whose consent records were read. `authority` is the authority of stored
    identifiers, `heard` that of stored anchors, and `members` are those of the anchors of the batch. `apart` are the
    identifiers of the closure that are shared for good.
    """

    plan: IngestPlan
    ids: dict[bytes, int] = field(default_factory=dict)
    new_identifiers: dict[int, HashedIdentifier] = field(default_factory=dict)
    types: dict[int, str] = field(default_factory=dict)
    shared: set[int] = field(default_factory=set)
    never: dict[int, set[int]] = field(default_factory=dict)
    owner: dict[int, int] = field(default_factory=dict)
    anchors: dict[bytes, anchor_store.StoredAnchor] = field(default_factory=dict)
    origins: dict[int, int] = field(default_factory=dict)
    profile_of: dict[int, int] = field(default_factory=dict)
    cached: dict[int, CachedProfile] = field(default_factory=dict)
    profiles: dict[int, profile_store.StoredProfile] = field(default_factory=dict)
    links: dict[int, list[profile_store.StoredLink]] = field(default_factory=dict)
    closure: closure_store.Closure | None = None
    with_records: frozenset[int] = frozenset()
    authority: dict[int, int] = field(default_factory=dict)
    proved: dict[int, datetime] = field(default_factory=dict)
    heard: dict[int, int] = field(default_factory=dict)
    members: dict[int, tuple[int, ...]] = field(default_factory=dict)
    closure_of: frozenset[int] = frozenset()
    apart: frozenset[int] = frozenset()
    is_closed_through_shared: bool = False


def identify(
    tx: Transaction, vault: Vault, plan: IngestPlan, *, messages: Sequence[ScreenedMessage], first_sequence: int
) -> tuple[BatchState, list[IdentifiedMessage]]:
    """Look up the identifiers and anchors of these messages, and load the groups that they could change.

    Identifiers and anchors that the store does not have get new ids. The messages are numbered in their order.
    """
    state = BatchState(plan)
    uncached = [message for message in messages if message.cached is None]
    _load_identifiers(tx, vault, state, messages=uncached)
    digest_of: dict[tuple[tuple[int, ...], bool], bytes] = {}
    named_by: dict[int, tuple[tuple[int, ...], bool]] = {}
    for message in uncached:
        members = tuple([state.ids[hashed.graph_pseudonym] for hashed in message.hashed])
        named = named_by[message.read.position] = (members, _is_claim(plan, message))
        if named not in digest_of:
            digest_of[named] = anchor_digest(members, is_claim=named[1])
    state.anchors = anchor_store.anchors_by_digest(tx, list(dict.fromkeys(digest_of.values())))
    anchor_ids = {
        digest: state.anchors[digest].anchor_id if digest in state.anchors else new_id()
        for digest in digest_of.values()
    }
    identified = []
    for sequence, message in enumerate(messages, first_sequence):
        cached, is_acting_only = message.cached, False
        if cached is None:
            named = named_by[message.read.position]
            members, digest = named[0], digest_of[named]
            anchor_id, needs_evaluation = anchor_ids[digest], _needs_evaluation(state, message, digest)
            if not needs_evaluation:
                needs_evaluation = is_acting_only = bool(message.read.signals.acts)
            state.members[anchor_id] = members
        else:
            members, digest, anchor_id = cached.members, cached.digest, cached.anchor.anchor_id
            needs_evaluation = False
        identified.append(
            IdentifiedMessage(
                message.read, message, sequence, members, digest, anchor_id, needs_evaluation, is_acting_only
            )
        )
    state.heard = {anchor.anchor_id: anchor.authority for anchor in state.anchors.values()}
    _load_groups(tx, state, [message for message in identified if message.screened.cached is None])
    for message in messages:
        if message.cached is not None:
            _add_cached(state, message.cached)
    return state, identified


def anchor_digest(members: Sequence[int], *, is_claim: bool) -> bytes:
    """What names an anchor: SHA-256 over the random ids of its members in order, and whether it is a browser's claim."""
    return sha256(b"".join([member.to_bytes(8, "big") for member in sorted(members)]) + _CLAIM * is_claim)


def _is_claim(plan: IngestPlan, message: ScreenedMessage) -> bool:
    """Whether a browser names somebody whom it cannot prove to be.

    What it says has an anchor of its own: if servers state the same identifiers, its events must not become those of
    the person.
    """
    if message.read.message.source.kind is not SourceKind.BROWSER:
        return False
    return any(hashed.identifier.type in plan.rules.guarded for hashed in message.hashed)


def _add_cached(state: BatchState, cached: CachedProfile) -> None:
    """Add a cached anchor and its profile; what was just read from the store about the profile takes precedence."""
    anchor, profile = cached.anchor, cached.profile
    if anchor.anchor_id not in state.cached:
        state.cached[anchor.anchor_id] = cached
        state.anchors[cached.digest] = anchor
        state.origins[profile.profile_id] = profile.origin
        state.profile_of[profile.origin] = profile.profile_id
        state.profiles.setdefault(profile.profile_id, profile)


def _needs_evaluation(state: BatchState, message: ScreenedMessage, digest: bytes) -> bool:
    """Whether the anchor is not settled or has a new source, or the message affects verdicts by more than its signals."""
    anchor = state.anchors.get(digest)
    if anchor is None or not anchor.is_settled or message.read.states_age:
        return True
    if any(hashed.has_kept_acts for hashed in message.hashed):
        return True
    return int(message.read.message.source.source_id) not in anchor.sources


def _load_identifiers(tx: Transaction, vault: Vault, state: BatchState, *, messages: Sequence[ScreenedMessage]) -> None:
    hashed = {identifier.graph_pseudonym: identifier for message in messages for identifier in message.hashed}
    stored = identifier_store.identifiers_by_pseudonym(tx, list(hashed))
    for version in vault.root_keys.versions(GRAPH)[:-1]:
        missing = [identifier for pseudonym, identifier in hashed.items() if pseudonym not in stored]
        older = vault.hashes.pseudonyms(GRAPH, (identifier.identifier for identifier in missing), version=version)
        found = identifier_store.identifiers_by_pseudonym(tx, older)
        stored |= {
            identifier.graph_pseudonym: found[old]
            for identifier, old in zip(missing, older, strict=True)
            if old in found
        }
    for pseudonym, identifier in hashed.items():
        entry = stored.get(pseudonym)
        identifier_id = new_id() if entry is None else entry.identifier_id
        state.ids[pseudonym] = identifier_id
        state.types[identifier_id] = identifier.identifier.type
        if entry is None:
            state.new_identifiers[identifier_id] = identifier
            continue
        state.authority[identifier_id] = entry.authority
        if entry.proved_at is not None:
            state.proved[identifier_id] = entry.proved_at
        if entry.is_shared:
            state.shared.add(identifier_id)
        if entry.profile_id is not None:
            state.owner[identifier_id] = entry.profile_id


def _load_groups(tx: Transaction, state: BatchState, messages: Sequence[IdentifiedMessage]) -> None:
    evaluated = [message for message in messages if message.needs_evaluation]
    changeable = {state.owner[member] for message in evaluated for member in message.members if member in state.owner}
    changeable.update(
        state.anchors[message.digest].profile_id for message in evaluated if message.digest in state.anchors
    )
    profile_ids = changeable | {anchor.profile_id for anchor in state.anchors.values()}
    for profile in profile_store.profiles(tx, list(profile_ids)) if profile_ids else ():
        state.profiles[profile.profile_id] = profile
        state.origins[profile.profile_id] = profile.origin
        state.profile_of[profile.origin] = profile.profile_id
    if not changeable:
        return
    state.links = {profile_id: [] for profile_id in changeable}
    for link in profile_store.links_of(tx, list(changeable)):
        state.links[link.profile_id].append(link)
        state.types[link.identifier_id] = link.type
    state.never = separation_store.never_pairs(
        tx, [link.identifier_id for links in state.links.values() for link in links]
    )
