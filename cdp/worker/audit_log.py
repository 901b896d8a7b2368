"""Task: append waiting entries to the audit log and sign its checkpoint."""

from cdp.flows.operations.startup import PolicyWatcher, sequence_all
from cdp.worker.task import Task


def create_task(watcher: PolicyWatcher) -> Task:
    """Sign the audit log several times a second. It is not vital: entries wait in the database, and none is lost."""
    return Task("audit-log", 0.3, lambda: _sign(watcher))


def _sign(watcher: PolicyWatcher) -> None:
    sequence_all(watcher.context)
