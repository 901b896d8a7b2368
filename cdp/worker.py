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

from cdp.access.store_accounting import compact_accounting
from cdp.audit.store_tree import thin_heads
from cdp.behavior.store_computed import move_landmarks
from cdp.behavior.traits import compile_traits
from cdp.consent.store_projection import bits_of
from cdp.flows import memberships, segments
from cdp.flows.computed import check_sample, follow_definitions
from cdp.flows.consent import end_grants, recompute_everybody
from cdp.flows.opening import Current, sequence_all
from cdp.flows.retention import sweep
from cdp.flows.scrub import is_scrub_due, scrub
from cdp.flows.subject_request import sweep_requests
from cdp.flows.withdrawal import clear_withdrawn, turn_out_readers
from cdp.identity import store as identity_store
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


def worker_of(current: Current) -> Worker:
    """The worker of a house, with every task there is."""
    return Worker(
        [
            Task("audit-log", 0.3, lambda: _sign(current), is_vital=True),
            Task("keys", 0.5, _KeyWatch(current).turn, is_vital=True),
            Task("policy", 2, lambda: _follow_policy(current), is_vital=True),
            Task("consent-expiry", 5, lambda: _end_grants(current)),
            Task("withdrawals", 5, lambda: _clear_withdrawn(current)),
            Task("memberships", 0.1, lambda: _follow_marks(current)),
            Task("segments", 15, _SegmentWatch(current).turn),
            Task("retention", 3600, lambda: _sweep(current)),
            Task("scrub", 3600, lambda: _scrub(current)),
            Task("requests", 600, lambda: _sweep_requests(current)),
            Task("accounting", 900, lambda: _compact(current)),
            Task("landmarks", 3600, lambda: _move_landmarks(current)),
            Task("computed-traits", 600, lambda: _check_computed(current)),
            Task("checkpoints", 86_400, lambda: _thin_checkpoints(current)),
        ]
    )


class _KeyWatch:
    """Drops cached keys, and whom ingest remembers, when anybody changed the map: another process may have shredded keys."""

    def __init__(self, current: Current) -> None:
        self._current = current
        self._version: int | None = None

    def turn(self) -> None:
        house = self._current.rooms.house
        with house.database.transaction(read_only=True) as tx:
            version = identity_store.generation(tx).version
        if version != self._version:
            self._version = version
            house.vault.forget_all(version=version)


class _SegmentWatch:
    """Refreshes every segment when something came or changed since the last time, and every ten minutes: time moves people.

    What ingest and consents touch is followed at once; this look at everybody finds the rest, and pauses four times as
    long as it took.
    """

    def __init__(self, current: Current) -> None:
        self._current = current
        self._seen: tuple[int, int] | None = None
        self._at = float("-inf")
        self._rests_until = float("-inf")

    def turn(self) -> None:
        began_at = time.monotonic()
        if began_at < self._rests_until:
            return
        house = self._current.rooms.house
        with house.database.transaction(read_only=True) as tx:
            generation = identity_store.generation(tx)
        seen = (generation.version, generation.next_sequence)
        if seen == self._seen and time.monotonic() - self._at < _SEGMENTS_SECONDS_MAX:
            return
        for segment in segments.every(house):
            try:
                memberships.refresh(house, segment.key)
            except Fault as fault:
                _log.warning("segment_not_refreshed", extra={"segment": segment.key, "code": fault.code})
        self._seen, self._at = seen, time.monotonic()
        self._rests_until = self._at + _PAUSE_FACTOR * (self._at - began_at)


def _follow_marks(current: Current) -> None:
    house = current.rooms.house
    while memberships.refresh_stale(house) >= memberships.STALE_MAX:
        pass


def _sign(current: Current) -> None:
    sequence_all(current.rooms)


def _follow_policy(current: Current) -> None:
    if current.follow_policy():
        house = current.rooms.house
        # Whoever came between the two policies was decided about under the old one.
        recompute_everybody(house.database, house.vault, house.policy, house.clock.now())
        follow_definitions(house.database, house.policy, house.clock.now())
        _log.info("policy_followed", extra={"policy": house.policy.fingerprint[:12]})


def _end_grants(current: Current) -> None:
    rooms = current.rooms
    while count := end_grants(rooms.desk, rooms.house.clock.now()):
        _log.info("grants_ended", extra={"profiles": count})


def _clear_withdrawn(current: Current) -> None:
    rooms = current.rooms
    turn_out_readers(rooms.desk)
    while (cleared := clear_withdrawn(rooms.desk, rooms.house.clock.now())).withdrawals:
        _log.info("withdrawals_cleared", extra={"count": cleared.withdrawals, "events": cleared.events_deleted})


def _sweep(current: Current) -> None:
    rooms = current.rooms
    swept = sweep(rooms.desk, rooms.house.clock.now())
    rows = sum(line.rows for line in swept.lines)
    if rows or swept.postponed:
        _log.info("retention_swept", extra={"rows": rows, "pending": len(swept.postponed)})


def _scrub(current: Current) -> None:
    rooms = current.rooms
    now = rooms.house.clock.now()
    if is_scrub_due(rooms.desk, now):
        scrubbed = scrub(rooms.database, now)
        _log.info("scrubbed", extra={"count": len(scrubbed.tables), "pending": len(scrubbed.not_scrubbed)})


def _sweep_requests(current: Current) -> None:
    rooms = current.rooms
    sweep_requests(rooms.desk, rooms.house.clock.now())


def _compact(current: Current) -> None:
    rooms = current.rooms
    before = rooms.house.clock.now() - timedelta(hours=2)
    with rooms.database.transaction() as tx:
        compact_accounting(tx, before.replace(minute=0, second=0, microsecond=0))


def _move_landmarks(current: Current) -> None:
    house = current.rooms.house
    moved = _ROWS_MAX
    while moved >= _ROWS_MAX:
        with house.database.transaction() as tx:
            moved = move_landmarks(tx, compile_traits(house.policy, bits_of(tx)), _ROWS_MAX)


def _check_computed(current: Current) -> None:
    """Hold a random sample of computed traits to their recomputation; `check_sample` logs and mends what differs."""
    house = current.rooms.house
    check_sample(house.database, house.policy, house.clock.now(), new_id())


def _thin_checkpoints(current: Current) -> None:
    rooms = current.rooms
    with rooms.database.transaction() as tx:
        thin_heads(tx, rooms.house.clock.now() - timedelta(days=7))
