"""Writing who the messages of a batch belong to: profiles, identifiers, keys, anchors and links."""

from collections.abc import Collection, Sequence
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.flows.identifiers import IDENTIFIER_PLACE, evidence_of
from cdp.flows.ingest.batch_result import BatchResult
from cdp.flows.ingest.stages import DecidedMessage
from cdp.identity.partition import Partition, partition_of
from cdp.identity.store import anchors as anchor_store
from cdp.identity.store import identifiers as identifier_store
from cdp.identity.store import mapping as mapping_store
from cdp.identity.store.closure import Closure
from cdp.kit.db import Transaction
from cdp.kit.ids import new_id
from cdp.policy.model import Policy
from cdp.vault.pseudonym import GRAPH
from cdp.vault.vault import Item


def write_identity(
    result: BatchResult, stored: Sequence[DecidedMessage]
) -> tuple[dict[int, bytes], list[mapping_store.NewProfile]]:
    """Write everything about identity but the evidence; gives the subject keys of the batch and its new profiles."""
    new_profiles = _new_profiles(result)
    used = {member for message in stored for member in message.identified.members}
    used.update(record.identifier_id for record in result.consent.ledger.added)
    anchors = _new_anchors(result, stored)
    new_ids = [identifier_id for identifier_id in result.state.new_identifiers if identifier_id in used]
    keys = _load_keys(result, stored, [*new_ids, *(anchor.anchor_id for anchor in anchors)])
    identifiers = _new_identifiers(result, new_ids, keys)
    write_mapping(result, identifiers, new_profiles, anchors=anchors)
    _write_seen(result, stored, used)
    return keys, new_profiles


def write_mapping(
    result: BatchResult,
    identifiers: Sequence[identifier_store.NewIdentifier],
    profiles: Sequence[mapping_store.NewProfile],
    *,
    anchors: Sequence[anchor_store.NewAnchor],
) -> None:
    """Insert what is new, then merge, and rewrite what was replayed."""
    tx, state, world = result.tx, result.state, result.run.world
    links = _new_links(result) if state.closure is None else ()
    mapping_store.insert_new(tx, identifiers, profiles, links=links, anchors=anchors)
    replayed = state.closure.profiles if state.closure is not None else {}
    survivor_of = {
        state.profile_of[origin]: result.profile_at(origin)
        for origin in world.merged_into
        if origin in state.profile_of and origin not in replayed
    }
    mapping_store.merge_profiles(tx, survivor_of)
    if state.closure is not None:
        _write_closure(result, state.closure)
    beyond = [state.profile_of[origin] for origin, group in world.groups.items() if group.is_quarantined]
    quarantine_profiles(tx, result.plan.policy, beyond, now=result.now)
    identifier_store.mark_shared(tx, list(result.run.shared))
    _write_authority(result)


def _write_closure(result: BatchResult, closure: Closure) -> None:
    """Make the mapping of a closure what its replay came to; where sharing was replayed too, also that."""
    tx, world = result.tx, result.run.world
    partition = partition_of(result.run, result.state.profile_of)
    if not result.state.is_closed_through_shared:
        write_partition(tx, partition, members=list(closure.reached - closure.shared))
        return
    write_partition(tx, partition, members=list(closure.reached))
    identifier_store.mark_shared(tx, list(closure.shared & closure.reached - world.shared), is_shared=False)
    mapping_store.end_quarantine(tx, list(partition.current - partition.quarantined))


def _write_authority(result: BatchResult) -> None:
    """The authority of stored identifiers that a message of the batch named with a higher one, or took from lower ones."""
    state = result.state
    stored = state.authority
    if state.closure is not None and state.is_closed_through_shared:
        current = {identifier_id: result.run.world.authority.get(identifier_id, 0) for identifier_id in stored}
    else:
        current = {key: level for key, level in result.run.world.authority.items() if key in stored}
    changed = {identifier_id: level for identifier_id, level in current.items() if level != stored[identifier_id]}
    identifier_store.set_authority(result.tx, changed)


def quarantine_profiles(tx: Transaction, policy: Policy, profile_ids: Collection[int], *, now: datetime) -> None:
    """Put profiles that exceed a bound into quarantine, with an entry of the log for those that were not before."""
    count = mapping_store.quarantine(tx, profile_ids)
    if count:
        fact = {"kind": "identity.quarantined", "actor": "system", "profiles": count, "policy": policy.fingerprint}
        fact_store.append(tx, fact, now)


