"""Task: clear what a withdrawn consent covered."""

import logging

from cdp.flows.consent.withdrawal import clear_withdrawn
from cdp.flows.operations.startup import PolicyWatcher
from cdp.worker.task import Task

_log = logging.getLogger(__name__)


def create_task(watcher: PolicyWatcher) -> Task:
    """Look for withdrawals every five seconds."""
    return Task("withdrawals", 5, lambda: _clear(watcher))


def _clear(watcher: PolicyWatcher) -> None:
    context = watcher.context
    while (cleared := clear_withdrawn(context)).withdrawals:
        _log.info("withdrawals_cleared", extra={"count": cleared.withdrawals, "events": cleared.events_deleted})
