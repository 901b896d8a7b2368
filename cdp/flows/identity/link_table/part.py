"""Process one part of a link table in one transaction: judge, write, record, resolve and account for its rows.

Groups in which no rule can break become profiles set by set; the others go through the sequential rules. Both have the
result of processing the rows one by one. The number of statements does not depend on the size of the part.
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
from cdp.consent.store.first_verdicts import permit_new_profiles
from cdp.consent.store.verdicts import has_stored_row, put_verdicts
from cdp.flows.consent.recording import append_acts
from cdp.flows.consent.verdicts import apply_mapping_change
from cdp.flows.context import Context
from cdp.flows.identifiers import evidence_of
from cdp.flows.identity.link_table.evidence import bounded_evidence, merges_of, refused_rows
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
from cdp.identity.model import Evidence, EvidenceRow, Rule
from cdp.identity.rules import Rules
from cdp.identity.store import evidence as evidence_store
from cdp.identity.store import generation as generation_store
from cdp.identity.store import identifiers as identifier_store
from cdp.identity.store import link_tables as link_table_store
from cdp.identity.store import mapping as mapping_store
from cdp.kit.db import Transaction
from cdp.kit.ids import new_ids
from cdp.segments.store import marks as mark_store
from cdp.sources.model import Source


@dataclass(frozen=True, slots=True)
class PartResult:
    """The result of a part: its rows by state and reason, and the identifiers, profiles and groups that were stored.

    `refused` has the numbers of the rows that a rule refused, by rule. `plain` counts the groups in which no rule could
    break, `bounded` those that went through the sequential rules.
    """

    states: Mapping[tuple[State, str], int]
    refused: Mapping[Rule, Sequence[int]]
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
    log: GenerationLog,
    import_job_id: int | None,
    actor: str,
    reload: bool = False,
) -> PartResult:
    """Process a part in this transaction, which holds the exclusive lock from here to its end.

    The snapshot that was prepared is used if it is still valid; with `reload` a new one is loaded in any case.
    """
    part = prepared.part
    lock = generation_store.lock_exclusive(tx)
    generation, now = lock.generation, lock.now
    snapshot = prepared.snapshot
    if reload or not (snapshot.is_empty and log.connects(snapshot.generation, generation)):
        snapshot = load_snapshot(tx, context, part, generation=generation, now=now)
    new = _completed(tx, context, part, snapshot=snapshot, prepared=prepared.new)
    ids = _ids(part, snapshot, new)
    if snapshot.is_empty:
        judged = judge_unknown(context, source, part, now=now)
    else:
        judged = judge_known(tx, context, source, part=part, ids=ids, snapshot=snapshot, now=now)
    writer = _PartWriter(
        tx,
        context,
        part,
        snapshot=snapshot,
        ids=ids,
        judged=judged,
        first_sequence=generation.next_sequence,
        now=now,
    )
    writer.write_identifiers(new, evidence_of(source))
    writer.record(source, import_job_id)
    profiles = writer.write_plain(evidence_of(source)) + writer.write_bounded()
    after = generation.next_sequence + len(writer.edges)
    generation_store.advance(tx, next_sequence=after, changed=bool(judged.groups) and not snapshot.is_empty)
    current = generation_store.generation(tx)
    judged.count_refused({rule: len(rows) for rule, rows in writer.refused.items()})
    _write_counts(tx, source, judged.states, actor=actor, now=now)
    tx.on_commit(lambda: log.note(generation, current))
    return PartResult(
        judged.states,
        writer.refused,
        sum(len(group.members) for group in judged.groups),
        profiles,
        len(writer.plain),
        len(writer.bounded),
    )


def _write_counts(
    tx: Transaction, source: Source, states: Mapping[tuple[State, str], int], *, actor: str, now: datetime
) -> None:
    counts = {(source.source_id, state, reason): number for (state, reason), number in states.items()}
    add_accounting(tx, hour_of(now), counts)
    by_state: Counter[str] = Counter()
    for (state, _), number in states.items():
        by_state[state.value] += number
    fact_store.append(tx, {"kind": "ingest.batch", "actor": actor, "states": dict(by_state)}, now)


def _completed(
    tx: Transaction, context: Context, part: Part, *, snapshot: LinkTableSnapshot, prepared: NewIdentifiers
) -> NewIdentifiers:
    """The identifiers that are new under this snapshot: since the preparation, some may have been stored or erased."""
    positions = snapshot.unknown_positions(part)
    if list(prepared.positions) == positions:
        return prepared
    index_of = {position: at for at, position in enumerate(prepared.positions)}
    if all(position in index_of for position in positions):
        return prepared.only([index_of[position] for position in positions])
    return name_identifiers(context.vault, context.vault.epochs.active(tx), part, positions=positions)


def _ids(part: Part, snapshot: LinkTableSnapshot, new: NewIdentifiers) -> Sequence[int]:
    """The id of every identifier of a part; 0 if it is suppressed."""
    if len(new.positions) == len(part.identifiers):
        return new.keys.ids
    ids = [0] * len(part.identifiers)
    for at, stored in snapshot.stored.items():
        ids[at] = stored.identifier_id
    for at, identifier_id in zip(new.positions, new.keys.ids, strict=True):
        ids[at] = identifier_id
    return ids


class _PartWriter:
    """Writes the groups of a judged part."""

    def __init__(
        self,
        tx: Transaction,
        context: Context,
        part: Part,
        *,
        snapshot: LinkTableSnapshot,
        ids: Sequence[int],
        judged: Judged,
        first_sequence: int,
        now: datetime,
    ) -> None:
        self.tx = tx
        self.person_level = Rules(context.policy.identifiers).person_level
        self.context = context
        self.part = part
        self.snapshot = snapshot
        self.ids = ids
        self.now = now
        self.plain = [group for group in judged.groups if group.is_plain]
        self.bounded = [group for group in judged.groups if not group.is_plain]
        self.edges = [position for group in judged.groups for position in group.edges]
        self.refused: dict[Rule, list[int]] = {}  # the numbers of rows by the rule that refused their link
        self.first_step: dict[int, int] = {}  # of each group, by its first edge
        sequence = first_sequence
        for group in judged.groups:
            self.first_step[group.edges[0]] = sequence
            sequence += len(group.edges)
        self.steps = self._steps(self.edges, range(first_sequence, sequence))
        self.fingerprint = bytes.fromhex(context.policy.fingerprint)

    def _sequences(self, group: EdgeGroup) -> range:
        """The sequence numbers of the steps of a group."""
        first = self.first_step[group.edges[0]]
        return range(first, first + len(group.edges))

    def write_identifiers(self, new: NewIdentifiers, authority: Evidence) -> None:
        """Write keys and rows of the new identifiers in groups that are stored, and the acts kept about them."""
        groups = [*self.plain, *self.bounded]
        if sum(len(group.members) for group in groups) < len(self.part.identifiers):
            stored = {at for group in groups for at in group.members}
            new = new.only([at for at, position in enumerate(new.positions) if position in stored])
        if new.positions:
            self.context.vault.subject_keys.store_prepared(self.tx, new.keys)
        types = [self.part.identifiers[at].type for at in new.positions]
        link_table_store.insert_identifiers(
            self.tx,
            new.keys.ids,
            types,
            pseudonyms=[self.snapshot.pseudonyms[at] for at in new.positions],
            pseudonym_version=self.snapshot.versions[-1],
            sealed=new.sealed,
            authorities=[authority if type_ in self.person_level else 0 for type_ in types],
            now=self.now,
        )
        kept = [record for group in groups for record in group.kept]
        append_acts(self.tx, kept, actor="source", now=self.now)

    def record(self, source: Source, import_job_id: int | None) -> None:
        """Append the rows to the recorded sequence: group by group, in the order of the table within a group."""
        link_table_store.insert_edges(
            self.tx,
            self.steps,
            int(source.source_id),
            authority=evidence_of(source),
            import_job_id=import_job_id,
            now=self.now,
        )

    def _steps(self, positions: Sequence[int], sequences: Sequence[int]) -> link_table_store.Edges:
        ids, ones, others, rows = self.ids, self.part.ones, self.part.others, self.part.rows
        return link_table_store.Edges(
            sequences,
            [ids[ones[at]] for at in positions],
            [ids[others[at]] for at in positions],
            [rows[at] for at in positions],
        )

    def write_plain(self, authority: Evidence) -> int:
        """Make each plain group one profile: the oldest that owns a member, or a new one; returns their number."""
        without_owner = [group for group in self.plain if not group.owners]
        fresh = sorted(new_ids(len(without_owner)))
        unused = iter(fresh)
        profiles = [group.owners[0] if group.owners else next(unused) for group in self.plain]
        origins = [self.first_step[group.edges[0]] for group in without_owner]
        link_table_store.insert_profiles(self.tx, fresh, origins, now=self.now)
        retired = {
            owner: profile for group, profile in zip(self.plain, profiles, strict=True) for owner in group.owners[1:]
        }
        mapping_store.merge_profiles(self.tx, retired)
        self._write_links(profiles)
        self._raise_authority(authority)
        self._write_plain_evidence(profiles)
        self._permit(without_owner, fresh)
        touched = {profile for group, profile in zip(self.plain, profiles, strict=True) if group.owners}
        if touched:
            apply_mapping_change(self.tx, self.context.policy, profile_ids=touched, now=self.now, retired=retired)
        return len(self.plain)

    def _write_links(self, profiles: Sequence[int]) -> None:
        """Link the members of plain groups that have no owner to the profile of their group."""
        members = list(chain.from_iterable(group.members for group in self.plain))
        owners = _repeated(profiles, (len(group.members) for group in self.plain))
        stored = self.snapshot.stored
        if stored:
            free = [
                at for at, member in enumerate(members) if member not in stored or stored[member].profile_id is None
            ]
            members, owners = [members[at] for at in free], [owners[at] for at in free]
        link_table_store.insert_links(self.tx, [self.ids[at] for at in members], owners, now=self.now)

    def _raise_authority(self, authority: Evidence) -> None:
        """Note that the table names unique identifiers which only lower words named; others make a group not plain."""
        stored = (self.snapshot.stored.get(member) for group in self.plain for member in group.members)
        raised = {
            identifier.identifier_id: int(authority)
            for identifier in stored
            if identifier is not None and identifier.type in self.person_level and identifier.authority < authority
        }
        identifier_store.set_authority(self.tx, raised)

    def _write_plain_evidence(self, profiles: Sequence[int]) -> None:
        """Write the evidence of every row of a plain group, and of the merges that rows caused."""
        steps = self.steps
        if self.bounded:
            sequences = [sequence for group in self.plain for sequence in self._sequences(group)]
            steps = self._steps([position for group in self.plain for position in group.edges], sequences)
        linked = _repeated(profiles, (len(group.edges) for group in self.plain))
        link_table_store.insert_edge_evidence(self.tx, steps, linked, policy_fingerprint=self.fingerprint, now=self.now)
        self._write_evidence(
            [
                row
                for group, profile in zip(self.plain, profiles, strict=True)
                if len(group.owners) > 1
                for row in merges_of(
                    group,
                    self.part,
                    self.ids,
                    snapshot=self.snapshot,
                    profile=profile,
                    first_sequence=self.first_step[group.edges[0]],
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

    def _permit(self, groups: Sequence[EdgeGroup], profiles: Sequence[int]) -> None:
        """Put the verdicts of new profiles in force, once per set of equal verdicts."""
        by_verdicts: dict[int, tuple[Verdicts, list[int]]] = {}
        for group, profile in zip(groups, profiles, strict=True):
            by_verdicts.setdefault(id(group.verdicts), (group.verdicts, []))[1].append(profile)
        for verdicts, ids in by_verdicts.values():
            if all(verdict.allowed or not has_stored_row(verdict) for verdict in verdicts.values()):
                self._permit_equally({key: verdict for key, verdict in verdicts.items() if verdict.allowed}, ids)
            else:
                put_verdicts(self.tx, dict.fromkeys(ids, verdicts), now=self.now, new_profiles=ids)
        mark_store.mark(self.tx, ((profile, None) for profile in profiles))

    def _permit_equally(self, verdicts: Mapping[str, Verdict], profiles: Sequence[int]) -> None:
        for purpose, verdict in verdicts.items():
            permit_new_profiles(self.tx, purpose, verdict, profile_ids=profiles)

    def write_bounded(self) -> int:
        """Resolve the other groups by the sequential rules; returns the number of profiles concerned."""
        if not self.bounded:
            return 0
        identifiers = [self.ids[at] for group in self.bounded for at in group.members]
        written = replay_around(self.tx, self.context, identifiers, now=self.now)
        steps = {
            sequence: position
            for group in self.bounded
            for sequence, position in zip(self._sequences(group), group.edges, strict=True)
        }
        self._write_evidence(bounded_evidence(written, steps))
        for sequence, rule in sorted(refused_rows(written, steps).items()):
            self.refused.setdefault(rule, []).append(self.part.rows[steps[sequence]])
        return len(written.touched)


def _repeated(values: Sequence[int], counts: Iterable[int]) -> list[int]:
    """Each value as often as its count."""
    return list(chain.from_iterable(map(repeat, values, counts)))
