"""Deciding and writing the messages of a batch, within its transaction."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cdp.flows.identifiers import evidence_of
from cdp.flows.ingest.account import BatchOutcomes
from cdp.flows.ingest.batch_result import BatchResult
from cdp.flows.ingest.cacheable import cacheable
from cdp.flows.ingest.consent_state import ConsentState
from cdp.flows.ingest.defer import load_deferrals, settled, write_deferred
from cdp.flows.ingest.judge import BatchJudge
from cdp.flows.ingest.load import identify
from cdp.flows.ingest.load_consent import load_consent_inputs
from cdp.flows.ingest.plan import IngestPlan
from cdp.flows.ingest.profile_cache import ProfileCache
from cdp.flows.ingest.recognize import recognize
from cdp.flows.ingest.screen import find_duplicates, hash_identifiers, screen
from cdp.flows.ingest.stages import IdentifiedMessage, ReadMessage, ScreenedMessage
from cdp.flows.ingest.start_state import start_state
from cdp.flows.ingest.write import write_batch
from cdp.flows.ingest.write_consent import opt_outs_of
from cdp.flows.ingest.writer_cache import WriterCache
from cdp.identity.model import ResolutionStep, Rule
from cdp.identity.run import Run, TooManySteps, run
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.rights.replay_file import ReplayFile
from cdp.rights.store import replay_position as replay_store
from cdp.schema.ids import SourceId
from cdp.vault.vault import Vault

# A restart applies every step of a batch again, at some 20 µs each, and a chunk has the fixed cost of its statements, some
# 20 ms. So few discoveries are cheapest in the whole batch, many in chunks, and where the identifiers of a chunk depend
# on thousands of recorded steps, in still smaller ones.
_CHUNK_MESSAGES: Final = 50
_CHUNK_MESSAGES_LEAST: Final = 5
_STEPS_MAX: Final = 20_000


@dataclass(frozen=True, slots=True)
class BatchDecider:
    """Decides the messages of a batch, from `ReadMessage` to `DecidedMessage`, and writes them.

    Every method is called within the transaction of the batch, which holds the exclusive lock.
    """

    vault: Vault
    plan: IngestPlan
    profile_cache: ProfileCache
    writer_cache: WriterCache
    replay: ReplayFile

    def decide(
        self,
        tx: Transaction,
        messages: Sequence[ReadMessage],
        lock: generation_store.Lock,
        *,
        counted_at: datetime,
        is_reopened: bool = False,
    ) -> BatchOutcomes:
        """Decide and write; gives the outcome of every message, which is to be counted in the hour of `counted_at`.

        Messages that `is_reopened` waited for an answer: those that still do are left as they are.
        """
        messages = [_by(lock.now, message) for message in messages]
        ended = BatchOutcomes(counted_at, is_reopened)
        ended.outcomes.update(
            {message.position: message.outcome for message in messages if message.outcome is not None}
        )
        pending = [
            message for message in messages if message.outcome is None or message.needs_decision(message.outcome)
        ]
        cached = recognize(
            tx, self.plan, pending, cache=self.profile_cache, masks=self.writer_cache.masks, now=lock.now
        )
        screened = screen(tx, self.vault, pending, plan=self.plan, cached=cached)
        ended.add(screened)
        open_messages = sorted((message for message in screened if message.needs_decision), key=_sequence_key)
        if open_messages:
            self._decide(tx, open_messages, ended, lock=lock)
        return ended

    def _decide(
        self,
        tx: Transaction,
        messages: Sequence[ScreenedMessage],
        ended: BatchOutcomes,
        *,
        lock: generation_store.Lock,
    ) -> None:
        """Resolve, decide and write messages in order.

        Where so many identifiers turn out to be shared that the steps would be applied too often, the messages are
        processed in smaller chunks of the same transaction, which leads to the same mapping.
        """
        plan, now, first_sequence = self.plan, lock.now, lock.next_sequence
        state, identified = identify(tx, self.vault, plan, messages=messages, first_sequence=first_sequence)
        steps = _steps_of(identified)
        inputs = load_consent_inputs(tx, state, identified, bits=self.writer_cache.masks)
        consent = ConsentState(plan, inputs, now)
        by_sequence = {message.sequence: message for message in identified}
        deferrals = load_deferrals(tx, plan, identified, now=now, is_reopened=ended.is_reopened)
        judge = BatchJudge(plan, inputs, by_sequence, lock, consent, deferrals=deferrals)
        try:
            done = run(
                lambda knowledge: start_state(tx, state, inputs, knowledge=knowledge, lock=lock),
                steps,
                judge,
                steps_max=None if len(messages) <= _CHUNK_MESSAGES_LEAST else _STEPS_MAX,
            )
        except TooManySteps:
            self._decide_in_chunks(tx, messages, ended, lock=lock)
            return
        decided = [judge.decided[message.sequence] for message in identified]
        if deferrals is not None:
            decided = settled(decided, deferrals)
        ended.add(decided)
        ended.left_out.update(_left_out(done, judge.messages))
        result = BatchResult(tx, self.vault, plan, state, done, consent, decided, now, self.writer_cache)
        touched = write_batch(result) | state.links.keys()
        if deferrals is not None:
            write_deferred(result, deferrals, ended.counted_at)
        replay_store.append(tx, self.replay, opt_outs_of(consent.ledger, decided), now=now)
        advanced = generation_store.advance(tx, next_sequence=first_sequence + len(messages))
        if state.closure is not None:
            tx.on_commit(lambda: self.profile_cache.end(advanced, None, ()))
            return
        entries = cacheable(state, inputs, done, consent=consent, decided=decided)
        tx.on_commit(lambda: self.profile_cache.end(advanced, touched, entries))

    def _decide_in_chunks(
        self,
        tx: Transaction,
        messages: Sequence[ScreenedMessage],
        ended: BatchOutcomes,
        *,
        lock: generation_store.Lock,
    ) -> None:
        """Each chunk must read what the one before it changed: no cached profile is used, and none is cached."""
        cached = [message.read for message in messages if message.cached is not None]
        hashed = hash_identifiers(tx, self.vault, cached, plan=self.plan)
        screened = [hashed.get(message.read.position, message) for message in messages]
        size = _CHUNK_MESSAGES if len(screened) > _CHUNK_MESSAGES else _CHUNK_MESSAGES_LEAST
        for start in range(0, len(screened), size):
            chunk = find_duplicates(tx, screened[start : start + size])
            ended.add(chunk)
            open_messages = [message for message in chunk if message.needs_decision]
            if open_messages:
                chunk_lock = lock._replace(next_sequence=lock.next_sequence + start)
                self._decide(tx, open_messages, ended, lock=chunk_lock)
        tx.on_commit(self.profile_cache.drop_all)


def _by(now: datetime, message: ReadMessage) -> ReadMessage:
    """The message, received no later than `now`: by a clock that is ahead, it could seem to follow a grant that follows it."""
    sent = message.message
    if sent.received_at <= now:
        return message
    return message._replace(
        message=replace(sent, received_at=now, occurred_at=min(sent.occurred_at, now)),
    )


def _steps_of(messages: Sequence[IdentifiedMessage]) -> list[ResolutionStep]:
    """The messages as steps, each with the authority of its source."""
    sources = {message.read.message.source.source_id: message.read.message.source for message in messages}
    authority = {source_id: evidence_of(source) for source_id, source in sources.items()}
    return [
        ResolutionStep(
            message.sequence,
            message.anchor_id,
            message.members,
            sent.received_at,
            authority[sent.source.source_id],
            sent.occurred_at,
        )
        for message in messages
        for sent in (message.read.message,)
    ]


def _left_out(run: Run, messages: Mapping[int, IdentifiedMessage]) -> Iterator[tuple[SourceId, str]]:
    """The source and the type of every identifier that a message of the batch names and that a higher word has."""
    for proposal in run.accepted:
        message = messages.get(proposal.step.sequence)
        if message is not None:
            for refusal in proposal.refusals:
                if refusal.rule in (Rule.AUTHORITY, Rule.STALE):
                    yield message.read.message.source.source_id, run.world.types[refusal.identifier]


def _sequence_key(message: ScreenedMessage) -> tuple[datetime, bool, str]:
    """The order of the recorded sequence: of messages that arrived together, those with consent signals come first.

    So the id of a message need not sort after that of the grant that came with it.
    """
    sent = message.read.message
    return sent.received_at, not message.read.signals.acts, sent.message_id
