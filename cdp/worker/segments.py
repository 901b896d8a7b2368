"""Task: refresh whole segments, for what marks and due instants missed, such as a large import."""

import logging
import time
from typing import Final

from cdp.flows.operations.maintenance import read_generation
from cdp.flows.operations.startup import PolicyWatcher
from cdp.flows.segments import definitions, memberships
from cdp.kit.errors import Fault
from cdp.worker.task import Task

_UNCHANGED_SECONDS_MAX: Final = 600.0
_PAUSE_FACTOR: Final = 4.0
_log = logging.getLogger(__name__)


class SegmentRefresh:
    """Refreshes every segment when anything changed since the last time, and every ten minutes in any case.

    What ingest and consent change is followed at once by the task `memberships`; this one evaluates everybody, and
    pauses four times as long as it took.
    """

    def __init__(self, watcher: PolicyWatcher) -> None:
        self._watcher = watcher
        self._seen: tuple[int, int] | None = None
        self._refreshed_at = float("-inf")
        self._paused_until = float("-inf")

    def run(self) -> None:
        """Refresh every segment if it is due."""
        started_at = time.monotonic()
        if started_at < self._paused_until:
            return
        context = self._watcher.context
        generation = read_generation(context)
        seen = (generation.version, generation.next_sequence)
        if seen == self._seen and time.monotonic() - self._refreshed_at < _UNCHANGED_SECONDS_MAX:
            return
        for segment in definitions.list_segments(context):
            try:
                memberships.refresh(context, segment.key)
            except Fault as fault:
                _log.warning("segment_not_refreshed", extra={"segment": segment.key, "code": fault.code})
        self._seen, self._refreshed_at = seen, time.monotonic()
        self._paused_until = self._refreshed_at + _PAUSE_FACTOR * (self._refreshed_at - started_at)


def create_task(watcher: PolicyWatcher) -> Task:
    """Check every 15 seconds whether segments are due."""
    return Task("segments", 15, SegmentRefresh(watcher).run)
