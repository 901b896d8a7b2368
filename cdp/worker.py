"""The worker: what happens by itself. Each task has a thread and a rhythm, and a fault ends one turn, never the task.

The audit log is signed several times a second; withdrawals are cleared and grants ended within seconds; the
retention sweep runs every hour.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from cdp.accounting.store.messages import compact_accounting
from cdp.audit.store.tree import thin_heads
from cdp.behavior.store.computed import move_landmarks
from cdp.behavior.traits import compile_traits
from cdp.consent.store.projection import bits_of
from cdp.flows.consent.acts import end_grants, recompute_everybody
from cdp.flows.consent.withdrawal import clear_withdrawn, turn_out_readers
from cdp.flows.operations.computed_traits import check_sample, follow_definitions
from cdp.flows.operations.retention import sweep
from cdp.flows.operations.startup import PolicyWatcher, sequence_all
from cdp.flows.rights.requests import sweep_requests
from cdp.flows.rights.scrub import is_scrub_due, scrub
from cdp.flows.segments import definitions, memberships
from cdp.identity.store import generation as generation_store
from cdp.kit.errors import Fault
from cdp.kit.ids import new_id

_SILENT_SECONDS_MAX: Final = 60.0
_PAUSE_SECONDS_MAX: Final = 5.0
_ROWS_MAX: Final = 20_000
_SEGMENTS_SECONDS_MAX: Final = 600.0
_PAUSE_FACTOR: Final = 4.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """Something done again and again; a turn that finds nothing is cheap."""

    name: str
    every_seconds: float
    turn: Callable[[], None]
    is_vital: bool = False
    """Whether the service is not ready when this was silent for a minute."""


@dataclass(slots=True)
class _Beat:
    """When a task last ended a turn well, on the monotonic clock, and how often it failed since the start."""

    at: float = field(default_factory=time.monotonic)
    failures: int = 0
    failures_in_row: int = 0

    def fail(self) -> None:
        """Count a turn that ended badly."""
        self.failures += 1
        self.failures_in_row += 1

    @property
    def pause_seconds(self) -> float:
        """How long to leave a task alone that fails again and again; bounded, so that it is soon back."""
        return min(_PAUSE_SECONDS_MAX, 0.1 * 2.0 ** min(self.failures_in_row, 10)) if self.failures_in_row else 0.0


class Worker:
    """Runs tasks until it is told to stop."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tuple(tasks)
        self._beats = {task.name: _Beat() for task in tasks}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin; to be called once."""
        for task in self._tasks:
            self._beats[task.name] = _Beat()
            thread = threading.Thread(target=self._run, args=(task,), name=f"cdp-{task.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, seconds: float = 20.0) -> None:
        """Let every task end its turn; a task that does not within the time is left to its transaction's rollback."""
        self._stopping.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def wait(self, seconds: float) -> None:
        """Sleep, or less when somebody stops the worker meanwhile."""
        self._stopping.wait(seconds)

    @property
    def is_alive(self) -> bool:
        """Whether every task still turns, and no vital one was silent for a minute."""
        now = time.monotonic()
        vital = [task for task in self._tasks if task.is_vital]
        return all(thread.is_alive() for thread in self._threads) and all(
            now - self._beats[task.name].at < _SILENT_SECONDS_MAX for task in vital
        )

    @property
    def failures(self) -> dict[str, int]:
        """Failed turns by task since the start."""
        return {name: beat.failures for name, beat in self._beats.items()}

    def _run(self, task: Task) -> None:
        beat = self._beats[task.name]
        while not self._stopping.is_set():
            started_at = time.monotonic()
            try:
                task.turn()
            except Fault as fault:
                _log.warning("task_failed", extra={"task": task.name, "code": fault.code})
                beat.fail()
            except Exception:  # noqa: BLE001 - whatever one turn meets, the next one is tried
                _log.exception("task_failed", extra={"task": task.name})
                beat.fail()
            else:
                beat.at, beat.failures_in_row = time.monotonic(), 0
            spent = time.monotonic() - started_at
            self._stopping.wait(max(0.05, task.every_seconds - spent, beat.pause_seconds))


def worker_of(watcher: PolicyWatcher) -> Worker:
    """The worker of a house, with every task there is."""
    return Worker(
        [
            Task("audit-log", 0.3, lambda: _sign(watcher), is_vital=True),
            Task("keys", 0.5, _KeyWatch(watcher).turn, is_vital=True),
            Task("policy", 2, lambda: _follow_policy(watcher), is_vital=True),
            Task("consent-expiry", 5, lambda: _end_grants(watcher)),
            Task("withdrawals", 5, lambda: _clear_withdrawn(watcher)),
            Task("memberships", 0.1, lambda: _follow_marks(watcher)),
            Task("segments", 15, _SegmentWatch(watcher).turn),
            Task("retention", 3600, lambda: _sweep(watcher)),
            Task("scrub", 3600, lambda: _scrub(watcher)),
            Task("requests", 600, lambda: _sweep_requests(watcher)),
            Task("accounting", 900, lambda: _compact(watcher)),
            Task("landmarks", 3600, lambda: _move_landmarks(watcher)),
            Task("computed-traits", 600, lambda: _check_computed(watcher)),
            Task("checkpoints", 86_400, lambda: _thin_checkpoints(watcher)),
        ]
    )


