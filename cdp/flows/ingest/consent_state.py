"""The consent state of the groups of a batch while its messages are decided one after another. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from cdp.consent.decide import decide
from cdp.consent.ledger import Ledger
from cdp.consent.model import Record, RecordId, VerdictFacts
from cdp.flows.ingest.ages import AgesInForce
from cdp.flows.ingest.consent_inputs import ConsentInputs, ReplayedAnchor, Verdicts
from cdp.flows.ingest.plan import IngestPlan
from cdp.flows.ingest.stages import IdentifiedMessage
from cdp.identity.resolve import Proposal, World
from cdp.kit.ids import new_id

_NO_IDENTIFIERS: Final[frozenset[int]] = frozenset()
_NO_JURISDICTIONS: Final[frozenset[str]] = frozenset()


class GroupConsent(NamedTuple):
    """The identifiers seen with a group, the jurisdictions of its sources, and its verdicts."""

    seen: frozenset[int]
    jurisdictions: frozenset[str]
    verdicts: Verdicts


class ConsentState:
    """Records, ages and verdicts as they become while messages are decided; groups are named by their origin.

    `groups` are those that a message of the batch evaluated, `changed` those whose verdicts must be written. `ledger`
    holds the records, those added by the batch included.
    """

    def __init__(self, plan: IngestPlan, inputs: ConsentInputs, now: datetime) -> None:
        self._plan = plan
        self._inputs = inputs
        self._now = now
        self._history = _History(inputs)
        self.ages = AgesInForce(inputs.ages)
        self.groups: dict[int, GroupConsent] = {}
        self.changed: set[int] = set()
        self.ledger = Ledger((), new_id)

    def restart(self) -> None:
        """Return to the state before the batch; `inputs` may have grown by what a closure brought in."""
        self._history = _History(self._inputs)
        self.ages.clear()
        self.groups.clear()
        self.changed.clear()
        self.ledger = Ledger(self._inputs.records, new_id)

    def evaluate(
        self,
        world: World,
        message: IdentifiedMessage,
        proposal: Proposal | None,
        *,
        origin: int,
        records: list[Record],
    ) -> GroupConsent:
        """The group that the message would belong to, with the verdicts that its own records would give."""
        if proposal is None and not message.needs_evaluation:
            current = self.groups.get(origin)
            return current or GroupConsent(_NO_IDENTIFIERS, _NO_JURISDICTIONS, self._current_verdicts(world, origin))
        parts = (origin, *proposal.absorbed) if proposal is not None else (origin,)
        seen = frozenset(message.members)
        jurisdictions = frozenset({message.read.message.source.jurisdiction})
        owned: set[int] = set()
        for part in parts:
            known = self.groups.get(part) or self._history.of(world, part)
            seen |= known.seen
            jurisdictions |= known.jurisdictions
            if part in world.groups:
                owned.update(world.groups[part].members)
        if proposal is not None:
            owned.update(proposal.joining)
        facts = self._facts(world, parts, owned, jurisdictions=jurisdictions)
        return GroupConsent(seen, jurisdictions, self._verdicts(world, owned, seen, records=records, facts=facts))

    def accept(
        self,
        world: World,
        message: IdentifiedMessage,
        proposal: Proposal | None,
        *,
        origin: int,
        group: GroupConsent,
        records: Sequence[Record],
    ) -> None:
        """Keep what `evaluate` gave for a message that is stored, and its records."""
        for record in records:
            self.ledger.add(record)
        if proposal is None and not message.needs_evaluation:
            return
        self.groups[origin] = group
        self.changed.add(origin)
        absorbed = () if proposal is None else proposal.absorbed
        joining = set() if proposal is None else set(proposal.joining) - world.shared
        self.changed.difference_update(absorbed)
        self._propagate(
            world,
            [record for record in records if record.identifier_id not in joining],
            up_to_date=(origin, *absorbed),
        )

    def keep_opt_outs(self, world: World, records: Iterable[Record]) -> None:
        """Keep the opt-outs of a message that is not stored."""
        opt_outs = [record for record in records if record.act.is_refusal]
        for record in opt_outs:
            self.ledger.add(record)
        self._propagate(world, opt_outs)

    def final_verdicts(self, world: World, origin: int) -> Verdicts:
        """The verdicts of a changed group at the end of the batch."""
        group = self.groups[origin]
        if not world.groups[origin].is_quarantined:
            return group.verdicts
        return self._recomputed(world, origin, group).verdicts

    def _propagate(self, world: World, records: Sequence[Record], *, up_to_date: Sequence[int] = ()) -> None:
        """Recompute the groups that records affect, also where their message belongs to another group or to none.

        A record about an identifier affects its owner; where no profile owns the identifier alone, every group that was
        seen with it. Groups that are `up_to_date` are left out.
        """
        identifiers = {record.identifier_id for record in records}
        unowned = {
            identifier for identifier in identifiers if identifier in world.shared or identifier not in world.owner
        }
        affected = {world.owner[identifier] for identifier in identifiers if identifier in world.owner}
        if unowned:
            affected.update(origin for origin, group in self.groups.items() if not unowned.isdisjoint(group.seen))
            others = (self._inputs.seen.keys() | self._history.replayed(world).keys()) - self.groups.keys()
            affected.update(origin for origin in others if not unowned.isdisjoint(self._history.of(world, origin).seen))
        for origin in affected.difference(up_to_date).intersection(world.groups):
            group = self.groups.get(origin) or self._history.of(world, origin)
            self.groups[origin] = self._recomputed(world, origin, group)
            self.changed.add(origin)

    def _recomputed(self, world: World, origin: int, group: GroupConsent) -> GroupConsent:
        owned = set(world.groups[origin].members) if origin in world.groups else set()
        facts = self._facts(world, (origin,), owned, jurisdictions=group.jurisdictions)
        return group._replace(verdicts=self._verdicts(world, owned, group.seen, records=(), facts=facts))

    def _current_verdicts(self, world: World, origin: int) -> Verdicts:
        """The verdicts of a group that no message of the batch has changed."""
        in_force = self._inputs.in_force.get(origin)
        if in_force is not None:
            return in_force
        return self._recomputed(world, origin, self._history.of(world, origin)).verdicts

    def _facts(
        self, world: World, parts: Sequence[int], owned: set[int], *, jurisdictions: frozenset[str]
    ) -> VerdictFacts:
        ages = self.ages.of(parts)
        return VerdictFacts(
            jurisdictions=jurisdictions,
            has_unique_identifier=any(world.types[identifier] in self._plan.rules.unique for identifier in owned),
            age=ages.vouched_years(self._now),
            claimed_age=ages.claimed_years(self._now),
            ask_again_after_months=self._plan.ask_again_after_months,
            is_quarantined=any(
                part in self._inputs.quarantined or (part in world.groups and world.groups[part].is_quarantined)
                for part in parts
            ),
        )

    def _verdicts(
        self, world: World, owned: set[int], seen: frozenset[int], *, records: Sequence[Record], facts: VerdictFacts
    ) -> Verdicts:
        """The verdicts for owned identifiers; records about a seen identifier that no profile owns alone count, too."""
        drafted = {record.record_id: record for record in records}
        deciding: dict[RecordId, Record] = {}
        stating = self.ledger.subjects_among(owned, seen)
        stating.update(record.identifier_id for record in records)
        for identifier in stating:
            if identifier in owned or identifier in world.shared or identifier not in world.owner:
                own = {record.record_id: record for record in self.ledger.of(identifier)}
                own |= {key: record for key, record in drafted.items() if record.identifier_id == identifier}
                is_shared = identifier not in owned or identifier in world.shared
                deciding |= {key: replace(record, is_shared=True) for key, record in own.items()} if is_shared else own
        return {
            key: decide(deciding.values(), purpose, facts, now=self._now)
            for key, purpose in self._plan.policy.purposes.items()
        }


class _History:
    """What was seen with groups before the batch; of a replayed group by the anchors that belong to it now."""

    def __init__(self, inputs: ConsentInputs) -> None:
        self._inputs = inputs
        self._replayed: Mapping[int, ReplayedAnchor] | None = None

    def of(self, world: World, origin: int) -> GroupConsent:
        """A group without its verdicts."""
        replayed = self.replayed(world).get(origin)
        if replayed is not None:
            return GroupConsent(replayed.members, replayed.jurisdictions, {})
        return GroupConsent(
            self._inputs.seen.get(origin, _NO_IDENTIFIERS),
            self._inputs.jurisdictions.get(origin, _NO_JURISDICTIONS),
            {},
        )

    def replayed(self, world: World) -> Mapping[int, ReplayedAnchor]:
        """Replayed anchors, joined by the group to which each belongs."""
        if self._replayed is None:
            joined: dict[int, ReplayedAnchor] = {}
            for anchor_id, anchor in self._inputs.replayed.items():
                if anchor_id in world.accepted_placement:
                    origin = world.current(world.accepted_placement[anchor_id])
                    before = joined.get(origin, ReplayedAnchor(_NO_IDENTIFIERS, _NO_JURISDICTIONS))
                    joined[origin] = ReplayedAnchor(
                        before.members | anchor.members, before.jurisdictions | anchor.jurisdictions
                    )
            self._replayed = joined
        return self._replayed
