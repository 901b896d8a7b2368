"""The use case of ingest: a batch of messages, decided and stored in one transaction.

The order is that of docs/explanation/architecture.md, "Path of a message": own signals, suppression, resolution in
memory, the verdict on the resulting profile, and only then links and events. The number of statements does not depend on the
number of messages.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from cdp.accounting.model import Outcome, State
from cdp.audit.store import facts as fact_store
from cdp.behavior.model import EventId
from cdp.behavior.retention import months_needed
from cdp.behavior.store.partitions import clear_partition_cache, ensure_partitions
from cdp.behavior.traits import compile_traits
from cdp.consent.store.projection import bits_of
from cdp.flows.ingest.account import BatchOutcomes, UnreadMessage, account
from cdp.flows.ingest.plan import compile_ingest_plan
from cdp.flows.ingest.process import BatchDecider
from cdp.flows.ingest.profile_cache import ProfileCache
from cdp.flows.ingest.read import has_expired_event, read_message
from cdp.flows.ingest.stages import ReadMessage
from cdp.flows.ingest.writer_cache import WriterCache
from cdp.identity.store import generation as generation_store
from cdp.kit.clock import Clock
from cdp.kit.db import Database, Transaction
from cdp.kit.gc import collector_paused
from cdp.policy.model import Policy
from cdp.rights.replay_file import ReplayFile
from cdp.schema.ids import SourceId
from cdp.vault.vault import Vault
from cdp.wire.message import Invalid, Message

Also = Callable[[Transaction, Sequence[Outcome]], None]


class _RolledBack(Exception):
    """The end of a check."""


def _roll_back(_tx: Transaction, _outcomes: Sequence[Outcome]) -> None:
    raise _RolledBack


class Ingest:
    """Processes batches of messages under one policy. One object serves one process; batches run one at a time.

    Opt-outs that signals express are written to `replay` before the commit, so that a restore cannot lose them.
    `profile_cache` holds the profiles that are known without reading them from the store.
    """

    def __init__(self, database: Database, vault: Vault, policy: Policy, *, clock: Clock, replay: ReplayFile) -> None:
        self._database = database
        self._vault = vault
        self._plan = compile_ingest_plan(policy)
        self._clock = clock
        self.profile_cache = ProfileCache()
        with database.transaction() as tx:
            masks = bits_of(tx)
        writer_cache = WriterCache(masks=masks, traits=compile_traits(policy, masks))
        self._decider = BatchDecider(
            vault=vault, plan=self._plan, profile_cache=self.profile_cache, writer_cache=writer_cache, replay=replay
        )
        self._running = threading.RLock()
        self._is_clear_requested = False
        vault.subject_keys.on_eviction(self.clear_cache)
        clear_partition_cache(database.owner)

    def process(self, messages: Sequence[Message | Invalid], *, also: Also | None = None) -> list[Outcome]:
        """Process a batch; gives the outcome of each message, in order, once all of it is on disk.

        `also` is called in the same transaction, once the outcomes are known. Raises the fault `database_unavailable`;
        then nothing of the batch was stored.
        """
        try:
            with self._running, collector_paused():
                return self._process(messages, also)
        finally:
            if self._is_clear_requested:
                self.clear_cache()

    def check(self, messages: Sequence[Message | Invalid]) -> None:
        """Process a batch and roll it back; raises what processing it would raise.

        Lines that it writes to the replay file are those of a transaction that was not committed, which are harmless.
        """
        with suppress(_RolledBack):
            self.process(messages, also=_roll_back)

    def reopen(
        self,
        messages: Sequence[Message],
        *,
        claim: Callable[[Transaction, datetime], Collection[int]],
        end: Callable[[Transaction, Mapping[int, Outcome], datetime], None],
    ) -> None:
        """Process messages that waited for an answer, and were counted when they arrived, in one transaction.

        `claim` gives, under the exclusive lock, the positions of those that may still be opened; `end` is called with their
        outcomes. Those that still wait have the outcome `deferred`.
        """
        with self._running, collector_paused():
            now = self._clock.now()
            read = self._read(messages)
            self._ensure_partitions(read, now)
            with self._database.transaction() as tx:
                lock = self._lock(tx)
                claimed = claim(tx, lock.now)
                some = [message for message in read if message.position in claimed]
                ended = self._decider.decide(tx, some, lock, counted_at=now, is_reopened=True)
                end(tx, ended.outcomes, lock.now)

    def clear_cache(self, version: int | None = None) -> None:
        """Drop every identifier from memory; with a `version`, unless this process itself led the store to it.

        While a batch is running, this happens as soon as it is done.
        """
        if version is not None and version <= self.profile_cache.version:
            return
        self._is_clear_requested = True
        if self._running.acquire(blocking=False):
            try:
                self._is_clear_requested = False
                self.profile_cache.evict_profiles()
                self._plan.reader.clear_cache()
                self._plan.events.nearest.clear_cache()
            finally:
                self._running.release()

    @property
    def cached_values(self) -> int:
        """How many profiles and values of identifiers are in memory."""
        return len(self.profile_cache) + self._plan.reader.cached_values

    def _process(self, messages: Sequence[Message | Invalid], also: Also | None) -> list[Outcome]:
        """Read, decide, write and account. Its intermediate values are freed before garbage is collected again."""
        now = self._clock.now()
        read = self._read(messages)
        self._ensure_partitions(read, now)
        with self._database.transaction() as tx:
            ended = self._decide(tx, read, now)
            invalid: Counter[UnreadMessage] = Counter(
                UnreadMessage(message.source.source_id, message.reason, message.delivery)
                for message in messages
                if isinstance(message, Invalid) and message.consents is None
            )
            states = account(tx, read, ended, invalid=invalid, nearest=self._plan.events.nearest, now=now)
            outcomes = [
                ended.outcomes[position]
                if isinstance(message, Message) or message.consents is not None
                else Outcome(State.INVALID, message.reason)
                for position, message in enumerate(messages)
            ]
            fact_store.append(tx, {"kind": "ingest.batch", "actor": "source", "states": dict(states)}, now)
            if also is not None:
                also(tx, outcomes)
        return outcomes

    def _read(self, messages: Sequence[Message | Invalid]) -> list[ReadMessage]:
        """Every message that states something: the valid ones, and the consent signals of the invalid ones."""
        now = self._clock.now()
        by_source: dict[SourceId, list[tuple[int, Message]]] = {}
        invalid: dict[int, Outcome] = {}
        for position, message in enumerate(messages):
            if isinstance(message, Message):
                by_source.setdefault(message.source.source_id, []).append((position, message))
            elif message.consents is not None:
                by_source.setdefault(message.source.source_id, []).append((position, message.consents))
                invalid[position] = Outcome(State.INVALID, message.reason)
        read = []
        for source_id, numbered in by_source.items():
            digests = self._vault.hashes.message_digests(
                int(source_id), [message.message_id for _, message in numbered]
            )
            for (position, message), digest in zip(numbered, digests, strict=True):
                read.append(read_message(self._plan, message, position, event_id=EventId(digest), now=now))
        if not invalid:
            return read
        return [
            message._replace(outcome=invalid[message.position]) if message.position in invalid else message
            for message in read
        ]

    def _ensure_partitions(self, messages: Sequence[ReadMessage], now: datetime) -> None:
        ensure_partitions(
            self._database.owner,
            months_needed(
                (message.classified.retention_class, message.message.occurred_at)
                for message in messages
                if message.outcome is None and not has_expired_event(self._plan, message, now)
            ),
        )

    def _decide(self, tx: Transaction, messages: Sequence[ReadMessage], now: datetime) -> BatchOutcomes:
        return self._decider.decide(tx, messages, self._lock(tx), counted_at=now)

    def _lock(self, tx: Transaction) -> generation_store.Lock:
        lock = generation_store.lock_exclusive(tx)
        if self.profile_cache.begin(lock.version):
            self._refresh(tx)
        return lock

    def _refresh(self, tx: Transaction) -> None:
        """Another process may have erased a person, or rotated or shredded keys, since this process last looked."""
        self._vault.root_keys.refresh(tx)
        self._vault.subject_keys.evict_all()
        self.clear_cache()
