"""Judging the messages of a batch one after another: who it is, and what may be done with it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple

from cdp.accounting.model import Outcome, State
from cdp.behavior.store.volume import AGE, StatedAge
from cdp.consent.decide import decide, is_permitted
from cdp.consent.ledger import Ledger, SignalContext
from cdp.consent.model import Act, Authority, Facts, Reason, Record, RecordId, Verdict
from cdp.consent.signals.model import ProposedAct, hash_of
from cdp.flows.ingest.stages import Plan, Work
from cdp.identity.model import ResolutionStep
from cdp.identity.resolve import Proposal, World
from cdp.kit.ids import new_id
from cdp.sources.model import SourceKind

Verdicts = Mapping[str, Verdict]

_LOUDEST_FIRST = (
    Reason.RESTRICTED,
    Reason.QUARANTINED,
    Reason.OBJECTED,
    Reason.OPTED_OUT,
    Reason.WITHDRAWN,
    Reason.REFUSED,
    Reason.TOO_YOUNG,
    Reason.AGE_UNKNOWN,
    Reason.EXPIRED,
    Reason.NO_UNIQUE_IDENTIFIER,
    Reason.NO_GRANT,
)
KEPT = "kept_by_pseudonym"
_TOO_EARLY = "before_permitted"
_STORED: Final = Outcome(State.STORED)
_DUPLICATE: Final = Outcome(State.DUPLICATE)
_NOBODY: Final[frozenset[int]] = frozenset()
_NOWHERE: Final[frozenset[str]] = frozenset()


class ReplayedAnchor(NamedTuple):
    """An anchor of a replay: its members, and where its sources have their jurisdictions."""

    members: frozenset[int]
    jurisdictions: frozenset[str]


@dataclass(frozen=True, slots=True)
class ConsentInputs:
    """What the store says about the people of a batch, keyed by the birth of their profiles.

    `records` are those of every identifier at stake. `seen` are identifiers of a profile's anchors that nobody
    owns alone.
    `standing` are the verdicts in force of profiles whose groups were not loaded. `replayed` are the anchors that are
    parted anew when something turns out to be shared; what was seen with whom then follows from them.
    """

    records: list[Record]
    seen: Mapping[int, frozenset[int]]
    jurisdictions: Mapping[int, frozenset[str]]
    ages: Mapping[int, StatedAge]
    quarantined: frozenset[int]
    standing: Mapping[int, Verdicts]
    bits: Mapping[str, int]
    replayed: dict[int, ReplayedAnchor] = field(default_factory=dict)


@dataclass(slots=True)
class _Person:
    """One group's consent state while the batch is judged."""

    seen: frozenset[int]
    jurisdictions: frozenset[str]
    verdicts: Verdicts


