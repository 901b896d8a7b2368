"""Loading what a batch needs to know, set by set: a constant number of statements whatever its size."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cdp.accounting.model import Outcome, State
from cdp.behavior.store import batch as behavior_store
from cdp.behavior.store.volume import ages_of
from cdp.consent.model import Reason, Verdict
from cdp.consent.store import records as record_store
from cdp.consent.store import verdicts as verdict_store
from cdp.flows.consent.verdicts import asks_for_age
from cdp.flows.ingest.judge import ConsentInputs, ReplayedAnchor
from cdp.flows.ingest.stages import CachedProfile, HashedIdentifier, Plan, Work, members_digest
from cdp.identity.model import Identifier, Ignored, ResolutionStep
from cdp.identity.resolve import Group, StartState, World
from cdp.identity.store import anchors as anchor_store
from cdp.identity.store import closure as closure_store
from cdp.identity.store import identifiers as identifier_store
from cdp.identity.store import profiles as profile_store
from cdp.identity.store import separations as separation_store
from cdp.kit.db import Transaction
from cdp.kit.ids import new_id
from cdp.policy.identifiers import NormalizerKind
from cdp.rights.pending_suppression import Suppressed
from cdp.rights.pending_suppression import filter_suppressed as barrier
from cdp.rights.store import suppressions as suppression_store
from cdp.sources.store import sources as source_store
from cdp.vault.pseudonym import GRAPH, SUPPRESSION
from cdp.vault.vault import Vault


@dataclass(slots=True)
class BatchState:
    """Everything that the judging of a batch stands on.

    `ids` gives the identifier id of each graph pseudonym, `is_new` those that the store does not have.
    `births` and `profile_of` translate between profiles and the births of their groups. `familiars` are those whom
    nobody needs to ask about, by anchor. `asked` are the identifiers whose consent records were read.
    """

    plan: Plan
    ids: dict[bytes, int] = field(default_factory=dict)
    is_new: dict[int, HashedIdentifier] = field(default_factory=dict)
    types: dict[int, str] = field(default_factory=dict)
    shared: set[int] = field(default_factory=set)
    never: dict[int, set[int]] = field(default_factory=dict)
    owner: dict[int, int] = field(default_factory=dict)
    anchors: dict[bytes, anchor_store.StoredAnchor] = field(default_factory=dict)
    origins: dict[int, int] = field(default_factory=dict)
    profile_of: dict[int, int] = field(default_factory=dict)
    profile_cache: dict[int, CachedProfile] = field(default_factory=dict)
    profiles: dict[int, profile_store.StoredProfile] = field(default_factory=dict)
    links: dict[int, list[profile_store.StoredLink]] = field(default_factory=dict)
    closure: closure_store.Closure | None = None
    asked: frozenset[int] = frozenset()


def name_people(tx: Transaction, vault: Vault, works: Sequence[Work], *, plan: Plan) -> None:
    """Put pseudonyms on every identifier of the works, and let suppressions refuse or thin them out."""
    if not works:
        return
    wanted = list(dict.fromkeys(each for work in works for each in work.identifiers))
    graph = dict(zip(wanted, vault.hashes.pseudonyms(GRAPH, wanted), strict=True))
    other_names = {work.place: names for work in works if (names := _other_names(plan, work))}
    asked = list(dict.fromkeys([*wanted, *(each for names in other_names.values() for each in names)]))
    hidden = dict(zip(asked, vault.hashes.pseudonyms(SUPPRESSION, asked), strict=True))
    personal = {key for key, each in plan.policy.identifiers.types.items() if each.person_level or each.unique}
    now = works[0].message.received_at if works else None
    orders = suppression_store.suppressed_purposes(tx, list(hidden.values()), now) if now is not None else {}
    suppressed = {pseudonym for pseudonym, purposes in orders.items() if suppression_store.EVERYTHING in purposes}
    carried = {
        each: HashedIdentifier(
            each,
            graph[each],
            hidden[each],
            each.type in personal,
            orders[hidden[each]] & plan.policy.purposes.keys() if hidden[each] in orders else frozenset(),
        )
        for each in wanted
    }
    for work in works:
        work.has_other_names = work.place in other_names
        mine = tuple([carried[each] for each in work.identifiers])
        if suppressed:
            is_named = any(hidden[each] in suppressed for each in other_names.get(work.place, ()))
            kept = Suppressed.PERSON if is_named else barrier(mine, suppressed)
            if isinstance(kept, Suppressed):
                work.outcome = Outcome(State.SUPPRESSED, kept.value)
                continue
            mine = kept
        work.carried = mine


def _other_names(plan: Plan, work: Work) -> list[Identifier]:
    """Persons whom a message may name under another type than the one it is read as.

    An alias may give a customer number as the previous id, and many send an e-mail address as an id.
    """
    types = plan.policy.identifiers.types
    read = plan.normaliser.read
    found: list[Identifier | Ignored] = []
    if work.message.kind == "alias":
        found.extend(read(each, work.message.body.get("previousId")) for each in plan.policy.identifiers.unique_types)
    for each in work.identifiers:
        if "@" in each.value and types[each.type].normalizer is not NormalizerKind.EMAIL:
            found.extend(
                read(key, each.value) for key, type_ in types.items() if type_.normalizer is NormalizerKind.EMAIL
            )
    return [each for each in found if isinstance(each, Identifier)]


def find_duplicates(tx: Transaction, works: Iterable[Work]) -> None:
    """Settle the open works whose message is stored already."""
    works = [work for work in works if work.outcome is None]
    asked = {work.event_id: work for work in works}
    known = behavior_store.known_messages(tx, list(asked))
    for work in works:
        digest = known.get(work.event_id)
        if digest is not None:
            work.outcome = Outcome(State.DUPLICATE)
            work.is_other_body = digest != work.message.body_digest


def load_batch_state(tx: Transaction, vault: Vault, plan: Plan, *, works: Sequence[Work]) -> BatchState:
    """Find or name the identifiers and anchors of these works, and load the groups that could change."""
    scene = BatchState(plan)
    strangers = [work for work in works if work.cached is None]
    _find_identifiers(tx, vault, scene, works=strangers)
    named: dict[tuple[int, ...], bytes] = {}
    for work in strangers:
        work.members = members = tuple([scene.ids[each.graph_pseudonym] for each in work.carried])
        digest = named.get(members)
        work.digest = named[members] = members_digest(members) if digest is None else digest
    digests = dict.fromkeys(named.values(), 0)
    scene.anchors = anchor_store.anchors_by_digest(tx, list(digests))
    for digest in digests:
        known = scene.anchors.get(digest)
        digests[digest] = new_id() if known is None else known.anchor_id
    for work in strangers:
        work.anchor_id = digests[work.digest]
        work.is_novel = _is_novel(scene, work)
    _load_groups(tx, scene, strangers)
    for work in works:
        if work.cached is not None:
            _recognize(scene, work, work.cached)
    return scene


def _recognize(scene: BatchState, work: Work, familiar: CachedProfile) -> None:
    """Let a message land where those before it did; what the store told about its profile just now comes first."""
    anchor, profile = familiar.anchor, familiar.profile
    work.members, work.digest, work.anchor_id = familiar.members, familiar.digest, anchor.anchor_id
    if anchor.anchor_id not in scene.profile_cache:
        scene.profile_cache[anchor.anchor_id] = familiar
        scene.anchors[familiar.digest] = anchor
        scene.origins[profile.profile_id] = profile.origin
        scene.profile_of[profile.origin] = profile.profile_id
        scene.profiles.setdefault(profile.profile_id, profile)


def past_of(tx: Transaction, scene: BatchState, known: ConsentInputs, *, learned: frozenset[int]) -> StartState:
    """The world before the batch; once something is learned to be shared, with the closure it touches replayed.

    The closure is loaded at the first thing learned and serves for all that follow: it starts from everybody at stake.
    """
    touched: Collection[int] = ()
    steps: tuple[ResolutionStep, ...] = ()
    if learned or scene.closure is not None:
        if scene.closure is None:
            scene.closure = _load_closure(tx, scene, learned)
            known.records.extend(record_store.records_of(tx, scene.closure.types.keys() - scene.asked))
            known.replayed.update(_replayed(tx, scene.closure))
        steps = scene.closure.steps
        touched = {member for step in steps for member in step.members}
    replayed = {step.anchor_id for step in steps}
    world = World(scene.plan.rules, scene.types, scene.shared | learned, scene.never)
    for profile_id, links in scene.links.items():
        if any(link.identifier_id in touched for link in links):
            continue
        profile = scene.profiles[profile_id]
        members = {link.identifier_id: link.linked_at for link in links}
        world.add(Group(profile.origin, members, profile.merges, profile.is_quarantined))
    for anchor in scene.anchors.values():
        if anchor.is_settled and anchor.anchor_id not in replayed:
            world.placement[anchor.anchor_id] = scene.origins[anchor.profile_id]
    return StartState(world, steps)


def load_known(tx: Transaction, scene: BatchState, works: Sequence[Work], *, bits: Mapping[str, int]) -> ConsentInputs:
    """What consent needs: records and sources of the groups at stake, standing verdicts of everybody else."""
    at_stake = list(scene.links)
    seen = anchor_store.unowned_identifiers_of(tx, at_stake) if at_stake else {}
    asked = {member for work in works if work.is_novel for member in work.members} - scene.is_new.keys()
    asked.update(link.identifier_id for links in scene.links.values() for link in links)
    asked.update(identifier for found in seen.values() for identifier in found)
    scene.asked = frozenset(asked)
    jurisdictions = _jurisdictions(tx, at_stake)
    met = {each.profile.profile_id: each.verdicts for each in scene.profile_cache.values()}
    others = [each for each in scene.profiles if each not in scene.links and each not in met]
    return ConsentInputs(
        records=record_store.records_of(tx, list(asked)),
        seen={scene.origins[each]: frozenset(found) for each, found in seen.items()},
        jurisdictions={scene.origins[each]: found for each, found in jurisdictions.items()},
        ages={
            scene.origins[each]: age
            for each, age in (ages_of(tx, at_stake) if at_stake and asks_for_age(scene.plan.policy) else {}).items()
        },
        quarantined=frozenset(each.origin for each in scene.profiles.values() if each.is_quarantined),
        standing={
            scene.origins[each]: found
            for each, found in (met | _standing(tx, others)).items()
            if each not in scene.links
        },
        bits=bits,
    )


def _standing(tx: Transaction, profile_ids: Collection[int]) -> dict[int, dict[str, Verdict]]:
    """The verdicts in force of these profiles; where no row says anything, nobody said anything."""
    permitted = verdict_store.permitted_of(tx, profile_ids)
    refused = verdict_store.refused_of(tx, profile_ids)
    return {
        profile_id: {
            key: Verdict(True, Reason.GRANTED, each.since, each.until)
            for key, each in permitted.get(profile_id, {}).items()
        }
        | {key: Verdict(False, reason) for key, reason in refused.get(profile_id, {}).items()}
        for profile_id in profile_ids
    }


def _is_novel(scene: BatchState, work: Work) -> bool:
    """Whether a work's people must be looked at: an anchor not settled yet, or something said that verdicts depend on."""
    anchor = scene.anchors.get(work.digest)
    says_something = work.affects_verdicts or any(each.refused_purposes for each in work.carried)
    if anchor is None or not anchor.is_settled or says_something:
        return True
    return int(work.message.source.source_id) not in anchor.sources


