"""Task: compact the message counts of past hours."""

from cdp.flows.operations.maintenance import compact_message_counts
from cdp.flows.operations.startup import PolicyWatcher
from cdp.worker.task import Task


def create_task(watcher: PolicyWatcher) -> Task:
    """Compact message counts every 15 minutes."""
    return Task("accounting", 900, lambda: _compact(watcher))


def _compact(watcher: PolicyWatcher) -> None:
    context = watcher.context
    compact_message_counts(context, context.clock.now())
