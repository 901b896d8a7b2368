"""One part of a link table in one transaction: judged, named, recorded, resolved and accounted.

Groups in which no rule can break become profiles set by set; the others go through the sequential rules. Both end
where stepping through the rows one by one would end. The statements do not grow with the part.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, repeat

from cdp.accounting.model import State
from cdp.accounting.store.messages import add_accounting, hour_of
from cdp.audit.store import facts as fact_store
from cdp.consent.model import Verdict
from cdp.consent.store import records as record_store
from cdp.consent.store.first_verdicts import permit_new_profiles
from cdp.consent.store.verdicts import has_stored_row
from cdp.flows.consent.verdicts import MARKETER, apply_mapping_change, put_in_force
from cdp.flows.context import Context
from cdp.flows.identity.link_table.evidence import bounded_evidence, merges_of
from cdp.flows.identity.link_table.identifiers import (
    GenerationLog,
    LinkTableSnapshot,
    NewIdentifiers,
    PreparedPart,
    load_snapshot,
    name_identifiers,
)
from cdp.flows.identity.link_table.judge import EdgeGroup, Judged, Verdicts, judge_known, judge_unknown
from cdp.flows.identity.link_table.rows import Part
from cdp.flows.identity.mapping_replay import replay_around
from cdp.identity.model import EvidenceRow
from cdp.identity.store import evidence as evidence_store
from cdp.identity.store import generation as generation_store
from cdp.identity.store import link_tables as link_table_store
from cdp.identity.store import mapping as mapping_store
from cdp.kit.db import Transaction
from cdp.kit.ids import new_ids
from cdp.segments.store import marks as mark_store
from cdp.sources.model import Source


@dataclass(frozen=True, slots=True)
class PartResult:
    """What a part came to: its rows by state and reason, the identifiers of its groups, and the groups by their road."""

    states: Mapping[tuple[State, str], int]
    identifiers: int
    profiles: int
    plain: int
    bounded: int


def process_part(
    tx: Transaction,
    context: Context,
    source: Source,
    *,
    prepared: PreparedPart,
    trail: GenerationLog,
    import_job_id: int | None,
    actor: str,
    look_again: bool = False,
) -> PartResult:
    """Take a part: all of it lands with the transaction, or nothing. The lock is held from here to its end.

    With `look_again` nothing is believed that was seen before the lock.
    """
    part = prepared.part
    generation = generation_store.lock_exclusive(tx)
    now = context.clock.now()
    sight = prepared.sight
    if look_again or not (sight.knows_nobody and trail.leads(sight.generation, generation)):
        sight = load_snapshot(tx, context, part, generation=generation, now=now)
    names = _completed(tx, context, part, sight=sight, names=prepared.names)
    ids = _ids(part, sight, names)
    if sight.knows_nobody:
        judged = judge_unknown(context, source, part, now=now)
    else:
        judged = judge_known(tx, context, source, part=part, ids=ids, sight=sight, now=now)
    landing = _PartWriter(
        tx, context, part, sight=sight, ids=ids, judged=judged, first_sequence=generation.next_sequence, now=now
    )
    landing.name(names)
    landing.record(source, import_job_id)
    profiles = landing.settle_plain() + landing.settle_bounded()
    after = generation.next_sequence + len(landing.edges)
    generation_store.advance(tx, next_sequence=after, changed=bool(judged.groups) and not sight.knows_nobody)
    reached = generation_store.generation(tx)
    _add_up(tx, source, judged.states, actor=actor, now=now)
    tx.on_commit(lambda: trail.note(generation, reached))
    return PartResult(
        judged.states,
        sum(len(each.members) for each in judged.groups),
        profiles,
        len(landing.plain),
        len(landing.bounded),
    )


def _add_up(
    tx: Transaction, source: Source, states: Mapping[tuple[State, str], int], *, actor: str, now: datetime
) -> None:
    counts = {(source.source_id, state, reason): number for (state, reason), number in states.items()}
    add_accounting(tx, hour_of(now), counts)
    told: Counter[str] = Counter()
    for (state, _), number in states.items():
        told[state.value] += number
    fact_store.append(tx, {"kind": "ingest.batch", "actor": actor, "states": dict(told)}, now)


def _completed(
    tx: Transaction, context: Context, part: Part, *, sight: LinkTableSnapshot, names: NewIdentifiers
) -> NewIdentifiers:
    """The names of those who are strangers now: some may be known meanwhile, and some who were known erased."""
    strangers = [at for at in range(len(part.identifiers)) if at not in sight.known and at not in sight.suppressed]
    if list(names.places) == strangers:
        return names
    at_hand = {place: at for at, place in enumerate(names.places)}
    if all(place in at_hand for place in strangers):
        chosen = [at_hand[place] for place in strangers]
        return NewIdentifiers(strangers, names.keys.only(chosen), [names.sealed[at] for at in chosen])
    return name_identifiers(context.vault, context.vault.epochs.active(tx), part, places=strangers)


def _ids(part: Part, sight: LinkTableSnapshot, names: NewIdentifiers) -> Sequence[int]:
    """The id of every identifier; 0 where it is suppressed."""
    if len(names.places) == len(part.identifiers):
        return names.keys.ids
    ids = [0] * len(part.identifiers)
    for at, known in sight.known.items():
        ids[at] = known.identifier_id
    for at, fresh in zip(names.places, names.keys.ids, strict=True):
        ids[at] = fresh
    return ids


class _PartWriter:
    """Writing what a part came to."""

    def __init__(
        self,
        tx: Transaction,
        context: Context,
        part: Part,
        *,
        sight: LinkTableSnapshot,
        ids: Sequence[int],
        judged: Judged,
        first_sequence: int,
        now: datetime,
    ) -> None:
        self.tx = tx
        self.context = context
        self.part = part
        self.sight = sight
        self.ids = ids
        self.now = now
        self.plain = [each for each in judged.groups if each.is_plain]
        self.bounded = [each for each in judged.groups if not each.is_plain]
        self.edges = [place for each in judged.groups for place in each.edges]
        self.begin: dict[int, int] = {}  # the first step of each group, by its first edge
        at = first_sequence
        for each in judged.groups:
            self.begin[each.edges[0]] = at
            at += len(each.edges)
        self.steps = self._steps(self.edges, range(first_sequence, at))
        self.fingerprint = bytes.fromhex(context.policy.fingerprint)

    def _sequences(self, group: EdgeGroup) -> range:
        """The steps of a group."""
        begin = self.begin[group.edges[0]]
        return range(begin, begin + len(group.edges))

    def name(self, names: NewIdentifiers) -> None:
        """Keys and rows for the identifiers that are new and whose rows are taken."""
        groups = [*self.plain, *self.bounded]
        if sum(len(each.members) for each in groups) < len(self.part.identifiers):
            taken = {at for each in groups for at in each.members}
            kept = [at for at, place in enumerate(names.places) if place in taken]
            names = NewIdentifiers(
                [names.places[at] for at in kept], names.keys.only(kept), [names.sealed[at] for at in kept]
            )
        if names.places:
            self.context.vault.subject_keys.store_prepared(self.tx, names.keys)
        link_table_store.insert_identifiers(
            self.tx,
            names.keys.ids,
            [self.part.identifiers[at].type for at in names.places],
            pseudonyms=[self.sight.pseudonyms[at] for at in names.places],
            pseudonym_version=self.sight.versions[-1],
            sealed=names.sealed,
            now=self.now,
        )
        record_store.append(self.tx, [no for each in groups for no in each.noes])

    def record(self, source: Source, import_job_id: int | None) -> None:
        """The rows as steps of the recorded sequence: group by group, within a group as they came."""
        link_table_store.insert_edges(
            self.tx, self.steps, int(source.source_id), import_job_id=import_job_id, now=self.now
        )

    def _steps(self, places: Sequence[int], sequences: Sequence[int]) -> link_table_store.Edges:
        ids, ones, others, rows = self.ids, self.part.ones, self.part.others, self.part.rows
        return link_table_store.Edges(
            sequences,
            [ids[ones[at]] for at in places],
            [ids[others[at]] for at in places],
            [rows[at] for at in places],
        )

    def settle_plain(self) -> int:
        """Each plain group becomes one profile: the oldest that it touches, or a new one born by its first edge."""
        newborn = [each for each in self.plain if not each.owners]
        fresh = iter(sorted(new_ids(len(newborn))))
        profiles = [each.owners[0] if each.owners else next(fresh) for each in self.plain]
        births = [self.begin[each.edges[0]] for each in newborn]
        mine = [profile for each, profile in zip(self.plain, profiles, strict=True) if not each.owners]
        link_table_store.insert_profiles(self.tx, mine, births, now=self.now)
        retired = {
            owner: profile for each, profile in zip(self.plain, profiles, strict=True) for owner in each.owners[1:]
        }
        mapping_store.merge_profiles(self.tx, retired)
        self._own(profiles)
        self._prove(profiles)
        self._permit(newborn, mine)
        touched = {profile for each, profile in zip(self.plain, profiles, strict=True) if each.owners}
        if touched:
            apply_mapping_change(
                self.tx, self.context.vault, self.context.policy, profile_ids=touched, now=self.now, retired=retired
            )
        return len(self.plain)

    def _own(self, profiles: Sequence[int]) -> None:
        """Let everybody in a plain group who had no owner have this one."""
        members = list(chain.from_iterable(each.members for each in self.plain))
        owners = _each_for(profiles, (len(each.members) for each in self.plain))
        known = self.sight.known
        if known:
            free = [at for at, member in enumerate(members) if member not in known or known[member].profile_id is None]
            members, owners = [members[at] for at in free], [owners[at] for at in free]
        link_table_store.insert_links(self.tx, [self.ids[at] for at in members], owners, now=self.now)

    def _prove(self, profiles: Sequence[int]) -> None:
        """Evidence of every row of a plain group, and of the profiles that became one by it."""
        steps = self.steps
        if self.bounded:
            sequences = [sequence for each in self.plain for sequence in self._sequences(each)]
            steps = self._steps([place for each in self.plain for place in each.edges], sequences)
        linked = _each_for(profiles, (len(each.edges) for each in self.plain))
        link_table_store.insert_edge_evidence(self.tx, steps, linked, policy_fingerprint=self.fingerprint, now=self.now)
        self._write_evidence(
            [
                row
                for each, profile in zip(self.plain, profiles, strict=True)
                if len(each.owners) > 1
                for row in merges_of(
                    each,
                    self.part,
                    self.ids,
                    sight=self.sight,
                    profile=profile,
                    first_sequence=self.begin[each.edges[0]],
                    now=self.now,
                )
            ]
        )

    def _write_evidence(self, rows: Sequence[EvidenceRow]) -> None:
        evidence_store.insert_evidence(self.tx, rows, self.fingerprint)
        merges = sum(row.kind == "merge" for row in rows)
        if merges:
            fact = {"kind": "identity.merged", "actor": "source", "profiles": merges}
            fact_store.append(self.tx, fact | {"policy": self.context.policy.fingerprint}, self.now)

    def _permit(self, newborn: Sequence[EdgeGroup], profiles: Sequence[int]) -> None:
        """Put the verdicts of new people in force; people with the same ones at once."""
        alike: dict[int, tuple[Verdicts, list[int]]] = {}
        for each, profile in zip(newborn, profiles, strict=True):
            alike.setdefault(id(each.verdicts), (each.verdicts, []))[1].append(profile)
        for verdicts, ids in alike.values():
            if all(verdict.allowed or not has_stored_row(verdict) for verdict in verdicts.values()):
                self._permit_alike({key: each for key, each in verdicts.items() if each.allowed}, ids)
            else:
                put_in_force(self.tx, self.context.vault, dict.fromkeys(ids, verdicts), now=self.now, new_profiles=ids)
        mark_store.mark(self.tx, ((profile, None) for profile in profiles))

    def _permit_alike(self, verdicts: Mapping[str, Verdict], profiles: Sequence[int]) -> None:
        pseudonyms = [each.hex().encode() for each in self.context.vault.hashes.reader_pseudonyms(MARKETER, profiles)]
        for purpose, verdict in verdicts.items():
            permit_new_profiles(self.tx, purpose, verdict, profile_ids=profiles, pseudonyms=pseudonyms)

    def settle_bounded(self) -> int:
        """Step through the groups in which a rule could break; how many profiles are concerned."""
        if not self.bounded:
            return 0
        start = [self.ids[at] for each in self.bounded for at in each.members]
        redone = replay_around(self.tx, self.context, start, now=self.now)
        steps = {sequence for each in self.bounded for sequence in self._sequences(each)}
        self._write_evidence(bounded_evidence(redone, steps))
        return len(redone.touched)


def _each_for(values: Sequence[int], counts: Iterable[int]) -> list[int]:
    """Each value as often as its count says."""
    return list(chain.from_iterable(map(repeat, values, counts)))
