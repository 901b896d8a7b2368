"""Task: compact the message counts of past hours, and drop what became of single messages once newer ones came."""

from itertools import count
from typing import Final

from cdp.flows.operations.maintenance import compact_message_counts, prune_recent_messages
from cdp.flows.operations.startup import PolicyWatcher
from cdp.worker.task import Task

_EVERY_SECONDS: Final = 20
_COMPACTED_EVERY: Final = 45


def create_task(watcher: PolicyWatcher) -> Task:
    """Drop single messages every 20 seconds, and compact message counts every 15 minutes."""
    return Task("accounting", _EVERY_SECONDS, _Runs(watcher).run)


class _Runs:
    """The runs of the task: each drops messages, and every forty-fifth compacts counts, the first one included."""

    def __init__(self, watcher: PolicyWatcher) -> None:
        self._watcher = watcher
        self._numbers = count()

    def run(self) -> None:
        """One run."""
        context = self._watcher.context
        prune_recent_messages(context, context.clock.now())
        if next(self._numbers) % _COMPACTED_EVERY == 0:
            compact_message_counts(context, context.clock.now())
