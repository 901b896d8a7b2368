"""Writing what a batch came to: identifiers, keys, anchors, links, evidence, records, verdicts and events."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from cdp.accounting.model import NoticeKind, State
from cdp.accounting.store import messages as accounting_store
from cdp.accounting.store import notices as notice_store
from cdp.audit.store import facts as fact_store
from cdp.behavior.classify import json_bytes, payload, seal_refused_terms, terms_of
from cdp.behavior.model import EventEntry
from cdp.behavior.store import batch as behavior_store
from cdp.behavior.store.terms import intern_terms
from cdp.behavior.traits import TraitPlan
from cdp.consent.model import Record
from cdp.consent.store import records as record_store
from cdp.consent.store import verdicts as verdict_store
from cdp.flows.consent.verdicts import (
    apply_mapping_change,
    project_traits,
    put_in_force,
    refresh_verdicts,
    update_derived_data,
)
from cdp.flows.identifiers import IDENTIFIER_PLACE
from cdp.flows.ingest.judge import BatchJudge, Verdicts
from cdp.flows.ingest.load import BatchState
from cdp.flows.ingest.stages import Plan, Work
from cdp.identity.model import EvidenceRow, Ignored, Rule
from cdp.identity.partition import Partition, partition_of
from cdp.identity.resolve import Proposal, Run
from cdp.identity.store import anchors as anchor_store
from cdp.identity.store import closure as closure_store
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import evidence as evidence_store
from cdp.identity.store import identifiers as identifier_store
from cdp.identity.store import mapping as mapping_store
from cdp.kit.db import Transaction
from cdp.kit.ids import new_id
from cdp.rights.replay_file import OptOut
from cdp.schema.ids import SourceId
from cdp.segments.store import marks as mark_store
from cdp.vault.pseudonym import GRAPH
from cdp.vault.seal import SealedColumn
from cdp.vault.vault import Item, Vault
from cdp.wire.timestamps import is_from_the_future

MESSAGE_PLACE = SealedColumn("identity.resolution", "message_sealed")
_REMEMBERED_MAX = 400_000
_SEALED_AT_ONCE = 200
_NO_TRAITS: Mapping[str, bytes] = {}


@dataclass(frozen=True, slots=True)
class WriterCache:
    """What the process keeps between batches, true for any of them.

    `sourced` are (anchor, source) pairs that are stored; `seen_on` is a day on which identifiers are stored as seen.
    Neither is ever taken back: an id that is erased never comes again.
    """

    masks: Mapping[str, int]
    traits: TraitPlan
    sourced: set[tuple[int, int]] = field(default_factory=set)
    seen_on: dict[int, date] = field(default_factory=dict)

    def keep(self, sourced: Collection[tuple[int, int]], seen: Collection[int], day: date) -> None:
        """Remember what a committed batch stored."""
        if len(self.sourced) + len(self.seen_on) > _REMEMBERED_MAX:
            self.sourced.clear()
            self.seen_on.clear()
        self.sourced.update(sourced)
        self.seen_on.update(dict.fromkeys(seen, day))


@dataclass(slots=True)
class BatchWriter:
    """One batch being written. `touched` are profiles that it changed beside those at stake."""

    tx: Transaction
    vault: Vault
    plan: Plan
    scene: BatchState
    run: Run
    judge: BatchJudge
    works: Sequence[Work]
    now: datetime
    memory: WriterCache
    keys: dict[int, bytes] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)

    def write(self) -> None:
        """Everything, in the order in which later parts need earlier ones."""
        stored = [work for work in self.works if work.outcome is not None and work.outcome.state is State.STORED]
        fresh = self._name_profiles()
        needed = {member for work in stored for member in work.members}
        needed.update(record.identifier_id for record in self.judge.ledger.added)
        anchors = self._new_anchors(stored)
        new_ids = [each for each in self.scene.is_new if each in needed]
        self._load_keys(stored, [*new_ids, *(anchor.anchor_id for anchor in anchors)])
        self._write_map(self._new_identifiers(new_ids), fresh, anchors)
        self._write_seen(stored, needed)
        self._write_evidence()
        changed = self._write_consent(stored, fresh)
        self._write_events(stored)
        self._follow(stored, changed)
        mark_store.mark(self.tx, self._touched(stored))

    def _touched(self, stored: Sequence[Work]) -> Iterator[tuple[int, str | None]]:
        """The profiles whose memberships this batch can change, each with what came: an event by name, or anything."""
        for born in (*self.judge.changed, *self.run.world.merged_into):
            yield self.profile_at(born), None
            if born in self.scene.profile_of:
                yield self.scene.profile_of[born], None
        for work in stored:
            if work.classified.plain_traits:
                yield self._profile_of(work), None
            elif work.classified.name is not None:
                yield self._profile_of(work), work.classified.name

    def profile_at(self, born: int) -> int:
        """The profile that a birth means at the end of the batch."""
        return self.scene.profile_of[self.run.world.current(born)]

    def _profile_of(self, work: Work) -> int:
        world = self.run.world
        return self.profile_at(world.accepted_placement.get(work.anchor_id, world.placement.get(work.anchor_id, 0)))

    def _name_profiles(self) -> list[mapping_store.NewProfile]:
        fresh = []
        for born in self.run.world.groups:
            if born not in self.scene.profile_of:
                self.scene.profile_of[born] = new_id()
                fresh.append(mapping_store.NewProfile(self.scene.profile_of[born], born, self.now))
        return fresh

    def _new_identifiers(self, ids: Sequence[int]) -> list[identifier_store.NewIdentifier]:
        fresh = [(id_, self.scene.is_new[id_]) for id_ in ids]
        sealed = self.vault.seal_many(
            self.keys, IDENTIFIER_PLACE, (Item(id_, id_, each.identifier.value.encode()) for id_, each in fresh)
        )
        version = self.vault.root_keys.versions(GRAPH)[-1]
        today = self.now.date()
        return [
            identifier_store.NewIdentifier(
                id_, each.identifier.type, each.graph_pseudonym, version, envelope, self.now, today
            )
            for (id_, each), envelope in zip(fresh, sealed, strict=True)
        ]

    def _write_seen(self, stored: Sequence[Work], needed: Collection[int]) -> None:
        """Who was seen today and from where, as far as this process does not know it to be stored."""
        today = self.now.date()
        sourced = {(work.anchor_id, int(work.message.source.source_id)) for work in stored} - self.memory.sourced
        anchor_store.insert_anchor_sources(self.tx, sourced)
        unseen = [each for each in needed if self.memory.seen_on.get(each) != today]
        identifier_store.touch_identifiers(self.tx, ((each, today) for each in unseen if each not in self.scene.is_new))
        self.tx.on_commit(lambda: self.memory.keep(sourced, unseen, today))

    def _new_anchors(self, stored: Sequence[Work]) -> list[anchor_store.NewAnchor]:
        landed = {proposal.step.anchor_id: proposal for proposal in self.run.accepted}
        fresh: dict[int, anchor_store.NewAnchor] = {}
        unsettled = []
        for work in stored:
            proposal = landed.get(work.anchor_id)
            if work.digest in self.scene.anchors:
                if proposal is not None and proposal.depends_on_time:
                    unsettled.append(work.anchor_id)
            elif proposal is not None and work.anchor_id not in fresh:
                profile_id = self.profile_at(self.run.world.accepted_placement[work.anchor_id])
                fresh[work.anchor_id] = anchor_store.NewAnchor(
                    work.anchor_id, work.digest, self.now, not proposal.depends_on_time, work.members, profile_id
                )
        mapping_store.reopen_anchors(self.tx, unsettled)
        return list(fresh.values())

    def _load_keys(self, stored: Sequence[Work], new_ids: Sequence[int]) -> None:
        self.keys |= self.vault.subject_keys.create(self.tx, new_ids)
        known = {work.anchor_id for work in stored} - self.keys.keys()
        if known:
            self.keys |= self.vault.subject_keys.keys_for(self.tx, known)

    def _write_map(
        self,
        identifiers: Sequence[identifier_store.NewIdentifier],
        fresh: Sequence[mapping_store.NewProfile],
        anchors: Sequence[anchor_store.NewAnchor],
    ) -> None:
        world = self.run.world
        links = self._new_links() if self.scene.closure is None else ()
        mapping_store.insert_new(self.tx, identifiers, fresh, links=links, anchors=anchors)
        if self.scene.closure is None:
            self._write_merges()
        else:
            self._rewrite_map(self.scene.closure)
        mapping_store.quarantine(
            self.tx, [self.scene.profile_of[born] for born, group in world.groups.items() if group.is_quarantined]
        )
        identifier_store.mark_shared(self.tx, [each for each in self.run.learned if each in world.shared])

    def _write_merges(self) -> None:
        absorbed = {
            self.scene.profile_of[born]: self.profile_at(born)
            for born in self.run.world.merged_into
            if born in self.scene.profile_of
        }
        mapping_store.merge_profiles(self.tx, absorbed)

    def _new_links(self) -> list[mapping_store.NewLink]:
        """Owners of what nobody owned, already with those who survive the batch."""
        owned_before = {link.identifier_id for links in self.scene.links.values() for link in links}
        return [
            mapping_store.NewLink(each, self.scene.profile_of[group.origin], linked_at)
            for group in self.run.world.groups.values()
            for each, linked_at in group.members.items()
            if each not in self.scene.owner and each not in owned_before
        ]

    def _rewrite_map(self, closure: closure_store.Closure) -> None:
        """After something turned out to be shared: owners and anchors of the whole closure, as replayed."""
        write_partition(
            self.tx, partition_of(self.run, self.scene.profile_of), members=list(closure.types.keys() - closure.shared)
        )

    def _write_evidence(self) -> None:
        works = {work.sequence: work for work in self.works if work.sequence}
        mine = [proposal for proposal in self.run.accepted if proposal.step.sequence in works]
        told = [works[proposal.step.sequence] for proposal in mine]
        sealed = self.vault.seal_many(
            self.keys,
            MESSAGE_PLACE,
            (Item(work.anchor_id, work.sequence, work.message.message_id.encode("utf-8", "replace")) for work in told),
        )
        steps = [
            evidence_store.NewResolution(
                work.sequence, work.anchor_id, int(work.message.source.source_id), work.message.received_at, envelope
            )
            for work, envelope in zip(told, sealed, strict=True)
        ]
        rows = [row for proposal in mine for row in self._evidence(proposal)]
        rows.extend(self._shared_evidence(mine))
        evidence_store.record(self.tx, steps, rows, policy_fingerprint=self.plan.fingerprint)
        merges = sum(len(proposal.absorbed) for proposal in mine)
        if merges:
            fact_store.append(
                self.tx,
                {
                    "kind": "identity.merged",
                    "actor": "source",
                    "profiles": merges,
                    "policy": self.plan.policy.fingerprint,
                },
                self.now,
            )

    def _evidence(self, proposal: Proposal) -> list[EvidenceRow]:
        step = proposal.step
        profile_id = self.profile_at(self.run.world.accepted_placement[step.anchor_id])
        rows = [
            EvidenceRow(
                step.sequence,
                "link",
                Rule.SAME_MESSAGE,
                each,
                None if each == proposal.base else proposal.base,
                profile_id,
                None,
                step.at,
            )
            for each in proposal.joining
        ]
        rows += [
            EvidenceRow(
                step.sequence,
                "merge",
                Rule.SAME_MESSAGE,
                proposal.bridges[born],
                proposal.base,
                profile_id,
                self.scene.profile_of.get(born),
                step.at,
            )
            for born in proposal.absorbed
        ]
        rows += [
            EvidenceRow(
                step.sequence,
                "quarantine" if each.rule is Rule.BOUND else "refusal",
                f"{each.rule.value}:{each.detail}",
                each.identifier,
                each.other,
                profile_id,
                None,
                step.at,
            )
            for each in proposal.refusals
        ]
        return rows

    def _shared_evidence(self, mine: Sequence[Proposal]) -> list[EvidenceRow]:
        rows = []
        for learned in self.run.learned:
            proposal = next((each for each in mine if learned in each.step.members), None)
            if proposal is not None:
                profile_id = self.profile_at(self.run.world.accepted_placement[proposal.step.anchor_id])
                rows.append(
                    EvidenceRow(
                        proposal.step.sequence,
                        "shared",
                        Rule.UNIQUE,
                        learned,
                        proposal.base,
                        profile_id,
                        None,
                        proposal.step.at,
                    )
                )
        return rows

    def _write_consent(self, stored: Sequence[Work], fresh: Sequence[mapping_store.NewProfile]) -> set[tuple[int, str]]:
        """Ledger and verdicts; gives the (profile, purpose) pairs that projections and traits must follow."""
        added, repeated = self.judge.ledger.added, self.judge.ledger.repeated
        record_store.append(self.tx, added)
        record_store.store_repetitions(self.tx, repeated)
        if self.scene.closure is not None:
            return set()
        world = self.run.world
        changed = {self.scene.profile_of[born]: self.judge.verdicts_of(world, born) for born in self.judge.changed}
        retired = {
            self.scene.profile_of[born]: self.profile_at(born)
            for born in world.merged_into
            if born in self.scene.profile_of
        }
        if not changed and not retired:
            return set()
        newborn = {each.profile_id for each in fresh}
        outcome = put_in_force(self.tx, self.vault, changed, now=self.now, retired=retired, new_profiles=newborn)
        overtaken = self._overtaken(stored, changed)
        verdict_store.add_withdrawals(self.tx, overtaken, self.now)
        return overtaken.union(pair for pair in outcome.ended | outcome.begun if pair[0] not in newborn)

    def _overtaken(self, stored: Sequence[Work], verdicts: Mapping[int, Verdicts]) -> set[tuple[int, str]]:
        """The pairs for which a message of this batch was stored by a permission that a later one took back."""
        return {
            (profile_id, purpose)
            for work in stored
            if (profile_id := self._profile_of(work)) in verdicts
            for purpose, verdict in verdicts[profile_id].items()
            if work.bits & self.memory.masks[purpose]
            and (verdict.since is None or work.message.occurred_at < verdict.since)
        }

    def _follow(self, stored: Sequence[Work], changed: set[tuple[int, str]]) -> None:
        """Let everything derived follow, now that events and traits are written."""
        policy = self.plan.policy
        if self.scene.closure is not None:
            partition = partition_of(self.run, self.scene.profile_of)
            apply_mapping_change(
                self.tx, self.vault, policy, profile_ids=partition.living, now=self.now, retired=partition.retired
            )
        else:
            update_derived_data(self.tx, policy, changed, now=self.now)
        told = {each.identifier_id for each in (*self.judge.ledger.added, *self.judge.ledger.repeated)}
        others = consent_subject_store.profiles_decided_by(self.tx, told) - {
            self.scene.profile_of[born] for born in self.judge.changed
        }
        if others:
            self.touched |= others
            refresh_verdicts(self.tx, self.vault, policy, profile_ids=others, now=self.now)
        stating = {self._profile_of(work) for work in stored if work.classified.plain_traits}
        if stating:
            project_traits(self.tx, policy, self.memory.masks, profile_ids=stating, now=self.now)

    def _write_events(self, stored: Sequence[Work]) -> None:
        if not stored:
            return
        fresh = behavior_store.remember_messages(self.tx, self._remembered(stored))
        stored = [work for work in stored if work.event_id in fresh]
        terms = intern_terms(self.tx, terms_of(work.classified for work in stored), self.plan.events)
        if not stored:
            return
        if terms.refused:
            for work in stored:
                work.classified = seal_refused_terms(work.classified, terms)
        entries = self._entries(stored, self._sealed_traits(stored))
        behavior_store.append(self.tx, entries, terms, plan=self.memory.traits, now=self.now)

    def _entries(self, stored: Sequence[Work], traits: Mapping[int, Mapping[str, bytes]]) -> Iterator[EventEntry]:
        """The works as they are stored, sealed some at a time."""
        for at in range(0, len(stored), _SEALED_AT_ONCE):
            some = stored[at : at + _SEALED_AT_ONCE]
            sealed = self.vault.seal_many(
                self.keys,
                behavior_store.EVENT,
                (Item(work.anchor_id, work.event_id.bytes, payload(work.classified)) for work in some),
            )
            for work, envelope in zip(some, sealed, strict=True):
                yield EventEntry(
                    anchor_id=work.anchor_id,
                    event_id=work.event_id,
                    occurred_at=work.message.occurred_at,
                    received_at=work.message.received_at,
                    source_id=int(work.message.source.source_id),
                    bits=work.bits,
                    classified=work.classified,
                    sealed=envelope,
                    sealed_traits=traits.get(work.place, _NO_TRAITS),
                )

    def _remembered(self, stored: Sequence[Work]) -> list[behavior_store.Remembered]:
        """A message id is kept as long as its event would be, counted from the later of its two times."""
        classes = self.plan.policy.retention.classes
        until: dict[tuple[str, datetime], date] = {}
        rows = []
        for work in stored:
            kept = (work.classified.retention_class, work.message.received_at)
            day = until.get(kept)
            if day is None:
                day = until[kept] = (kept[1] + timedelta(days=classes[kept[0]].keep_for_days + 1)).date()
            rows.append(behavior_store.Remembered(work.event_id, work.message.body_digest, day))
        return rows

    def _sealed_traits(self, stored: Sequence[Work]) -> dict[int, dict[str, bytes]]:
        asked = [(work, name, value) for work in stored for name, value in work.classified.sealed_traits.items()]
        envelopes = self.vault.seal_many(
            self.keys,
            behavior_store.TRAIT,
            (
                Item(work.anchor_id, behavior_store.trait_row(work.anchor_id, name), json_bytes(value))
                for work, name, value in asked
            ),
        )
        found: dict[int, dict[str, bytes]] = {}
        for (work, name, _), envelope in zip(asked, envelopes, strict=True):
            found.setdefault(work.place, {})[name] = envelope
        return found


def write_partition(tx: Transaction, partition: Partition, *, members: Sequence[int]) -> None:
    """Make the stored map of these identifiers exactly what a replay came to."""
    mapping_store.write_mapping(
        tx,
        members=members,
        links=[mapping_store.NewLink(each, *owner) for each, owner in partition.owners.items()],
        canonical=partition.canonical,
        living=partition.living,
        retired=partition.retired,
    )


def account(
    tx: Transaction, works: Sequence[Work], invalid: Mapping[tuple[SourceId, str], int], *, now: datetime
) -> Counter[str]:
    """Count what became of every message, and the oddities met; gives the number of messages by state."""
    counts: Counter[tuple[SourceId, State, str]] = Counter()
    odd: Counter[tuple[SourceId, NoticeKind, str]] = Counter()
    for (source_id, reason), number in invalid.items():
        counts[source_id, State.INVALID, reason] += number
    for work in works:
        source_id = work.message.source.source_id
        if work.outcome is not None:
            counts[source_id, work.outcome.state, work.outcome.reason] += 1
        message = work.message
        if message.occurred_at >= message.received_at and is_from_the_future(message.body, message.received_at):
            odd[source_id, NoticeKind.FUTURE_TIME, "other"] += 1
        if work.is_other_body:
            odd[source_id, NoticeKind.DUPLICATE_OTHER_BODY, "other"] += 1
        for reason, type_ in work.ignored:
            kind = (
                NoticeKind.UNKNOWN_IDENTIFIER_TYPE if reason is Ignored.UNKNOWN_TYPE else NoticeKind.BLOCKED_IDENTIFIER
            )
            odd[source_id, kind, type_] += 1
        for signal in work.signals.malformed:
            odd[source_id, NoticeKind.MALFORMED_SIGNAL, signal] += 1
        for signal in work.signals.unknown:
            odd[source_id, NoticeKind.UNKNOWN_PURPOSE, signal] += 1
        if work.classified.name is None:
            odd[source_id, NoticeKind.UNKNOWN_EVENT, "other"] += 1
        if work.classified.unknown:
            odd[source_id, NoticeKind.UNKNOWN_PROPERTY, "other"] += work.classified.unknown
    accounting_store.add_accounting(tx, accounting_store.hour_of(now), counts)
    notice_store.add_notices(tx, accounting_store.hour_of(now), odd)
    states: Counter[str] = Counter()
    for (_, state, _), number in counts.items():
        states[state.value] += number
    return states


def opt_outs_of(added: Sequence[Record], works: Sequence[Work]) -> list[OptOut]:
    """The noes among new records, as the replay file keeps them."""
    noes = [record for record in added if record.act.is_refusal]
    if not noes:
        return []
    hidden = {
        member: each.suppression_pseudonym
        for work in works
        if work.cached is None
        for member, each in zip(work.members, work.carried, strict=True)
    }
    return [
        OptOut(
            identifier_id=record.identifier_id,
            pseudonym=hidden[record.identifier_id],
            purpose=record.purpose,
            act=record.act.value,
            authority=record.authority.value,
            jurisdiction=record.jurisdiction,
            occurred_at=record.occurred_at,
            signal=record.signal or "",
        )
        for record in noes
    ]
