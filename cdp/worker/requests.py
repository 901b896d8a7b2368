"""Task: expire unverified subject requests, end legal holds, and shred what closed requests name."""

from cdp.flows.operations.startup import PolicyWatcher
from cdp.flows.rights.requests import sweep_requests
from cdp.worker.task import Task


def create_task(watcher: PolicyWatcher) -> Task:
    """Sweep subject requests every ten minutes."""
    return Task("requests", 600, lambda: _sweep(watcher))


def _sweep(watcher: PolicyWatcher) -> None:
    context = watcher.context
    sweep_requests(context, context.clock.now())