@dataclass(slots=True)
class BatchJudge:
    """Gives each work its outcome; refuses what no purpose permits. See `cdp.identity.resolve.Judge`."""

    plan: Plan
    known: ConsentInputs
    works: Mapping[int, Work]
    now: datetime
    people: dict[int, _Person] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=lambda: Ledger((), new_id))
    stored: dict[object, bytes] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    ages: dict[int, StatedAge] = field(default_factory=dict)
    decisions: dict[int, tuple[Outcome, int]] = field(default_factory=dict)
    past: dict[int, ReplayedAnchor] | None = None

    def begin(self, _world: World, decided: int) -> None:
        """Forget what was judged before, but for the outcomes of the works up to `decided`, and what they count for."""
        self.decisions = {sequence: each for sequence, each in self.decisions.items() if sequence <= decided}
        self.people.clear()
        self.ledger = Ledger(self.known.records, new_id)
        self.stored.clear()
        self.changed.clear()
        self.ages.clear()
        self.past = None

    def judge(self, world: World, step: ResolutionStep, proposal: Proposal | None, *, origin: int) -> bool:
        """Decide one message; True when it may be stored and its links written."""
        work = self.works[step.sequence]
        standing = None
        if work.cached is not None and proposal is None and origin not in self.people:
            standing = self.known.standing.get(origin)
        decided = self.decisions.get(step.sequence)
        if standing is not None:
            is_stored = self._judge_familiar(work, standing, decided)
        else:
            is_stored = self._judge(world, work, proposal, born=origin, decided=decided)
        assert work.outcome is not None
        self.decisions[step.sequence] = (work.outcome, work.bits)
        return is_stored

    def _judge(
        self, world: World, work: Work, proposal: Proposal | None, *, born: int, decided: tuple[Outcome, int] | None
    ) -> bool:
        acts = self._new_acts(world, work)
        earlier = self.stored.get(work.event_id)
        is_refused = decided is not None and decided[0] is not _STORED
        if earlier is not None and work.settled is None:
            work.outcome = _DUPLICATE
            work.is_other_body = earlier != work.message.body_digest
        elif decided is not None and is_refused:
            work.outcome = decided[0]
        if earlier is not None or work.settled is not None or is_refused:
            self._refuse(world, [each for each in acts if each.act.is_refusal])
            return False
        before = self.ages.get(born)
        self._hear_age(work, proposal, born)
        person = self._person(world, work, proposal, born=born, acts=acts)
        bits, reason = self._bits(work, person.verdicts) if decided is None else (decided[1], "")
        if not bits:
            self._unhear_age(born, before)
            work.outcome = Outcome(State.NOT_PERMITTED, reason)
            self._refuse(world, [each for each in acts if each.act.is_refusal])
            return False
        work.bits = bits
        work.outcome = _STORED
        if proposal is not None and proposal.shared:
            return True
        self.stored[work.event_id] = work.message.body_digest
        self._add(acts)
        if proposal is not None or work.is_novel:
            self.people[born] = person
            self.changed.add(born)
            if proposal is not None:
                self.changed.difference_update(proposal.absorbed)
            parts = (born, *(proposal.absorbed if proposal is not None else ()))
            joining = set(proposal.joining) - world.shared if proposal is not None else set()
            self._spread(world, [each for each in acts if each.identifier_id not in joining], beside=parts)
        return True

    def _judge_familiar(self, work: Work, standing: Verdicts, decided: tuple[Outcome, int] | None) -> bool:
        """The same for somebody recognized whom nothing in this batch touched: by the verdicts that stand."""
        if work.settled is not None:
            return False
        earlier = self.stored.get(work.event_id)
        if earlier is not None:
            work.outcome = _DUPLICATE
            work.is_other_body = earlier != work.message.body_digest
            return False
        if decided is not None and decided[0] is not _STORED:
            work.outcome = decided[0]
            return False
        work.bits, reason = self._bits(work, standing) if decided is None else (decided[1], "")
        if not work.bits:
            work.outcome = Outcome(State.NOT_PERMITTED, reason)
            return False
        work.outcome = _STORED
        self.stored[work.event_id] = work.message.body_digest
        return True

    def verdicts_of(self, world: World, born: int) -> Verdicts:
        """The verdicts of a changed group at the end of the batch."""
        person = self.people[born]
        if not world.groups[born].is_quarantined:
            return person.verdicts
        owned = set(world.groups[born].members)
        return self._decide(
            world,
            owned,
            person.seen,
            acts=[],
            facts=self._facts(world, (born,), owned, jurisdictions=person.jurisdictions),
        )

    def _person(self, world: World, work: Work, proposal: Proposal | None, *, born: int, acts: list[Record]) -> _Person:
        """The person that the message would belong to, with the verdicts that its own acts would give."""
        current = self.people.get(born)
        if proposal is None and not work.is_novel:
            return current or _Person(_NOBODY, _NOWHERE, self._standing(world, born))
        parts = (born, *proposal.absorbed) if proposal is not None else (born,)
        seen = frozenset(work.members)
        jurisdictions = frozenset({work.message.source.jurisdiction})
        owned: set[int] = set()
        for part in parts:
            known = self.people.get(part)
            past = known or self._past_of(world, part)
            seen |= past.seen
            jurisdictions |= past.jurisdictions
            if part in world.groups:
                owned.update(world.groups[part].members)
        if proposal is not None:
            owned.update(proposal.joining)
        facts = self._facts(world, parts, owned, jurisdictions=jurisdictions)
        return _Person(seen, jurisdictions, self._decide(world, owned, seen, acts=acts, facts=facts))

    def _facts(self, world: World, parts: Sequence[int], owned: set[int], *, jurisdictions: frozenset[str]) -> Facts:
        ages = self._ages(parts)
        return Facts(
            jurisdictions=jurisdictions,
            has_unique_identifier=any(world.types[each] in self.plan.rules.unique for each in owned),
            age=max(ages).years if ages else None,
            is_quarantined=any(
                part in self.known.quarantined or (part in world.groups and world.groups[part].is_quarantined)
                for part in parts
            ),
        )

    def _hear_age(self, work: Work, proposal: Proposal | None, born: int) -> None:
        """The age in force for the group that the message would land on, its own statement included."""
        if AGE not in work.classified.plain_traits and (proposal is None or not proposal.absorbed):
            return
        ages = self._ages((born, *(proposal.absorbed if proposal is not None else ())))
        age = work.classified.plain_traits.get(AGE)
        if isinstance(age, int | float):
            message = work.message
            ages.append(
                StatedAge(False, message.occurred_at, message.received_at, work.event_id, int(max(-1, min(1000, age))))
            )
        if ages:
            self.ages[born] = max(ages)

    def _unhear_age(self, born: int, before: StatedAge | None) -> None:
        """A refused message teaches nothing."""
        self.ages.pop(born, None)
        if before is not None:
            self.ages[born] = before

    def _ages(self, parts: Sequence[int]) -> list[StatedAge]:
        stated = (self.ages.get(part, self.known.ages.get(part)) for part in parts)
        return [each for each in stated if each is not None]

    def _decide(
        self, world: World, owned: set[int], seen: frozenset[int], *, acts: list[Record], facts: Facts
    ) -> Verdicts:
        """The verdicts for what is owned; a no also counts when said about a seen identifier that nobody owns alone."""
        drafted = {act.record_id: act for act in acts}
        records: dict[RecordId, Record] = {}
        for identifier in owned | seen:
            if identifier in owned or identifier in world.shared or identifier not in world.owner:
                told = {each.record_id: each for each in self.ledger.of(identifier)}
                told |= {key: each for key, each in drafted.items() if each.identifier_id == identifier}
                is_shared = identifier not in owned or identifier in world.shared
                records |= {key: replace(each, is_shared=True) for key, each in told.items()} if is_shared else told
        given = records.values()
        return {key: decide(given, purpose, facts, now=self.now) for key, purpose in self.plan.policy.purposes.items()}

    def _standing(self, world: World, born: int) -> Verdicts:
        """The verdicts of a person nobody touched in this batch."""
        found = self.known.standing.get(born)
        if found is not None:
            return found
        owned = set(world.groups[born].members) if born in world.groups else set()
        past = self._past_of(world, born)
        facts = self._facts(world, (born,), owned, jurisdictions=past.jurisdictions)
        return self._decide(world, owned, past.seen, acts=[], facts=facts)

    def _bits(self, work: Work, verdicts: Verdicts) -> tuple[int, str]:
        message = work.message
        purposes = self.plan.purposes_for(work.classified, is_server=message.source.kind is SourceKind.SERVER)
        bits = 0
        refused: set[Reason] = set()
        for purpose in purposes:
            verdict = verdicts.get(purpose.key)
            if verdict is None:
                refused.add(Reason.NO_UNIQUE_IDENTIFIER if purpose.needs_unique_identifier else Reason.NO_GRANT)
            elif not verdict.allowed:
                refused.add(verdict.reason)
            elif is_permitted(verdict, message.occurred_at, message.received_at):
                bits |= self.known.bits[purpose.key]
        if bits:
            return bits, ""
        if not purposes:
            return 0, Reason.NOT_COVERED.value
        return 0, next((each.value for each in _LOUDEST_FIRST if each in refused), _TOO_EARLY)

    def _new_acts(self, world: World, work: Work) -> list[Record]:
        """The message's own signals as records for each identifier they apply to, unless they stand already.

        With them come noes that were kept by pseudonym alone: the ledger takes them in when their identifier appears.
        """
        if work.cached is not None:
            return []
        kept = [
            (identifier, _kept_no(purpose))
            for identifier, each in zip(work.members, work.carried, strict=True)
            for purpose in each.refused_purposes
            if not any(record.purpose == purpose and record.act.is_refusal for record in self.ledger.of(identifier))
        ]
        if not work.signals.acts and not kept:
            return []
        message = work.message
        said = SignalContext(
            jurisdiction=message.source.jurisdiction,
            source_id=int(message.source.source_id),
            occurred_at=message.occurred_at,
            recorded_at=self.now,
            policy_fingerprint=self.plan.fingerprint,
        )
        proposed = [
            (identifier, act)
            for act in work.signals.acts
            for identifier in act.among([(each, world.types[each]) for each in work.members])
        ]
        drafts = (
            self.ledger.draft(act, identifier, said, rule=self.plan.policy.purposes[act.purpose])
            for identifier, act in (*proposed, *kept)
        )
        return [draft for draft in drafts if draft is not None]

    def _refuse(self, world: World, noes: list[Record]) -> None:
        self._add(noes)
        self._spread(world, noes)

    def _add(self, records: Iterable[Record]) -> None:
        for record in records:
            self.ledger.keep(record)

    def _spread(self, world: World, records: list[Record], *, beside: Sequence[int] = ()) -> None:
        """A no reaches the owner of each identifier, also where the message itself went elsewhere or nowhere.

        Said about an identifier that nobody owns alone it reaches everybody seen with that one. Those `beside` know already.
        """
        told = {each.identifier_id for each in records}
        loose = {each for each in told if each in world.shared or each not in world.owner}
        concerned = {world.owner[each] for each in told if each in world.owner}
        if loose:
            concerned.update(born for born, person in self.people.items() if not loose.isdisjoint(person.seen))
            others = (self.known.seen.keys() | self._replayed(world).keys()) - self.people.keys()
            concerned.update(born for born in others if not loose.isdisjoint(self._past_of(world, born).seen))
        for born in concerned.difference(beside).intersection(world.groups):
            self._decide_again(world, born)

    def _decide_again(self, world: World, born: int) -> None:
        past = self.people.get(born) or self._past_of(world, born)
        owned = set(world.groups[born].members)
        facts = self._facts(world, (born,), owned, jurisdictions=past.jurisdictions)
        self.people[born] = _Person(
            past.seen, past.jurisdictions, self._decide(world, owned, past.seen, acts=[], facts=facts)
        )
        self.changed.add(born)

    def _past_of(self, world: World, born: int) -> _Person:
        """What was seen with a group before the batch, and where; of a replayed one by the anchors that are its own now."""
        replayed = self._replayed(world).get(born)
        if replayed is not None:
            return _Person(replayed.members, replayed.jurisdictions, {})
        seen = self.known.seen.get(born, _NOBODY)
        return _Person(seen, self.known.jurisdictions.get(born, _NOWHERE), {})

    def _replayed(self, world: World) -> Mapping[int, ReplayedAnchor]:
        """Replayed anchors, by the group that each lands on."""
        if self.past is None:
            self.past = {}
            for anchor_id, each in self.known.replayed.items():
                if anchor_id in world.accepted_placement:
                    born = world.current(world.accepted_placement[anchor_id])
                    before = self.past.get(born, ReplayedAnchor(_NOBODY, _NOWHERE))
                    self.past[born] = ReplayedAnchor(
                        before.members | each.members, before.jurisdictions | each.jurisdictions
                    )
        return self.past


def _kept_no(purpose: str) -> ProposedAct:
    """A no of which only its pseudonym and purpose are left; it is taken at its strongest."""
    return ProposedAct(purpose, Act.REFUSE, Authority.AUTHENTICATED, None, KEPT, hash_of(purpose), KEPT)
