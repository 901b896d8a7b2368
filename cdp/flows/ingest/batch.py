"""The journey of a batch of messages: from the door to the disk, in one transaction.

The order is that of ingest.md: own signals, resolution in memory, suppression, the verdict on the
resulting profile, and only then links and events. The number of statements does not depend on the
number of messages.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from cdp.accounting.model import Outcome, State
from cdp.audit.store import facts as fact_store
from cdp.behavior.model import EventId
from cdp.behavior.retention import months_needed
from cdp.behavior.store.partitions import distrust_partitions, ensure_partitions
from cdp.behavior.traits import compile_traits
from cdp.consent.store.projection import bits_of
from cdp.flows.ingest.cacheable import cacheable
from cdp.flows.ingest.judge import BatchJudge
from cdp.flows.ingest.load import find_duplicates, load_batch_state, load_known, name_people, past_of
from cdp.flows.ingest.profile_cache import ProfileCache
from cdp.flows.ingest.stages import Work, is_heard, lay_out, read_message
from cdp.flows.ingest.write import BatchWriter, WriterCache, account, opt_outs_of
from cdp.identity.model import ResolutionStep
from cdp.identity.resolve import TooManyRestarts, run
from cdp.identity.store import generation as generation_store
from cdp.kit.clock import Clock
from cdp.kit.db import Database, Transaction
from cdp.kit.gc import collector_paused
from cdp.policy.model import Policy
from cdp.rights.replay_file import ReplayFile
from cdp.rights.store import replay_position as replay_store
from cdp.schema.ids import SourceId
from cdp.vault.vault import Vault
from cdp.wire.message import Invalid, Message

_RESTARTS_MAX: Final = 16
_BITE: Final = 50

Also = Callable[[Transaction, Sequence[Outcome]], None]


class Ingest:
    """Takes batches of messages under one policy. One object serves one process; batches run one at a time.

    Noes that signals express are written to `replay` before the commit, so that a restore cannot lose them. `familiars`
    are the people whom it recognizes without asking the store.
    """

    def __init__(
        self, database: Database, vault: Vault, policy: Policy, *, clock: Clock, replay: ReplayFile | None = None
    ) -> None:
        self._database = database
        self._vault = vault
        self._plan = lay_out(policy)
        self._clock = clock
        self._replay = replay
        self.profile_cache = ProfileCache()
        with database.transaction() as tx:
            masks = bits_of(tx)
        self._memory = WriterCache(
            masks=masks,
            traits=compile_traits(policy, masks),
        )
        self._turn = threading.RLock()
        self._is_to_empty = False
        vault.subject_keys.on_eviction(self.clear_cache)
        distrust_partitions(database)

    def process(self, messages: Sequence[Message | Invalid], *, also: Also | None = None) -> list[Outcome]:
        """Take a batch; the answer tells each message's state, in order, once all of it is on disk.

        `also` is done in the same transaction, once the states are known. Raises the fault `database_unavailable`; then
        nothing of the batch was stored.
        """
        try:
            with self._turn, collector_paused():
                return self._landed(messages, also)
        finally:
            if self._is_to_empty:
                self.clear_cache()

    def clear_cache(self, version: int | None = None) -> None:
        """Let nobody's identifiers stay in memory; with a `version`, unless all that led to it was done here.

        While a batch is on its way, it does so when it is done.
        """
        if version is not None and version <= self.profile_cache.version:
            return
        self._is_to_empty = True
        if self._turn.acquire(blocking=False):
            try:
                self._is_to_empty = False
                self.profile_cache.evict_profiles()
                self._plan.normaliser.clear_cache()
            finally:
                self._turn.release()

    @property
    def remembered(self) -> int:
        """How many people and values of identifiers are in memory."""
        return len(self.profile_cache) + self._plan.normaliser.cached_values

    def _landed(self, messages: Sequence[Message | Invalid], also: Also | None) -> list[Outcome]:
        """Read, judge and write. What that makes is gone when this returns, before anything collects garbage again."""
        now = self._clock.now()
        works = self._read(messages)
        ensure_partitions(
            self._database,
            months_needed(
                (work.classified.retention_class, work.message.occurred_at)
                for work in works.values()
                if work.outcome is None
            ),
        )
        with self._database.transaction() as tx:
            self._judge(tx, list(works.values()))
            invalid: Counter[tuple[SourceId, str]] = Counter(
                (each.source.source_id, each.reason) for each in messages if isinstance(each, Invalid)
            )
            states = account(tx, list(works.values()), invalid, now=now)
            outcomes = [
                Outcome(State.INVALID, each.reason) if isinstance(each, Invalid) else _outcome(works[place])
                for place, each in enumerate(messages)
            ]
            fact_store.append(tx, {"kind": "ingest.batch", "actor": "source", "states": dict(states)}, now)
            if also is not None:
                also(tx, outcomes)
        return outcomes

    def _read(self, messages: Sequence[Message | Invalid]) -> dict[int, Work]:
        now = self._clock.now()
        by_source: dict[SourceId, list[tuple[int, Message]]] = {}
        for place, each in enumerate(messages):
            if isinstance(each, Message):
                by_source.setdefault(each.source.source_id, []).append((place, each))
        works: dict[int, Work] = {}
        for source_id, listed in by_source.items():
            ids = self._vault.hashes.message_digests(int(source_id), [message.message_id for _, message in listed])
            for (place, message), event_id in zip(listed, ids, strict=True):
                works[place] = read_message(self._plan, message, place, event_id=EventId(event_id), now=now)
        return works

    def _judge(self, tx: Transaction, works: Sequence[Work]) -> None:
        """Settle and write the works."""
        generation = generation_store.lock_exclusive(tx)
        if self.profile_cache.begin(generation.version):
            self._distrust(tx)
        now = self._clock.now()
        heard = [work for work in works if is_heard(work)]
        for work in heard:
            work.cached = self.profile_cache.find(work)
        name_people(tx, self._vault, [work for work in heard if work.cached is None], plan=self._plan)
        find_duplicates(tx, heard)
        works = sorted(_carrying(heard), key=_turn)
        if works:
            self._take(tx, works, generation.next_sequence, now=now, restarts_max=_RESTARTS_MAX)

    def _take(
        self, tx: Transaction, works: Sequence[Work], first_sequence: int, *, now: datetime, restarts_max: int
    ) -> None:
        """Resolve, judge and write works in order.

        Where more identifiers turn out to be shared than restarts are worth, the works are taken in smaller bites
        of the same transaction, which ends in the same map.
        """
        scene = load_batch_state(tx, self._vault, self._plan, works=works)
        for offset, work in enumerate(works):
            work.sequence = first_sequence + offset
            work.settled = work.outcome
        steps = [
            ResolutionStep(work.sequence, work.anchor_id, work.members, work.message.received_at) for work in works
        ]
        known = load_known(tx, scene, works, bits=self._memory.masks)
        judge = BatchJudge(self._plan, known, {work.sequence: work for work in works}, now)
        try:
            done = run(
                lambda learned: past_of(tx, scene, known, learned=learned), steps, judge, restarts_max=restarts_max
            )
        except TooManyRestarts:
            self._take_bites(tx, works, first_sequence, now=now)
            return
        writing = BatchWriter(tx, self._vault, self._plan, scene, done, judge, works, now, self._memory)
        writing.write()
        if self._replay is not None:
            replay_store.append(tx, self._replay, opt_outs_of(judge.ledger.added, works), now=now)
        advanced = generation_store.advance(tx, next_sequence=first_sequence + len(works))
        if scene.closure is not None:
            tx.on_commit(lambda: self.profile_cache.end(advanced, None, ()))
            return
        touched, met = writing.touched | scene.links.keys(), cacheable(scene, known, done, judge=judge, works=works)
        tx.on_commit(lambda: self.profile_cache.end(advanced, touched, met))

    def _take_bites(self, tx: Transaction, works: Sequence[Work], first_sequence: int, *, now: datetime) -> None:
        """What a bite changes, the next one must read: nobody is familiar here, nor later by what is read meanwhile."""
        for work in works:
            work.outcome = work.settled
        strangers = [work for work in works if work.cached is not None]
        for work in strangers:
            work.cached = None
        name_people(tx, self._vault, strangers, plan=self._plan)
        for start in range(0, len(works), _BITE):
            bite = works[start : start + _BITE]
            find_duplicates(tx, bite)
            left = _carrying(bite)
            if left:
                self._take(tx, left, first_sequence + start, now=now, restarts_max=_BITE)
        tx.on_commit(self.profile_cache.drop_all)

    def _distrust(self, tx: Transaction) -> None:
        """Another process may have erased somebody, or rotated or shredded keys, since this one looked."""
        self._vault.root_keys.refresh(tx)
        self._vault.subject_keys.evict_all()
        self.clear_cache()


def _turn(work: Work) -> tuple[datetime, bool, str]:
    """The place in the recorded sequence: of those that arrived together, who speaks of consent is heard first.

    So a message need not hope that its id comes after that of the grant which came with it.
    """
    return work.message.received_at, not work.signals.acts, work.message.message_id


def _carrying(works: Sequence[Work]) -> list[Work]:
    """The works that are heard and name somebody who is not suppressed."""
    return [work for work in works if (work.carried or work.cached is not None) and is_heard(work)]


def _outcome(work: Work) -> Outcome:
    assert work.outcome is not None
    return work.outcome
