"""Task: read the clock of the database, by which every service goes."""

from cdp.flows.operations.maintenance import read_clock
from cdp.flows.operations.startup import PolicyWatcher
from cdp.worker.task import Task


def create_task(watcher: PolicyWatcher) -> Task:
    """Read it every second: between two readings, a clock of this machine carries it on."""
    return Task("clock", 1, lambda: read_clock(watcher.context))
