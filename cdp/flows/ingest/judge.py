"""Deciding the messages of a batch one after another: whose they are, and for what they may be stored. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cdp.accounting.model import Outcome, State
from cdp.behavior.ages import AGE, BIRTHDAY
from cdp.behavior.model import EventId
from cdp.consent.deferral import Deferrals
from cdp.consent.model import Record
from cdp.flows.ingest.consent_inputs import ConsentInputs, Verdicts
from cdp.flows.ingest.consent_state import ConsentState
from cdp.flows.ingest.defer import defer_again, deferred_outcome, note_acts, reaching_records
from cdp.flows.ingest.plan import IngestPlan
from cdp.flows.ingest.purposes import permitted_bits
from cdp.flows.ingest.signals import records_of_message
from cdp.flows.ingest.stages import DecidedMessage, IdentifiedMessage, ReadMessage
from cdp.identity.model import ResolutionStep
from cdp.identity.resolve import Proposal, World
from cdp.identity.store.generation import Lock
from cdp.sources.model import SourceKind

_STORED: Final = Outcome(State.STORED)
_DUPLICATE: Final = Outcome(State.DUPLICATE)


@dataclass(frozen=True, slots=True)
class BatchJudge:
    """Decides each message, by sequence; refuses what no purpose permits. See `cdp.identity.resolve.Judge`.

    `bodies` are the body digests of the messages of this batch that are stored. `deferrals` is what waits for answers of the
    devices of the batch, None if nothing can.
    """

    plan: IngestPlan
    inputs: ConsentInputs
    messages: Mapping[int, IdentifiedMessage]
    lock: Lock
    consent: ConsentState
    decided: dict[int, DecidedMessage] = field(default_factory=dict)
    bodies: dict[EventId, bytes] = field(default_factory=dict)
    deferrals: Deferrals | None = None

    def begin(self, _world: World, decided: int) -> None:
        """Drop everything but the decisions about messages up to the sequence `decided`, which stay as they are."""
        for sequence in [sequence for sequence in self.decided if sequence > decided]:
            del self.decided[sequence]
        self.consent.restart()
        self.bodies.clear()
        if self.deferrals is not None:
            self.deferrals.restart()

    def judge(self, world: World, step: ResolutionStep, proposal: Proposal | None, *, origin: int) -> bool:
        """Decide one message; True when it may be stored and its links written."""
        message = self.messages[step.sequence]
        previous = self.decided.get(step.sequence)
        verdicts = None
        if message.screened.cached is not None and proposal is None and origin not in self.consent.groups:
            verdicts = self.inputs.in_force.get(origin)
        if verdicts is not None:
            decided = self._decide_cached(message, verdicts, previous, world=world)
        else:
            decided = self._decide(world, message, proposal, origin=origin, previous=previous)
        self.decided[step.sequence] = decided
        return decided.outcome is _STORED

    def _decide(
        self,
        world: World,
        message: IdentifiedMessage,
        proposal: Proposal | None,
        *,
        origin: int,
        previous: DecidedMessage | None,
    ) -> DecidedMessage:
        consent = self.consent
        records = records_of_message(self.plan, consent.ledger, world, message=message, lock=self.lock)
        if message.is_acting_only and not records:
            message = message._replace(needs_evaluation=False)
        if self.deferrals is not None and records:
            records = reaching_records(self.plan, self.deferrals, message, records=records)
        refused = self._refused_early(message, previous)
        if refused is not None:
            self._keep_opt_outs(world, message, records)
            return refused
        age = consent.ages.stated(origin)
        consent.ages.add(message.read, proposal, origin)
        group = consent.evaluate(world, message, proposal, origin=origin, records=records)
        decided = self._permitted(message, group.verdicts, previous, world=world)
        if decided.outcome is not _STORED:
            consent.ages.restore(origin, age)
            self._keep_opt_outs(world, message, records)
        elif proposal is None or not proposal.facts:
            self.bodies[message.read.event_id] = message.read.message.body_digest
            consent.accept(world, message, proposal, origin=origin, group=group, records=records)
            if self.deferrals is not None:
                note_acts(self.plan, self.deferrals, message, records=records, is_stored=True)
        return decided

    def _keep_opt_outs(self, world: World, message: IdentifiedMessage, records: list[Record]) -> None:
        """Keep the opt-outs of a message that is not stored."""
        self.consent.keep_opt_outs(world, records)
        if self.deferrals is not None:
            note_acts(self.plan, self.deferrals, message, records=records, is_stored=False)

    def _decide_cached(
        self, message: IdentifiedMessage, verdicts: Verdicts, previous: DecidedMessage | None, *, world: World
    ) -> DecidedMessage:
        """The same for a cached profile that nothing in this batch touched, by the verdicts in force."""
        refused = self._refused_early(message, previous)
        if refused is not None:
            return refused
        decided = self._permitted(message, verdicts, previous, world=world)
        if decided.outcome is _STORED:
            self.bodies[message.read.event_id] = message.read.message.body_digest
        return decided

    def _refused_early(self, message: IdentifiedMessage, previous: DecidedMessage | None) -> DecidedMessage | None:
        """The refusal that does not depend on verdicts: known from screening, a duplicate within the batch, or
        decided before a restart."""
        read, screened = message.read, message.screened
        if screened.outcome is not None:
            return DecidedMessage(read, message, screened.outcome, 0, screened.is_other_body)
        digest = self.bodies.get(read.event_id)
        if digest is not None:
            return DecidedMessage(read, message, _DUPLICATE, 0, digest != read.message.body_digest)
        if previous is None or previous.outcome is _STORED:
            return None
        if self.deferrals is not None and previous.outcome.state is State.DEFERRED:
            defer_again(self.plan, self.deferrals, message)
        return previous

    def _permitted(
        self, message: IdentifiedMessage, verdicts: Verdicts, previous: DecidedMessage | None, *, world: World
    ) -> DecidedMessage:
        """Stored for the purposes that permit it, or not permitted; a message stored before a restart keeps its purposes."""
        if previous is not None:
            return previous
        bits, reason = permitted_bits(self.plan, message.read, verdicts, bits=self.inputs.bits)
        outcome = _STORED if bits else Outcome(State.NOT_PERMITTED, reason)
        if not bits and self.deferrals is not None:
            outcome = deferred_outcome(self.plan, self.deferrals, message, verdicts=verdicts) or outcome
        read = message.read
        if bits and (read.classified.plain_traits or read.classified.sealed_traits):
            read = _with_traits_aside(message, world)
        return DecidedMessage(read, message, outcome, bits)


def _with_traits_aside(message: IdentifiedMessage, world: World) -> ReadMessage:
    """The message without what a browser states about a person whom others know; that is kept with its event.

    An age stays a statement: a browser may lower it.
    """
    read, cached = message.read, message.screened.cached
    if read.message.source.kind is not SourceKind.BROWSER:
        return read
    is_known = world.is_known_to_others(message.members) or (cached is not None and cached.is_known_to_others)
    return read._replace(classified=read.classified.with_traits_aside({AGE, BIRTHDAY})) if is_known else read
