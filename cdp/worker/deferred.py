"""Task: open deferred messages whose device granted something, and end those that nobody answered."""

import logging

from cdp.flows.ingest.reopen import end_deferrals, open_granted
from cdp.flows.operations.startup import PolicyWatcher
from cdp.worker.task import Task

_log = logging.getLogger(__name__)


def create_task(watcher: PolicyWatcher) -> Task:
    """Look for deferred messages every second."""
    return Task("deferred", 1, lambda: _run(watcher))


def _run(watcher: PolicyWatcher) -> None:
    context = watcher.context
    opened, ended = open_granted(context), end_deferrals(context)
    if opened or ended:
        _log.info("deferred_messages_ended", extra={"opened": opened, "ended": ended})
