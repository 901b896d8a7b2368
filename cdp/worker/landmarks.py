"""Task: move decayed values to the newest landmark, so that their weights stay in range."""

from cdp.flows.operations.maintenance import move_landmarks
from cdp.flows.operations.startup import PolicyWatcher
from cdp.worker.task import Task


def create_task(watcher: PolicyWatcher) -> Task:
    """Move landmarks every hour."""
    return Task("landmarks", 3600, lambda: move_landmarks(watcher.context))
