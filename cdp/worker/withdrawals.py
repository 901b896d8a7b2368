"""Task: clear what a withdrawn consent covered."""

import logging
from typing import Final

from cdp.flows.consent.withdrawal import clear_withdrawn
from cdp.flows.operations.startup import PolicyWatcher
from cdp.worker.task import Task

_AT_ONCE: Final = 25
_log = logging.getLogger(__name__)


def create_task(watcher: PolicyWatcher) -> Task:
    """Look for withdrawals every five seconds."""
    return Task("withdrawals", 5, lambda: _clear(watcher))


def _clear(watcher: PolicyWatcher) -> None:
    context = watcher.context
    while (cleared := clear_withdrawn(context, withdrawals_max=_AT_ONCE)).withdrawals:
        _log.info("withdrawals_cleared", extra={"count": cleared.withdrawals, "events": cleared.events_deleted})
        if (
            cleared.withdrawals < _AT_ONCE
        ):  # one that came meanwhile waits for the next run: each step holds up the acts of others
            return