def _find_identifiers(tx: Transaction, vault: Vault, scene: BatchState, *, works: Sequence[Work]) -> None:
    carried = {each.graph_pseudonym: each for work in works for each in work.carried}
    known = identifier_store.identifiers_by_pseudonym(tx, list(carried))
    for version in vault.root_keys.versions(GRAPH)[:-1]:
        missing = [each for pseudonym, each in carried.items() if pseudonym not in known]
        older = vault.hashes.pseudonyms(GRAPH, (each.identifier for each in missing), version=version)
        found = identifier_store.identifiers_by_pseudonym(tx, older)
        known |= {each.graph_pseudonym: found[old] for each, old in zip(missing, older, strict=True) if old in found}
    for pseudonym, each in carried.items():
        stored = known.get(pseudonym)
        identifier_id = new_id() if stored is None else stored.identifier_id
        scene.ids[pseudonym] = identifier_id
        scene.types[identifier_id] = each.identifier.type
        if stored is None:
            scene.is_new[identifier_id] = each
            continue
        if stored.is_shared:
            scene.shared.add(identifier_id)
        if stored.profile_id is not None:
            scene.owner[identifier_id] = stored.profile_id


def _load_groups(tx: Transaction, scene: BatchState, works: Sequence[Work]) -> None:
    novel = [work for work in works if work.is_novel]
    at_stake = {scene.owner[member] for work in novel for member in work.members if member in scene.owner}
    at_stake.update(scene.anchors[work.digest].profile_id for work in novel if work.digest in scene.anchors)
    everybody = at_stake | {anchor.profile_id for anchor in scene.anchors.values()}
    for known in profile_store.profiles(tx, list(everybody)) if everybody else ():
        scene.profiles[known.profile_id] = known
        scene.origins[known.profile_id] = known.origin
        scene.profile_of[known.origin] = known.profile_id
    if not at_stake:
        return
    scene.links = {profile_id: [] for profile_id in at_stake}
    for link in profile_store.links_of(tx, list(at_stake)):
        scene.links[link.profile_id].append(link)
        scene.types[link.identifier_id] = link.type
    scene.never = separation_store.never_pairs(
        tx, [link.identifier_id for links in scene.links.values() for link in links]
    )


