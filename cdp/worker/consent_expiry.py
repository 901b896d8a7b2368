"""Task: end grants whose validity is over."""

import logging

from cdp.flows.consent.recompute import end_grants
from cdp.flows.operations.startup import PolicyWatcher
from cdp.worker.task import Task

_log = logging.getLogger(__name__)


def create_task(watcher: PolicyWatcher) -> Task:
    """Look for expired grants every five seconds."""
    return Task("consent-expiry", 5, lambda: _end_grants(watcher))


def _end_grants(watcher: PolicyWatcher) -> None:
    context = watcher.context
    while count := end_grants(context, context.clock.now()):
        _log.info("grants_ended", extra={"profiles": count})
