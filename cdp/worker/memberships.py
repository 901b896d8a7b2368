"""Task: refresh the memberships of profiles that ingest or consent marked as changed."""

from cdp.flows.operations.startup import PolicyWatcher
from cdp.flows.segments import memberships
from cdp.worker.task import Task


def create_task(watcher: PolicyWatcher) -> Task:
    """Process marks ten times a second."""
    return Task("memberships", 0.1, lambda: _refresh(watcher))


def _refresh(watcher: PolicyWatcher) -> None:
    context = watcher.context
    while memberships.refresh_stale(context) >= memberships.MARKS_MAX:
        pass
