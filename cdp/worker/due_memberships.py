"""Task: evaluate memberships whose instant has come, at which time alone may change them."""

from cdp.flows.operations.startup import PolicyWatcher
from cdp.flows.segments import schedule
from cdp.worker.task import Task


def create_task(watcher: PolicyWatcher) -> Task:
    """Process due instants ten times a second, whatever the other tasks do."""
    return Task("due_memberships", 0.1, lambda: _refresh(watcher))


def _refresh(watcher: PolicyWatcher) -> None:
    context = watcher.context
    while schedule.refresh_due(context) >= schedule.INSTANTS_MAX:
        pass