def _load_closure(tx: Transaction, scene: BatchState, learned: frozenset[int]) -> closure_store.Closure:
    """The recorded steps around everybody at stake, wide enough for any weak identifier of theirs to become shared."""
    rules = scene.plan.rules
    start = {link.identifier_id for links in scene.links.values() for link in links}
    start.update(each for each in (*scene.ids.values(), *learned) if each not in scene.is_new)
    _ask_about_familiars(tx, scene)
    start.update(member for each in scene.profile_cache.values() for member in each.members)
    start -= scene.shared
    closure = closure_store.closure(
        tx,
        list(start),
        learned=[each for each in start if scene.types[each] in rules.can_be_shared],
        non_linking=[type_ for type_, links in rules.links.items() if not links],
    )
    scene.types.update(closure.types)
    scene.shared.update(closure.shared)
    scene.profile_of.update(closure.profiles)
    scene.origins.update({profile_id: born for born, profile_id in closure.profiles.items()})
    scene.never.update(separation_store.never_pairs(tx, list(closure.types)))
    return closure


def _ask_about_familiars(tx: Transaction, scene: BatchState) -> None:
    """What only a closure needs to know of people who were recognized."""
    members = {member for each in scene.profile_cache.values() for member in each.members}
    for identifier in identifier_store.sealed_of(tx, members) if members else ():
        scene.types[identifier.identifier_id] = identifier.type
        if identifier.is_shared:
            scene.shared.add(identifier.identifier_id)


def _replayed(tx: Transaction, closure: closure_store.Closure) -> dict[int, ReplayedAnchor]:
    """The anchors of a closure, and its edges under the negative of their sequence."""
    places = _places(tx)
    sources = anchor_store.sources_of_steps(tx, {step.anchor_id for step in closure.steps})
    return {
        step.anchor_id: ReplayedAnchor(
            frozenset(step.members),
            frozenset(places[each] for each in sources.get(step.anchor_id, ()) if each in places),
        )
        for step in closure.steps
    }


def _places(tx: Transaction) -> dict[int, str]:
    """The jurisdiction of every source."""
    return {int(entry.source.source_id): entry.source.jurisdiction for entry in source_store.sources(tx)}


def _jurisdictions(tx: Transaction, profile_ids: Collection[int]) -> dict[int, frozenset[str]]:
    if not profile_ids:
        return {}
    by_source = _places(tx)
    sources = anchor_store.sources_of(tx, profile_ids)
    return {
        profile_id: frozenset(by_source[each] for each in found if each in by_source)
        for profile_id, found in sources.items()
    }