def write_partition(tx: Transaction, partition: Partition, *, members: Sequence[int]) -> None:
    """Make the stored mapping of these identifiers exactly what a replay came to."""
    mapping_store.write_mapping(
        tx,
        members=members,
        links=[mapping_store.NewLink(identifier_id, *owner) for identifier_id, owner in partition.owners.items()],
        canonical=partition.canonical,
        current=partition.current,
        retired=partition.retired,
    )


def _new_profiles(result: BatchResult) -> list[mapping_store.NewProfile]:
    """Give every group without a profile an id, which is noted in the state."""
    profile_of = result.state.profile_of
    profiles = []
    for origin in result.run.world.groups:
        if origin not in profile_of:
            profile_of[origin] = new_id()
            profiles.append(mapping_store.NewProfile(profile_of[origin], origin, result.now))
    return profiles


def _new_anchors(result: BatchResult, stored: Sequence[DecidedMessage]) -> list[anchor_store.NewAnchor]:
    """The anchors that the store does not have; those it has whose placement depends on time now are reopened."""
    proposals = {proposal.step.anchor_id: proposal for proposal in result.run.accepted}
    anchors: dict[int, anchor_store.NewAnchor] = {}
    reopened = []
    for message in stored:
        identified = message.identified
        anchor_id = identified.anchor_id
        proposal = proposals.get(anchor_id)
        if identified.digest in result.state.anchors:
            if proposal is not None and proposal.depends_on_time:
                reopened.append(anchor_id)
        elif proposal is not None and anchor_id not in anchors:
            profile_id = result.profile_at(result.run.world.accepted_placement[anchor_id])
            is_settled = not proposal.depends_on_time
            anchors[anchor_id] = anchor_store.NewAnchor(
                anchor_id, identified.digest, result.now, is_settled, identified.members, profile_id
            )
    mapping_store.reopen_anchors(result.tx, reopened)
    return list(anchors.values())


def _load_keys(result: BatchResult, stored: Sequence[DecidedMessage], new_ids: Sequence[int]) -> dict[int, bytes]:
    """New subject keys for these ids, and the keys of the anchors that are stored already."""
    keys = dict(result.vault.subject_keys.create(result.tx, new_ids))
    existing = {message.identified.anchor_id for message in stored} - keys.keys()
    if existing:
        keys |= result.vault.subject_keys.keys_for(result.tx, existing)
    return keys


def _new_identifiers(
    result: BatchResult, ids: Sequence[int], keys: dict[int, bytes]
) -> list[identifier_store.NewIdentifier]:
    hashed = [(identifier_id, result.state.new_identifiers[identifier_id]) for identifier_id in ids]
    sealed = result.vault.seal_many(
        keys,
        IDENTIFIER_PLACE,
        (Item(identifier_id, identifier_id, new.identifier.value.encode()) for identifier_id, new in hashed),
    )
    version = result.vault.root_keys.versions(GRAPH)[-1]
    today = result.now.date()
    authority = result.run.world.authority
    return [
        identifier_store.NewIdentifier(
            identifier_id,
            new.identifier.type,
            new.graph_pseudonym,
            version,
            envelope,
            result.now,
            today,
            authority.get(identifier_id, 0),
        )
        for (identifier_id, new), envelope in zip(hashed, sealed, strict=True)
    ]


def _new_links(result: BatchResult) -> list[mapping_store.NewLink]:
    """Owners of identifiers that had none, as they are at the end of the batch."""
    state = result.state
    owned_before = {link.identifier_id for links in state.links.values() for link in links}
    return [
        mapping_store.NewLink(identifier_id, state.profile_of[group.origin], linked_at)
        for group in result.run.world.groups.values()
        for identifier_id, linked_at in group.members.items()
        if identifier_id not in state.owner and identifier_id not in owned_before
    ]


def _write_seen(result: BatchResult, stored: Sequence[DecidedMessage], used: Collection[int]) -> None:
    """Which anchors came from which sources, and which identifiers were seen today, unless known to be stored."""
    today, cache = result.now.date(), result.cache
    sources = {(message.identified.anchor_id, int(message.read.message.source.source_id)) for message in stored}
    new_sources = sources - cache.anchor_sources
    if new_sources:
        senders = {int(sent.source_id): sent for message in stored for sent in (message.read.message.source,)}
        authority = {source_id: int(evidence_of(source)) for source_id, source in senders.items()}
        anchor_store.insert_anchor_sources(result.tx, new_sources, authority)
    unseen = [identifier_id for identifier_id in used if cache.seen_on.get(identifier_id) != today]
    identifier_store.touch_identifiers(
        result.tx,
        ((identifier_id, today) for identifier_id in unseen if identifier_id not in result.state.new_identifiers),
    )
    result.tx.on_commit(lambda: cache.keep(new_sources, unseen, today))