class _KeyWatch:
    """Drops cached keys, and whom ingest remembers, when anybody changed the map: another process may have shredded keys."""

    def __init__(self, watcher: PolicyWatcher) -> None:
        self._watcher = watcher
        self._version: int | None = None

    def turn(self) -> None:
        context = self._watcher.context
        with context.database.transaction(read_only=True) as tx:
            version = generation_store.generation(tx).version
        if version != self._version:
            self._version = version
            context.vault.evict_all(version=version)


class _SegmentWatch:
    """Refreshes every segment when something came or changed since the last time, and every ten minutes: time moves people.

    What ingest and consents touch is followed at once; this look at everybody finds the rest, and pauses four times as
    long as it took.
    """

    def __init__(self, watcher: PolicyWatcher) -> None:
        self._watcher = watcher
        self._seen: tuple[int, int] | None = None
        self._at = float("-inf")
        self._rests_until = float("-inf")

    def turn(self) -> None:
        began_at = time.monotonic()
        if began_at < self._rests_until:
            return
        context = self._watcher.context
        with context.database.transaction(read_only=True) as tx:
            generation = generation_store.generation(tx)
        seen = (generation.version, generation.next_sequence)
        if seen == self._seen and time.monotonic() - self._at < _SEGMENTS_SECONDS_MAX:
            return
        for segment in definitions.every(context):
            try:
                memberships.refresh(context, segment.key)
            except Fault as fault:
                _log.warning("segment_not_refreshed", extra={"segment": segment.key, "code": fault.code})
        self._seen, self._at = seen, time.monotonic()
        self._rests_until = self._at + _PAUSE_FACTOR * (self._at - began_at)


def _follow_marks(watcher: PolicyWatcher) -> None:
    context = watcher.context
    while memberships.refresh_stale(context) >= memberships.STALE_MAX:
        pass


def _sign(watcher: PolicyWatcher) -> None:
    sequence_all(watcher.context)


def _follow_policy(watcher: PolicyWatcher) -> None:
    if watcher.follow_policy():
        context = watcher.context
        # Whoever came between the two policies was decided about under the old one.
        recompute_everybody(context.database, context.vault, context.policy, now=context.clock.now())
        follow_definitions(context.database, context.policy, context.clock.now())
        _log.info("policy_followed", extra={"policy": context.policy.fingerprint[:12]})


def _end_grants(watcher: PolicyWatcher) -> None:
    context = watcher.context
    while count := end_grants(context, context.clock.now()):
        _log.info("grants_ended", extra={"profiles": count})


def _clear_withdrawn(watcher: PolicyWatcher) -> None:
    context = watcher.context
    turn_out_readers(context)
    while (cleared := clear_withdrawn(context, context.clock.now())).withdrawals:
        _log.info("withdrawals_cleared", extra={"count": cleared.withdrawals, "events": cleared.events_deleted})


def _sweep(watcher: PolicyWatcher) -> None:
    context = watcher.context
    swept = sweep(context, context.clock.now())
    rows = sum(line.rows for line in swept.lines)
    if rows or swept.postponed:
        _log.info("retention_swept", extra={"rows": rows, "pending": len(swept.postponed)})


def _scrub(watcher: PolicyWatcher) -> None:
    context = watcher.context
    now = context.clock.now()
    if is_scrub_due(context, now):
        scrubbed = scrub(context.database, now)
        _log.info("scrubbed", extra={"count": len(scrubbed.tables), "pending": len(scrubbed.not_scrubbed)})


def _sweep_requests(watcher: PolicyWatcher) -> None:
    context = watcher.context
    sweep_requests(context, context.clock.now())


def _compact(watcher: PolicyWatcher) -> None:
    context = watcher.context
    before = context.clock.now() - timedelta(hours=2)
    with context.database.transaction() as tx:
        compact_accounting(tx, before.replace(minute=0, second=0, microsecond=0))


def _move_landmarks(watcher: PolicyWatcher) -> None:
    context = watcher.context
    moved = _ROWS_MAX
    while moved >= _ROWS_MAX:
        with context.database.transaction() as tx:
            moved = move_landmarks(tx, compile_traits(context.policy, bits_of(tx)), _ROWS_MAX)


def _check_computed(watcher: PolicyWatcher) -> None:
    """Hold a random sample of computed traits to their recomputation; `check_sample` logs and mends what differs."""
    context = watcher.context
    check_sample(context.database, context.policy, context.clock.now(), from_profile=new_id())


def _thin_checkpoints(watcher: PolicyWatcher) -> None:
    context = watcher.context
    with context.database.transaction() as tx:
        thin_heads(tx, context.clock.now() - timedelta(days=7))
