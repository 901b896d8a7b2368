"""Task: thin out old checkpoints of the audit log."""

from cdp.flows.operations.maintenance import thin_checkpoints
from cdp.flows.operations.startup import PolicyWatcher
from cdp.worker.task import Task


def create_task(watcher: PolicyWatcher) -> Task:
    """Thin out checkpoints every day."""
    return Task("checkpoints", 86_400, lambda: _thin(watcher))


def _thin(watcher: PolicyWatcher) -> None:
    context = watcher.context
    thin_checkpoints(context, context.clock.now())
